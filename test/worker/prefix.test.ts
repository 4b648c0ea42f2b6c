import { test } from 'tap'
import { chooseSlot, commonPrefix } from '../../src/worker/prefix.ts'

const count = (length: number, start = 0): number[] => Array.from({ length }, (_, i) => start + i)
const slot = (tokens: readonly number[], usedAt: number, isolation = '') => ({ tokens, usedAt, isolation })

test('the longest match is taken', async t => {
  const [short, long, none] = [slot(count(20), 1), slot(count(30), 2), slot([], 0)]
  t.strictSame(chooseSlot([short, long, none], [...count(30), 99], ''), { slot: long, keep: 30 })
})

test('of equal matches the slot that was used longest ago is taken', async t => {
  const [late, early] = [slot(count(20), 7), slot(count(20), 3)]
  t.equal(chooseSlot([late, early], count(40), '')?.slot, early)
})

test('a match of a few tokens takes no cache from a conversation', async t => {
  const [conversation, unused] = [slot(count(1000), 5), slot([], 0)]
  t.equal(chooseSlot([conversation, unused], [...count(3), ...count(500, 5000)], '')?.slot, unused)
})

test('a short prompt that is nearly all there is worth its slot', async t => {
  const [same, unused] = [slot(count(8), 5), slot([], 0)]
  t.strictSame(chooseSlot([same, unused], count(8), ''), { slot: same, keep: 7 })
})

test('the last token of a prompt is always computed', async t => {
  t.equal(chooseSlot([slot(count(50), 1)], count(50), '')?.keep, 49)
  t.equal(chooseSlot([slot(count(50), 1)], [0], '')?.keep, 0)
})

test('nothing of another isolation domain is kept', async t => {
  const theirs = slot(count(50), 1, 'acme')
  t.strictSame(chooseSlot([theirs], count(50), 'umbrella'), { slot: theirs, keep: 0 })
  t.strictSame(chooseSlot([theirs], count(50), ''), { slot: theirs, keep: 0 })
  t.strictSame(chooseSlot([theirs], count(50), 'acme'), { slot: theirs, keep: 49 })
  const mine = slot(count(10), 9, 'umbrella')
  t.equal(chooseSlot([theirs, mine], count(12), 'umbrella')?.slot, mine)
})

test('no free slot, no choice', async t => {
  t.equal(chooseSlot([], [1], ''), null)
})

test('a common prefix ends at the first difference', async t => {
  t.equal(commonPrefix([1, 2, 3], [1, 2, 4]), 2)
  t.equal(commonPrefix([], [1]), 0)
  t.equal(commonPrefix([1, 2], [1, 2, 3]), 2)
})
