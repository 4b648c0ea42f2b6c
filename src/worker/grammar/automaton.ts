/**
 * Deterministic automata over code points: the meaning of patterns, formats, lengths and names, in a form that can be
 * intersected and subtracted exactly. Texts are matched as a whole.
 */
import type { Effort } from './effort.ts'
import type { Pattern, Regex } from './regex.ts'
import { UNIVERSE, type Ranges } from './ranges.ts'

export interface Automaton {
  /** First code point of each symbol; a symbol is all code points up to the next. Begins with 0. */
  readonly cuts: readonly number[]
  /** By state, then by symbol; -1 leads nowhere. The start is state 0. Every state can reach acceptance. */
  readonly next: readonly Int32Array[]
  readonly accepts: readonly boolean[]
}

/** The states would be too many. */
export class TooManyStates extends Error {
  override readonly name = 'TooManyStates'
}

const MAX_STATES = 4000
/** Of the automaton between a pattern and its deterministic form. */
const MAX_PARTS = 20_000
/** For one pattern, in units of effort. */
const MAX_WORK = 1_500_000

/** The texts in which the pattern is found. @returns null when there are none */
export function fromPattern ({ body, lookaheads }: Pattern, effort: Effort): Automaton | null {
  let automaton = determine(body, effort)
  for (const { isNegative, body: ahead } of lookaheads) {
    const found = determine({ kind: 'sequence', items: [{ kind: 'start' }, ahead] }, effort)
    automaton = isNegative ? difference(automaton, found, effort) : intersection(automaton, found, effort)
  }
  return automaton
}

/** Any text. */
export const ANYTHING: Automaton = {
  cuts: [0, 0xD800, 0xE000],
  next: [Int32Array.of(0, -1, 0)],
  accepts: [true]
}

/** Texts of `least` to `most` characters. @throws TooManyStates */
export function ofLength (least: number, most: number): Automaton {
  const last = most === Infinity ? least : most
  if (last >= MAX_STATES) throw new TooManyStates()
  const next = Array.from({ length: last + 1 }, (_, state) => {
    const to = state < last ? state + 1 : most === Infinity ? state : -1
    return Int32Array.of(to, -1, to)
  })
  return { cuts: ANYTHING.cuts, next, accepts: next.map((_, state) => state >= least) }
}

/** @param words at least one. @throws TooManyStates */
export function ofWords (words: Iterable<string>): Automaton {
  const nodes: Map<number, number>[] = [new Map()]
  const accepts = [false]
  const points = new Set<number>()
  for (const word of words) {
    let state = 0
    for (const character of word) {
      const code = character.codePointAt(0)!
      points.add(code)
      let to = nodes[state]!.get(code)
      if (to === undefined) {
        to = nodes.push(new Map()) - 1
        if (to >= MAX_STATES) throw new TooManyStates()
        accepts.push(false)
        nodes[state]!.set(code, to)
      }
      state = to
    }
    accepts[state] = true
  }
  const cuts = [...new Set([0, ...[...points].flatMap(code => [code, code + 1])])].toSorted((a, b) => a - b)
  const symbols = new Map(cuts.map((cut, symbol) => [cut, symbol]))
  const next = nodes.map(node => {
    const row = new Int32Array(cuts.length).fill(-1)
    for (const [code, to] of node) row[symbols.get(code)!] = to
    return row
  })
  return { cuts, next, accepts }
}

export function intersection (a: Automaton | null, b: Automaton | null, effort: Effort): Automaton | null {
  return a === null || b === null ? null : product(a, b, false, effort)
}

/** Texts of `a` that are not texts of `b`. */
export function difference (a: Automaton | null, b: Automaton | null, effort: Effort): Automaton | null {
  return a === null || b === null ? a : product(a, b, true, effort)
}

export function matches ({ cuts, next, accepts }: Automaton, text: string): boolean {
  let state = 0
  for (const character of text) {
    state = next[state]![symbolOf(cuts, character.codePointAt(0)!)]!
    if (state < 0) return false
  }
  return accepts[state]!
}

/** Characters of the longest text, Infinity when there is none. */
export function longest ({ next }: Automaton): number {
  const lengths = new Int32Array(next.length).fill(-1)
  const open = new Uint8Array(next.length)
  const stack = [0]
  while (stack.length > 0) {
    const state = stack.at(-1)!
    if (lengths[state]! >= 0) { stack.pop(); continue }
    const targets = [...new Set(next[state]!)].filter(to => to >= 0)
    const missing = targets.filter(to => lengths[to]! < 0)
    if (missing.some(to => to === state || open[to] === 1)) return Infinity
    if (missing.length > 0) {
      open[state] = 1
      stack.push(...missing)
      continue
    }
    lengths[state] = targets.reduce((most, to) => Math.max(most, lengths[to]! + 1), 0)
    open[state] = 0
    stack.pop()
  }
  return lengths[0]!
}

