import type { Test } from 'tap'
import { test } from 'tap'
import type { Bucket, Hold, Home, SharedState, Take } from '../../src/state/state.ts'

/** Two gateways on the same counters, and a way to let time pass. */
export interface Rig { readonly replicas: readonly [Replica, Replica], pass (ms: number): Promise<void> }
type Replica = SharedState & Home

/** Of so little refill that none is seen in a test. */
const NEVER = 1e-6

const bucket = (cost: number, more: Partial<Bucket> = {}): Bucket => ({ key: 'tenant:{acme}:tokens', capacity: 10, refillPerS: NEVER, cost, ...more })
const hold = (id: string, more: Partial<Hold> = {}): Hold => ({ key: 'tenant:{acme}:concurrency', capacity: 2, id, ttlMs: 10_000, ...more })
const refund = (amount: number, more: Partial<Bucket> = {}) => ({ ...bucket(0, more), amount })

/** What every implementation promises. `open` gives a fresh one. */
export function stateContract (name: string, open: (t: Test) => Promise<Rig>, options: { skip: string | false } = { skip: false }): void {
  const promise = (says: string, prove: (t: Test, rig: Rig) => Promise<void>) => test(`${name}: ${says}`, options, async t => prove(t, await open(t)))

  promise('takes from all buckets and holds, or from none', async (t, { replicas: [state] }) => {
    const plenty = { key: 'tenant:{acme}:requests', capacity: 100 }
    const first = await state.take([bucket(1, plenty), bucket(8)], [hold('a')])
    t.match(first, { granted: true })
    near(t, first.remaining, [99, 2])
    const second = await state.take([bucket(1, plenty), bucket(8)], [hold('b')])
    t.match(second, { granted: false, key: 'tenant:{acme}:tokens' })
    near(t, second.remaining, [99, 2])
    const third = await state.take([bucket(1, plenty)], [hold('c')])
    t.match(third, { granted: true }, 'the refused take had taken no place')
    near(t, third.remaining, [98])
    const fourth = await state.take([bucket(1, plenty)], [hold('d')])
    t.match(fourth, { granted: false, key: 'tenant:{acme}:concurrency', retryAfterS: null })
    near(t, fourth.remaining, [98])
  })

  promise('names the bucket with the longest wait, which suffices exactly then', async (t, { replicas: [state], pass }) => {
    const quick = { key: 'tenant:{acme}:requests', refillPerS: 1000 }
    const slow = { refillPerS: 2 }
    await state.take([bucket(10, quick), bucket(10, slow)], [])
    const short = await state.take([bucket(5, quick), bucket(1, slow)], [])
    t.match(short, { granted: false, key: 'tenant:{acme}:tokens', retryAfterS: Number })
    const { retryAfterS } = short as Take & { retryAfterS: number }
    t.ok(retryAfterS > 0.01 && retryAfterS <= 0.5, `${retryAfterS} s`)
    await pass(retryAfterS * 1000)
    t.match(await state.take([bucket(5, quick), bucket(1, slow)], []), { granted: true })
  })

  promise('names a bucket rather than a hold when both are short, because somebody knows how long it takes', async (t, { replicas: [state] }) => {
    await state.take([bucket(10)], [hold('a', { capacity: 1 })])
    t.match(await state.take([bucket(1)], [hold('b', { capacity: 1 })]), { granted: false, key: 'tenant:{acme}:tokens', retryAfterS: Number })
  })

  promise('refills up to the capacity and no further', async (t, { replicas: [state], pass }) => {
    const quick = { refillPerS: 1000 }
    await state.take([bucket(10, quick)], [])
    await pass(100)
    t.match(await state.take([bucket(10.5, quick)], []), { granted: false })
    near(t, (await state.take([bucket(0, quick)], [])).remaining, [10])
  })

  promise('says that a cost above the capacity never fits', async (t, { replicas: [state] }) => {
    t.match(await state.take([bucket(1, { key: 'tenant:{acme}:requests' }), bucket(11)], [hold('a')]), { granted: false, key: 'tenant:{acme}:tokens', retryAfterS: null })
  })

  promise('counts fractions', async (t, { replicas: [state] }) => {
    for (let i = 0; i < 4; i++) t.match(await state.take([bucket(2.5)], []), { granted: true })
    t.match(await state.take([bucket(0.001)], []), { granted: false })
    await state.give([refund(0.75)], [])
    near(t, (await state.take([bucket(0.5)], [])).remaining, [0.25])
  })

  promise('gives back no more than fits', async (t, { replicas: [state] }) => {
    await state.take([bucket(4)], [])
    await state.give([refund(100)], [])
    near(t, (await state.take([bucket(1)], [])).remaining, [9])
  })

  promise('charges beyond zero, and the debt has to refill first', async (t, { replicas: [state], pass }) => {
    const slow = { refillPerS: 20 }
    await state.take([bucket(10, slow)], [])
    await state.give([refund(-10, slow)], [])
    const short = await state.take([bucket(0, slow)], [])
    t.match(short, { granted: false, key: 'tenant:{acme}:tokens' })
    t.ok(short.remaining[0]! < -5 && short.remaining[0]! >= -10, `level ${short.remaining[0]}`)
    await pass(510)
    t.match(await state.take([bucket(0, slow)], []), { granted: true })
  })

  promise('keeps no more than a capacity that was lowered', async (t, { replicas: [state] }) => {
    await state.take([bucket(1)], [])
    near(t, (await state.take([bucket(1, { capacity: 5 })], [])).remaining, [4])
  })

  promise('frees a place once, however often it is given back', async (t, { replicas: [state] }) => {
    for (const id of ['a', 'b']) t.match(await state.take([], [hold(id)]), { granted: true })
    t.match(await state.take([], [hold('c')]), { granted: false })
    await state.give([], [hold('a')])
    await state.give([], [hold('a')])
    await state.give([], [hold('stranger')])
    t.match(await state.take([], [hold('c')]), { granted: true })
    t.match(await state.take([], [hold('d')]), { granted: false })
  })

  promise('takes one place for one id', async (t, { replicas: [state] }) => {
    for (const id of ['a', 'a', 'b', 'a']) t.match(await state.take([], [hold(id)]), { granted: true })
    t.match(await state.take([], [hold('c')]), { granted: false })
  })

  promise('forgets a hold that nobody renews', async (t, { replicas: [state], pass }) => {
    const brief = { ttlMs: 300 }
    await state.take([], [hold('killed', brief)])
    await state.take([], [hold('long', brief)])
    await pass(200)
    await state.renew([hold('long', brief)])
    await pass(200)
    t.match(await state.take([], [hold('a')]), { granted: true }, 'the place of the killed one is free')
    t.match(await state.take([], [hold('b')]), { granted: false }, 'the renewed one still has its own')
    await state.give([], [hold('killed', brief)])
    t.match(await state.take([], [hold('b')]), { granted: false }, 'giving back what has expired frees nothing')
  })

  promise('lets a short hold expire beside a long one', async (t, { replicas: [state], pass }) => {
    await state.take([], [hold('long')])
    await state.take([], [hold('brief', { ttlMs: 50 })])
    await pass(80)
    t.match(await state.take([], [hold('a')]), { granted: true })
    t.match(await state.take([], [hold('b')]), { granted: false })
  })

  promise('takes an expired hold again on renewal, without a check', async (t, { replicas: [state], pass }) => {
    await state.take([], [hold('late', { ttlMs: 20 })])
    await pass(40)
    for (const id of ['a', 'b']) t.match(await state.take([], [hold(id)]), { granted: true })
    await state.renew([hold('late')])
    await state.give([], [hold('a')])
    t.match(await state.take([], [hold('c')]), { granted: false }, 'b and the late one')
  })

  promise('admits exactly ten of 200 parallel takes of two replicas', async (t, { replicas }) => {
    const ten = async (buckets: Bucket[], holds: (i: number) => Hold[]) => {
      const takes = await Promise.all(Array.from({ length: 200 }, (_, i) => replicas[i % 2]!.take(buckets, holds(i))))
      return takes.filter(({ granted }) => granted).length
    }
    t.equal(await ten([bucket(1)], () => []), 10, 'bucket')
    t.equal(await ten([], i => [hold(`call-${i}`, { capacity: 10 })]), 10, 'places')
  })

  promise('names itself as the home of what it granted', async (t, { replicas: [state] }) => {
    const take = await state.take([bucket(10)], [hold('a', { capacity: 1 })])
    if (!take.granted) return void t.fail('not granted')
    await take.home.give([refund(3)], [hold('a')])
    t.match(await state.take([bucket(3)], [hold('b', { capacity: 1 })]), { granted: true })
  })
}

function near (t: Test, actual: readonly number[], expected: readonly number[]): void {
  t.equal(actual.length, expected.length)
  expected.forEach((level, i) => t.ok(Math.abs(actual[i]! - level) < 1e-3, `level ${i} is about ${level}`, { found: actual[i] }))
}
