import * as fc from 'fast-check'
import { test } from 'tap'
import { decide, type Candidate, type Facts } from '../../src/policy/decide.ts'

const candidate = (backend: string, over: Partial<Candidate> = {}): Candidate =>
  ({ target: `${backend}/m`, label: `${backend}/m`, backend, model: 'm', locality: 'cloud', state: 'ready', ...over })
const chosen = (order: Facts['order'], candidates: readonly Candidate[], draw = '') =>
  decide({ dataClass: 'public', boundary: 'cloud', order, draw, candidates }).targets.map(({ backend }) => backend)

/** How often each target comes first in `count` draws. */
function firsts (order: Facts['order'], candidates: readonly Candidate[], count = 4000): Record<string, number> {
  const counts: Record<string, number> = {}
  for (let draw = 0; draw < count; draw++) {
    const [first] = chosen(order, candidates, `call-${draw}`)
    counts[first!] = (counts[first!] ?? 0) + 1
  }
  return counts
}

test('weighted: each target comes first as often as its weight says', async t => {
  const counts = firsts('weighted', [candidate('a', { weight: 70 }), candidate('b', { weight: 25 }), candidate('c', { weight: 5 })])
  for (const [name, share] of [['a', 0.7], ['b', 0.25], ['c', 0.05]] as const) t.ok(Math.abs(counts[name]! / 4000 - share) < 0.025, `${name}: ${counts[name]}`)
})

test('weighted: the second is drawn by weight too, and weight 0 is always last', async t => {
  const all = [candidate('never', { weight: 0 }), candidate('a', { weight: 8 }), candidate('b', { weight: 1 }), candidate('c', { weight: 1 })]
  let afterA = 0
  let last = 0
  for (let draw = 0; draw < 4000; draw++) {
    const order = chosen('weighted', all, `call-${draw}`)
    if (order.at(-1) === 'never') last++
    if (order[0] === 'b' && order[1] === 'a') afterA++
  }
  t.equal(last, 4000)
  t.ok(Math.abs(afterA / 4000 - 0.1 * 8 / 9) < 0.02, String(afterA))
})

test('weighted: the same draw gives the same order, and a target that goes moves none of the others', async t => {
  const all = ['a', 'b', 'c', 'd', 'e'].map(name => candidate(name))
  fc.assert(fc.property(fc.string(), fc.constantFrom(...all), (draw, gone) => {
    const before = chosen('weighted', all, draw)
    return String(chosen('weighted', all, draw)) === String(before) &&
      String(chosen('weighted', all.filter(one => one !== gone), draw)) === String(before.filter(name => name !== gone.backend))
  }))
  t.equal(new Set(Array.from({ length: 50 }, (_, draw) => chosen('weighted', all, String(draw)).join())).size > 20, true, 'other draws give others')
})

test('least_busy: most free places first, then the shortest queue', async t => {
  t.same(chosen('least_busy', [candidate('full', { freeSlots: 0, queued: 5 }), candidate('free', { freeSlots: 3, queued: 0 }), candidate('some', { freeSlots: 0, queued: 2 }), candidate('most', { freeSlots: 9, queued: 0 })]), ['most', 'free', 'some', 'full'])
})

test('fastest: the shortest time first; what was not measured comes last, but is tried now and then', async t => {
  const all = [candidate('new'), candidate('slow', { firstTokenMs: 900 }), candidate('quick', { firstTokenMs: 80 })]
  const counts = firsts('fastest', all)
  t.equal(counts['slow'], undefined)
  t.ok(Math.abs(counts['new']! / 4000 - 0.05) < 0.015, String(counts['new']))
  t.same(chosen('fastest', all.slice(1)), ['quick', 'slow'])
  t.same(chosen('fastest', [candidate('a'), candidate('b')], 'call-1'), ['a', 'b'], 'as listed while nothing is known')
})
