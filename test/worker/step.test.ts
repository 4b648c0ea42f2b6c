import { test } from 'tap'
import { GREEDY } from '../../src/worker/engine.ts'
import type { Call, Job, Slot } from '../../src/worker/slot.ts'
import { Pace, planStep } from '../../src/worker/step.ts'

/** A job alone in its call; `next` is null while its prompt is read. */
function slotOf (id: number, { prompt, read = 0, next = null }: { prompt: number, read?: number, next?: number | null }): Slot {
  const jobs: Job[] = []
  const call: Call = { jobs, broken: new AbortController(), isShared: true }
  const work = { prompt: Array.from({ length: prompt }, (_, i) => i), isolation: '', sampling: GREEDY, maxTokens: 1, take: () => true }
  jobs.push({ work, call, signal: call.broken.signal, done: Promise.withResolvers(), arrival: id, read, marks: [], cached: 0, generated: 0, sampling: GREEDY, next: next === null ? null : [next] })
  return { id, tokens: [], isolation: '', usedAt: 0, job: jobs[0]! }
}

const lengths = (slots: Slot[], pace: Pace, turn: number) => planStep(slots, pace, turn).map(({ slot, tokens, sampling }) => [slot, tokens.length, sampling !== null])

test('answers come first with a token each; prompts share the room that is left, the oldest and the shortest by turns', async t => {
  const slots = [slotOf(0, { prompt: 300 }), slotOf(1, { prompt: 20 }), slotOf(2, { prompt: 5, read: 5, next: 7 }), { ...slotOf(3, { prompt: 1 }), job: null }]
  const pace = new Pace(512)
  t.same(lengths(slots, pace, 0), [[2, 1, true], [0, 128, false]], 'the oldest takes all of it')
  t.same(lengths(slots, pace, 1), [[2, 1, true], [1, 20, true], [0, 108, false]], 'only who has read all of a prompt is given a token')
})

test('a batch is never larger than the engine takes', async t => {
  const answering = [0, 1, 2].map(id => slotOf(id, { prompt: 1, read: 1, next: 1 }))
  t.same(lengths([...answering, slotOf(3, { prompt: 9 })], new Pace(4), 0), [[0, 1, true], [1, 1, true], [2, 1, true], [3, 1, false]])
})

test('the pace follows what a step took, within bounds', async t => {
  const fast = new Pace(1024)
  for (let i = 0; i < 20; i++) fast.learn(fast.room(0), 1)
  t.equal(fast.room(0), 1024, 'never more than the engine takes')
  t.equal(fast.room(24), 1000, 'answers take their part of it')
  const slow = new Pace(1024)
  for (let i = 0; i < 20; i++) slow.learn(slow.room(0), 1000)
  t.equal(slow.room(0), 64, 'nor so few that each costs three times as much')
  slow.learn(8, 0.001)
  t.equal(slow.room(0), 64, 'a step of answers alone says nothing about prompts')
})