/** The code points by which `state` goes on, by where to. */
export function steps ({ cuts, next }: Automaton, state: number): Map<number, Ranges> {
  const sets = new Map<number, [number, number][]>()
  next[state]!.forEach((to, symbol) => {
    if (to < 0) return
    const first = cuts[symbol]!
    const last = (cuts[symbol + 1] ?? 0x110000) - 1
    const known = sets.get(to)
    const previous = known?.at(-1)
    if (known === undefined) sets.set(to, [[first, last]])
    else if (previous![1] === first - 1) previous![1] = last
    else known.push([first, last])
  })
  return sets
}

function symbolOf (cuts: readonly number[], code: number): number {
  let low = 0
  for (let high = cuts.length; high - low > 1;) {
    const middle = (low + high) >> 1
    if (cuts[middle]! <= code) low = middle
    else high = middle
  }
  return low
}

/** Texts of `a` that are texts of `b`, or those that are not. */
function product (a: Automaton, b: Automaton, isDifference: boolean, effort: Effort): Automaton | null {
  const cuts = [...new Set([...a.cuts, ...b.cuts])].toSorted((x, y) => x - y)
  const symbols = cuts.map(cut => [symbolOf(a.cuts, cut), symbolOf(b.cuts, cut)] as const)
  // Of a pair of states; where `b` is at an end, its state counts as -1.
  const idOf = (p: number, q: number): number => p * (b.next.length + 1) + q + 1
  const ids = new Map([[idOf(0, 0), 0]])
  const pairs: [number, number][] = [[0, 0]]
  const next: Int32Array[] = []
  for (let state = 0; state < pairs.length; state++) {
    const [p, q] = pairs[state]!
    effort.spend(symbols.length)
    next.push(Int32Array.from(symbols, ([x, y]) => {
      const toA = a.next[p]![x]!
      const toB = q < 0 ? -1 : b.next[q]![y]!
      if (toA < 0 || (toB < 0 && !isDifference)) return -1
      const key = idOf(toA, toB)
      const known = ids.get(key)
      if (known !== undefined) return known
      if (pairs.length > 4 * MAX_STATES) throw new TooManyStates()
      ids.set(key, pairs.length)
      return pairs.push([toA, toB]) - 1
    }))
  }
  return trim({ cuts, next, accepts: pairs.map(([p, q]) => a.accepts[p]! && (q >= 0 && b.accepts[q]!) !== isDifference) })
}

/** Leaves out the states that cannot reach acceptance. */
function trim ({ cuts, next, accepts }: Automaton): Automaton | null {
  const from: number[][] = next.map(() => [])
  next.forEach((row, state) => { for (const to of new Set(row)) if (to >= 0) from[to]!.push(state) })
  const isUseful = [...accepts]
  const queue = accepts.flatMap((accept, state) => accept ? [state] : [])
  for (let state = queue.pop(); state !== undefined; state = queue.pop()) {
    for (const before of from[state]!) {
      if (isUseful[before]) continue
      isUseful[before] = true
      queue.push(before)
    }
  }
  if (!isUseful[0]) return null
  const ids = new Int32Array(next.length).fill(-1)
  let count = 0
  isUseful.forEach((keep, state) => { if (keep) ids[state] = count++ })
  if (count > MAX_STATES) throw new TooManyStates()
  return {
    cuts,
    next: next.filter((_, state) => isUseful[state]).map(row => row.map(to => to < 0 ? -1 : ids[to]!)),
    accepts: accepts.filter((_, state) => isUseful[state])
  }
}

/** A pattern with its parts laid out as states; some steps take no character. */
class Parts {
  readonly free: number[][] = []
  readonly steps: { set: Ranges, to: number }[][] = []
  /** Free steps that are open only before the first character, and only after the last. */
  readonly atStart: number[][] = []
  readonly atEnd: number[][] = []

  state (): number {
    if (this.free.length >= MAX_PARTS) throw new TooManyStates()
    this.free.push([])
    this.steps.push([])
    this.atStart.push([])
    this.atEnd.push([])
    return this.free.length - 1
  }

