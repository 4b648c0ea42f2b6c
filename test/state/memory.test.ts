import * as fc from 'fast-check'
import { test } from 'tap'
import { MemoryState } from '../../src/state/memory.ts'
import type { Bucket, Hold } from '../../src/state/state.ts'
import { stateContract } from '../conformance/state.ts'

/** A state on a clock that stands still until it is moved. */
function onClock () {
  const clock = { ms: 1_000 }
  return { clock, state: new MemoryState({ now: () => clock.ms }) }
}

stateContract('memory', async () => {
  const { clock, state } = onClock()
  return { replicas: [state, state], pass: async ms => { clock.ms += ms } }
})

const perMinute = (key: string, cost: number): Bucket => ({ key, capacity: 60, refillPerS: 1, cost })

test('a clock that goes back an hour refills nothing and loses nothing', async t => {
  const { clock, state } = onClock()
  clock.ms = 7_200_000
  await state.take([perMinute('a', 60)], [])
  clock.ms -= 3_600_000
  t.match(await state.take([perMinute('a', 1)], []), { granted: false, retryAfterS: 1, remaining: [0] })
  await state.give([{ ...perMinute('a', 0), amount: 2 }], [])
  clock.ms += 1_000
  t.match(await state.take([perMinute('a', 0)], []), { granted: true, remaining: [3] })
})

test('no minute admits more than a full bucket and its refill, whatever its edges', async t => {
  const { clock, state } = onClock()
  const admitted: number[] = []
  for (clock.ms = 0; clock.ms < 300_000; clock.ms += 250) {
    if ((await state.take([perMinute('a', 1)], [])).granted) admitted.push(clock.ms)
  }
  const inMinuteFrom = (from: number) => admitted.filter(ms => ms >= from && ms < from + 60_000).length
  t.equal(inMinuteFrom(0), 60 + 59, 'the first one has both')
  t.equal(Math.max(...admitted.filter(ms => ms >= 20_000).map(inMinuteFrom)), 60, 'once it is empty, the refill alone')
  t.equal(admitted.length, 60 + 299, 'in all: one capacity, and the refill')
})

test('100,000 keys are forgotten once their buckets are full and their holds have ended', async t => {
  const { clock, state } = onClock()
  for (let i = 0; i < 100_000; i++) {
    await state.take([perMinute(`bucket-${i}`, 1)], [{ key: `hold-${i}`, capacity: 1, id: 'x', ttlMs: 60_000 }])
  }
  t.equal(state.size, 200_000)
  clock.ms += 60_000
  for (let i = 0; i < 50_100; i++) await state.take([perMinute('busy', 0)], [])
  t.equal(state.size, 0)
})

test('keys that come and go faster than the sweep walks do not pile up', async t => {
  const { clock, state } = onClock()
  let most = 0
  for (let i = 0; i < 100_000; i++) {
    await state.take([perMinute(`bucket-${i}`, 1)], [])
    clock.ms += 1
    most = Math.max(most, state.size)
  }
  t.ok(most < 2_000, `${most} keys at most, 1,000 of them not full yet`)
})

test('a bucket in debt is remembered until it is full again', async t => {
  const { clock, state } = onClock()
  await state.give([{ ...perMinute('a', 0), amount: -660 }], [])
  clock.ms += 599_000
  for (let i = 0; i < 100; i++) await state.take([perMinute('other', 0)], [])
  t.match(await state.take([perMinute('a', 0)], []), { granted: false, retryAfterS: 1, remaining: [-1] })
  clock.ms += 61_000
  for (let i = 0; i < 3; i++) await state.take([perMinute('other', 0)], [])
  t.equal(state.size, 0)
})

/** The same promises, written as slowly and plainly as possible: every event is kept, every level worked out anew. */
class Model {
  readonly #changes: { key: string, ms: number, amount: number }[] = []
  #holds: { key: string, id: string, untilMs: number }[] = []

