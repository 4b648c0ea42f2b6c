/** In which order permitted targets are tried. Pure: chance comes in as `draw`, what was measured as facts. */
import { byDistance } from './boundary.ts'
import type { Candidate, Facts } from './decide.ts'

/** Negative when `a` comes first. Array.prototype.sort is stable, so equals keep the order of the configuration. */
type Order = (a: Candidate, b: Candidate) => number

const listed: Order = () => 0
const nearest: Order = (a, b) => byDistance(a.locality, b.locality)
const farthest: Order = (a, b) => byDistance(b.locality, a.locality)
/** Most free places first; where none is free, the shortest queue. */
const leastBusy: Order = (a, b) => busy(a) - busy(b)

export function orderBy (facts: Pick<Facts, 'order' | 'complexity' | 'draw'>): Order {
  switch (facts.order) {
    case 'listed': return listed
    case 'local_first': return nearest
    case 'cloud_first': return farthest
    case 'least_busy': return leastBusy
    case 'weighted': return weighted(facts.draw ?? '')
    case 'fastest': return fastest(facts.draw ?? '')
    case 'complexity': return isHard(facts.complexity) ? farthest : nearest
  }
}

/** Hard prompts go to the strong models of others, all the rest stays near. */
function isHard (complexity: Facts['complexity']): boolean {
  return complexity !== null && complexity !== undefined && complexity.score > complexity.threshold
}

function busy ({ queued = 0, freeSlots = 0 }: Candidate): number { return queued - freeSlots }

/**
 * By lot: each target comes first as often as its weight says, and one of weight 0 only when no other is left. The same draw gives the same
 * order, and when a target goes or comes only the draws move that it had or gets (weighted rendezvous hashing:
 * Schindelhauer and Schomaker, 2005).
 */
function weighted (draw: string): Order {
  // -ln(u) of an even u from 0 to 1 is a waiting time of mean 1: whoever's is over first, comes first.
  const wait = ({ target, weight = 1 }: Candidate) => weight === 0 ? Infinity : -Math.log(even(`${draw} ${target}`)) / weight
  return (a, b) => {
    const [first, second] = [wait(a), wait(b)]
    return first === second ? 0 : first - second
  }
}

/** One call in so many tries first what has not been measured of late, or nobody would ever know that it has become fast. */
const LOOKS_ROUND = 20

/** The shortest time to the first content first, as measured of late. */
function fastest (draw: string): Order {
  const unknown = even(draw) < 1 / LOOKS_ROUND ? -1 : Infinity
  const time = ({ firstTokenMs }: Candidate) => firstTokenMs ?? unknown
  return (a, b) => {
    const [first, second] = [time(a), time(b)]
    return first === second ? 0 : first - second
  }
}

/** Above 0 and below 1, evenly, and always the same for the same text: FNV-1a with the finish of MurmurHash3. */
function even (text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (((hash ^ (hash >>> 16)) >>> 0) + 0.5) / 2 ** 32
}
