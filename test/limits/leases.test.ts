import { setTimeout as sleep } from 'node:timers/promises'
import { test, type Test } from 'tap'
import type { LimitsConfig } from '../../src/config/schema.ts'
import { GatewayError } from '../../src/errors.ts'
import { limitsOn, RateLimited, type LimitsOptions } from '../../src/limits/leases.ts'
import { MemoryState } from '../../src/state/memory.ts'
import type { SharedState } from '../../src/state/state.ts'

/** Limits on a clock that stands still until it is moved. */
function onClock (t: Test, options: LimitsOptions = {}) {
  const clock = { ms: 0 }
  const state = new MemoryState({ now: () => clock.ms })
  const errors: unknown[] = []
  const limits = limitsOn(state, { onError: error => errors.push(error), ...options })
  t.teardown(() => limits.close())
  let calls = 0
  const admit = (config: LimitsConfig, tokens = 0) => limits.admit({ tenant: 'acme', limits: config }, { callId: `call-${calls++}`, tokens })
  return { clock, state, limits, admit, errors }
}

const refusal = (promise: Promise<unknown>): Promise<RateLimited> => promise.then(() => { throw new Error('was admitted') }, error => error)

test('a tenant without limits is admitted without a look at the counters', async t => {
  const untouchable = { take: () => { throw new Error('asked') }, close: async () => {} } satisfies SharedState
  const limits = limitsOn(untouchable)
  t.teardown(() => limits.close())
  const lease = await limits.admit({ tenant: 'acme', limits: {} }, { callId: 'a', tokens: 1e9 })
  t.match(lease, { requests: null, tokens: null })
  await lease.settle({ tokens: 5 })
})

test('requests per minute: one minute\'s worth at once, then one at a time', async t => {
  const { admit, clock } = onClock(t)
  for (let i = 0; i < 60; i++) t.match((await admit({ requestsPerMinute: 60 })).requests, { limit: 60, remaining: 59 - i, resetS: i + 1 })
  const error = await refusal(admit({ requestsPerMinute: 60 }))
  t.ok(error instanceof RateLimited && error instanceof GatewayError)
  t.match(error, {
    code: 'rate_limit_exceeded',
    status: 429,
    message: 'Rate limit reached for acme on requests per minute: limit 60, remaining 0, requested 1. Please try again in 1s.',
    retryAfterS: 1,
    limit: { scope: 'tenant', resource: 'requests' },
    standing: { requests: { limit: 60, remaining: 0, resetS: 60 }, tokens: null }
  })
  clock.ms += 1_000
  await admit({ requestsPerMinute: 60 })
  await t.rejects(admit({ requestsPerMinute: 60 }), { code: 'rate_limit_exceeded' })
})

test('tokens: what was not used is given back, once', async t => {
  const { admit, errors } = onClock(t)
  const config = { tokensPerMinute: 1_000 }
  const lease = await admit(config, 800)
  t.match(lease.tokens, { limit: 1_000, remaining: 200, resetS: 48 })
  t.match(await refusal(admit(config, 300)), {
    message: 'Rate limit reached for acme on tokens per minute: limit 1000, remaining 200, requested 300. Please try again in 6s.',
    limit: { resource: 'tokens' },
    standing: { tokens: { remaining: 200 } }
  })
  await lease.settle({ tokens: 100 })
  await lease.settle({ tokens: 0 })
  t.match((await admit(config, 0)).tokens, { remaining: 900 })
  t.same(errors, [])
})

test('tokens: what was used beyond the estimate is charged, and may leave a debt', async t => {
  const { admit, clock } = onClock(t)
  const config = { tokensPerMinute: 600 }
  await (await admit(config, 100)).settle({ tokens: 1_000 })
  t.match(await refusal(admit(config, 0)), { retryAfterS: 40, message: /remaining 0, requested 0\. Please try again in 40s/, standing: { tokens: { remaining: -400 } } })
  clock.ms += 40_000
  await admit(config, 0)
})

test('tokens: a call larger than the limit is told that it never fits, and takes nothing', async t => {
  const { admit, state } = onClock(t)
  const error = await refusal(admit({ requestsPerMinute: 1, tokensPerMinute: 1_000 }, 1_001))
  t.match(error, { code: 'rate_limit_exceeded', retryAfterS: null, message: /limit 1000, requested 1001/, limit: { resource: 'tokens' }, standing: { requests: null, tokens: null } })
  t.equal(state.size, 0)
  await admit({ requestsPerMinute: 1, tokensPerMinute: 1_000 }, 1_000)
})