  /** Lays out `regex` after `from`. @returns the state after it */
  add (regex: Regex, from: number): number {
    switch (regex.kind) {
      case 'sequence': return regex.items.reduce((state, item) => this.add(item, state), from)
      case 'repeat': return this.#repeat(regex.item, regex.least, regex.most, from)
      case 'choice': {
        const to = this.state()
        for (const item of regex.items) this.free[this.add(item, this.#after(from))]!.push(to)
        return to
      }
      default: {
        const to = this.state()
        if (regex.kind === 'chars') this.steps[from]!.push({ set: regex.set, to })
        else (regex.kind === 'start' ? this.atStart : this.atEnd)[from]!.push(to)
        return to
      }
    }
  }

  #after (from: number): number {
    const to = this.state()
    this.free[from]!.push(to)
    return to
  }

  #repeat (item: Regex, least: number, most: number, from: number): number {
    let state = from
    for (let i = 0; i < least; i++) state = this.add(item, state)
    if (most === Infinity) {
      const loop = this.#after(state)
      this.free[this.add(item, loop)]!.push(loop)
      return this.#after(loop)
    }
    const to = this.state()
    for (let i = least; i < most; i++) {
      this.free[state]!.push(to)
      state = this.add(item, this.#after(state))
    }
    this.free[state]!.push(to)
    return to
  }
}

/** Texts that hold a match of `regex` anywhere. */
function determine (regex: Regex, effort: Effort): Automaton | null {
  const parts = new Parts()
  const start = parts.state()
  const search = parts.state()
  parts.free[start]!.push(search)
  parts.steps[search]!.push({ set: UNIVERSE, to: search })
  const first = parts.state()
  parts.free[search]!.push(first)
  const found = parts.add(regex, first)
  const done = parts.state()
  parts.free[found]!.push(done)
  parts.steps[done]!.push({ set: UNIVERSE, to: done })
  return determineParts(parts, start, done, effort)
}

function determineParts (parts: Parts, start: number, done: number, effort: Effort): Automaton | null {
  const cuts = cutsOf(parts.steps.flat().map(({ set }) => set))
  const symbols = parts.steps.map(list => list.map(({ set, to }) => ({ to, symbols: symbolsOf(cuts, set) })))
  const ids = new Map<string, number>()
  const sets: number[][] = []
  const next: Int32Array[] = []
  effort.spend(parts.free.length * 10)
  let work = 0
  const stateOf = (set: number[]): number => {
    // Once found, nothing can undo it: the other states do not matter.
    const kept = set.includes(done) ? [done] : set.toSorted((a, b) => a - b)
    const key = kept.join()
    const known = ids.get(key)
    if (known !== undefined) return known
    if (sets.length >= 4 * MAX_STATES) throw new TooManyStates()
    ids.set(key, sets.length)
    return sets.push(kept) - 1
  }
  stateOf(closure([start], [parts.free, parts.atStart]))
  for (let state = 0; state < sets.length; state++) {
    const targets: number[][] = cuts.map(() => [])
    for (const part of sets[state]!) {
      for (const step of symbols[part]!) for (const symbol of step.symbols) targets[symbol]!.push(step.to)
    }
    next.push(Int32Array.from(targets, list => {
      if (list.length === 0) return -1
      const reached = closure(list, [parts.free])
      const units = 8 * (list.length + reached.length)
      effort.spend(units)
      work += units
      if (work > MAX_WORK) throw new TooManyStates()
      return stateOf(reached)
    }))
  }
  const accepts = sets.map((set, state) => closure(set, state === 0 ? [parts.free, parts.atEnd, parts.atStart] : [parts.free, parts.atEnd]).includes(done))
  return trim({ cuts, next, accepts })
}

function closure (states: readonly number[], edges: readonly (readonly number[][])[]): number[] {
  const reached = new Set(states)
  const queue = [...reached]
  for (let state = queue.pop(); state !== undefined; state = queue.pop()) {
    for (const kind of edges) {
      for (const to of kind[state]!) {
        if (reached.has(to)) continue
        reached.add(to)
        queue.push(to)
      }
    }
  }
  return [...reached]
}

function cutsOf (sets: readonly Ranges[]): number[] {
  const points = new Set([0])
  for (const set of sets) for (const [first, last] of set) points.add(first).add(last + 1)
  points.delete(0x110000)
  return [...points].toSorted((a, b) => a - b)
}

function symbolsOf (cuts: readonly number[], set: Ranges): number[] {
  const symbols: number[] = []
  for (const [first, last] of set) {
    for (let symbol = symbolOf(cuts, first); symbol < cuts.length && cuts[symbol]! <= last; symbol++) symbols.push(symbol)
  }
  return symbols
}