  level (bucket: Omit<Bucket, 'cost'>, ms: number): number {
    let level = bucket.capacity
    let at = 0
    for (const change of this.#changes.filter(({ key }) => key === bucket.key)) {
      level = Math.min(bucket.capacity, level + (change.ms - at) * bucket.refillPerS / 1000)
      level = Math.min(bucket.capacity, level + change.amount)
      at = change.ms
    }
    return Math.min(bucket.capacity, level + (ms - at) * bucket.refillPerS / 1000)
  }

  taken (key: string, ms: number): string[] { return this.#holds.filter(hold => hold.key === key && hold.untilMs > ms).map(({ id }) => id) }
  change (key: string, amount: number, ms: number): void { this.#changes.push({ key, ms, amount }) }
  free ({ key, id }: Hold): void { this.#holds = this.#holds.filter(hold => hold.key !== key || hold.id !== id) }
  hold (hold: Hold, ms: number): void {
    this.free(hold)
    this.#holds.push({ ...hold, untilMs: ms + hold.ttlMs })
  }

  take (buckets: Bucket[], holds: Hold[], ms: number): boolean {
    const fits = buckets.every(bucket => this.level(bucket, ms) >= bucket.cost - 1e-6) && holds.every(hold => {
      const taken = this.taken(hold.key, ms)
      return taken.length < hold.capacity || taken.includes(hold.id)
    })
    if (!fits) return false
    for (const bucket of buckets) this.change(bucket.key, -bucket.cost, ms)
    for (const hold of holds) this.hold(hold, ms)
    return true
  }
}

test('does what a plain model does, whatever comes', async t => {
  const BUCKETS = [{ key: 'b0', capacity: 10, refillPerS: 4 }, { key: 'b1', capacity: 3.5, refillPerS: 0.5 }]
  const CAPACITY = [1, 3]
  const quarters = fc.integer({ min: 0, max: 44 }).map(n => n / 4)
  const buckets = fc.subarray(BUCKETS).chain(some => fc.tuple(...some.map(bucket => quarters.map(cost => ({ ...bucket, cost })))))
  const holds = fc.subarray([0, 1]).chain(some => fc.tuple(...some.map(i =>
    fc.record({ key: fc.constant(`h${i}`), capacity: fc.constant(CAPACITY[i]!), id: fc.constantFrom('a', 'b', 'c', 'd'), ttlMs: fc.constantFrom(500, 2_000) }))))
  const anyStep = fc.oneof(
    { weight: 4, arbitrary: fc.record({ take: buckets, holds }) },
    { weight: 2, arbitrary: fc.record({ give: buckets, sign: fc.constantFrom(-1, 1), holds }) },
    { weight: 1, arbitrary: fc.record({ renew: holds }) },
    { weight: 2, arbitrary: fc.record({ passMs: fc.constantFrom(1, 250, 1_000, 10_000) }) }
  )
  await fc.assert(fc.asyncProperty(fc.array(anyStep, { minLength: 5, maxLength: 60 }), async steps => {
    const clock = { ms: 0 }
    const state = new MemoryState({ now: () => clock.ms })
    const model = new Model()
    for (const step of steps) {
      if ('passMs' in step) clock.ms += step.passMs
      if ('renew' in step) {
        await state.renew(step.renew)
        for (const hold of step.renew) model.hold(hold, clock.ms)
      }
      if ('give' in step) {
        await state.give(step.give.map(({ cost, ...rest }) => ({ ...rest, amount: step.sign * cost })), step.holds)
        for (const { key, cost } of step.give) model.change(key, step.sign * cost, clock.ms)
        for (const hold of step.holds) model.free(hold)
      }
      if ('take' in step) {
        const expected = model.take(step.take, step.holds, clock.ms)
        const { granted, remaining } = await state.take(step.take, step.holds)
        if (granted !== expected) throw new Error(`granted ${granted}, the model says ${expected}`)
        step.take.forEach((bucket, i) => {
          const level = model.level(bucket, clock.ms)
          if (Math.abs(remaining[i]! - level) > 1e-6) throw new Error(`${bucket.key}: ${remaining[i]}, the model says ${level}`)
        })
      }
    }
  }), { numRuns: 500 })
  t.pass()
})