test('concurrency: a place is free again when its call is settled', async t => {
  const { admit } = onClock(t)
  const leases = await Promise.all([admit({ concurrency: 2 }), admit({ concurrency: 2 })])
  t.match(await refusal(admit({ concurrency: 2 })), { retryAfterS: 1, message: /on concurrent requests: limit 2\./, limit: { resource: 'concurrency' } })
  await Promise.all([leases[0]!.settle({ tokens: 0 }), leases[0]!.settle({ tokens: 0 })])
  await admit({ concurrency: 2 })
  await t.rejects(admit({ concurrency: 2 }))
})

test('a refused call takes from no limit', async t => {
  const { admit } = onClock(t)
  const config = { requestsPerMinute: 10, tokensPerMinute: 100, concurrency: 1 }
  const lease = await admit(config, 10)
  for (let i = 0; i < 20; i++) await t.rejects(admit(config, 10))
  await lease.settle({ tokens: 10 })
  t.match(await admit(config, 10), { requests: { remaining: 8 }, tokens: { remaining: 80 } })
})

test('of 100 calls at once, a budget for ten admits exactly ten', async t => {
  const { admit } = onClock(t)
  const calls = await Promise.allSettled(Array.from({ length: 100 }, () => admit({ tokensPerMinute: 10_000 }, 1_000)))
  t.equal(calls.filter(({ status }) => status === 'fulfilled').length, 10)
})

test('tenants do not share their limits', async t => {
  const { limits, admit } = onClock(t)
  await admit({ requestsPerMinute: 1 })
  await t.rejects(admit({ requestsPerMinute: 1 }))
  await limits.admit({ tenant: 'globex', limits: { requestsPerMinute: 1 } }, { callId: 'x', tokens: 0 })
})

test('a running call keeps its place beyond its time to live, a settled or abandoned one does not', async t => {
  const state = new MemoryState()
  const limits = limitsOn(state, { holdTtlMs: 120 })
  const abandoned = limitsOn(state, { holdTtlMs: 120 })
  const config = { concurrency: 2 }
  const running = await limits.admit({ tenant: 'acme', limits: config }, { callId: 'running', tokens: 0 })
  await abandoned.admit({ tenant: 'acme', limits: config }, { callId: 'killed', tokens: 0 })
  await abandoned.close()
  await sleep(300)
  await limits.admit({ tenant: 'acme', limits: config }, { callId: 'next', tokens: 0 })
  await t.rejects(limits.admit({ tenant: 'acme', limits: config }, { callId: 'full', tokens: 0 }))
  await running.settle({ tokens: 0 })
  await limits.admit({ tenant: 'acme', limits: config }, { callId: 'last', tokens: 0 })
  await limits.close()
})

test('a settlement or renewal that fails is reported and harms nobody', async t => {
  const lost = new GatewayError('state_unavailable', 'away')
  const fail = async () => { throw lost }
  const broken: SharedState = { take: async () => ({ granted: true, remaining: [], home: { give: fail, renew: fail } }), close: async () => {} }
  const errors: unknown[] = []
  const limits = limitsOn(broken, { holdTtlMs: 30, onError: error => errors.push(error) })
  t.teardown(() => limits.close())
  const lease = await limits.admit({ tenant: 'acme', limits: { concurrency: 1 } }, { callId: 'a', tokens: 0 })
  await sleep(50)
  t.ok(errors.length > 0, 'renewal')
  const before = errors.length
  await lease.settle({ tokens: 0 })
  t.equal(errors.length, before + 1, 'settlement')
  t.same(new Set(errors), new Set([lost]))
})

test('a number that is none spoils no bucket', async t => {
  const { admit, errors } = onClock(t)
  const config = { tokensPerMinute: 1_000, concurrency: 1 }
  for (const tokens of [NaN, -1, Infinity]) await t.rejects(admit(config, tokens), { code: 'internal_error' })
  const lease = await admit(config, 100)
  await lease.settle({ tokens: NaN })
  t.match(errors, [{ code: 'internal_error', message: /the estimate stands/ }])
  t.match((await admit(config, 0)).tokens, { remaining: 900 }, 'the place is free, the estimate charged')
})
