import { test } from 'tap'
import { Refused } from '../../src/backends/failure.ts'
import { healthAfter, HealthRecord, HEALTHY, isDown, type Health } from '../../src/backends/health.ts'
import { GatewayError, type ErrorCode } from '../../src/errors.ts'

const failure = (code: ErrorCode, retryAfterS: number | null = null) => new GatewayError(code, 'No.', { retryAfterS })
const refusal = (status: number) => new GatewayError('backend_auth_failed', 'No.', { cause: new Refused(status) })
const after = (outcomes: ReadonlyArray<ErrorCode | null>, now = 0) => outcomes.reduce((health: Health, outcome) => healthAfter(health, outcome === null ? null : failure(outcome), now), HEALTHY)
const ill = (count: number) => Array<ErrorCode>(count).fill('backend_unreachable')

test('five failures in a row and the backend rests for five seconds', t => {
  t.notOk(isDown(HEALTHY, 0))
  t.notOk(isDown(after(ill(4)), 0))
  t.ok(isDown(after(ill(5)), 0))
  t.ok(isDown(after(ill(5)), 4_999))
  t.notOk(isDown(after(ill(5)), 5_000))
  t.end()
})

test('a good answer forgets them, the first failure after a rest begins the next', t => {
  t.notOk(isDown(after([...ill(4), null, ...ill(4)]), 0))
  t.ok(isDown(healthAfter(after(ill(5)), failure('backend_timeout'), 6_000), 10_999))
  t.same(healthAfter(after(ill(5)), null, 6_000), HEALTHY)
  t.end()
})

test('what is wrong with the call does not count, nor a rate without a time to wait', t => {
  const others: ErrorCode[] = ['rejected_by_backend', 'context_length_exceeded', 'backend_rate_limited', 'backend_invalid_answer', 'client_closed', 'egress_forbidden']
  for (const code of others) t.same(healthAfter(HEALTHY, failure(code), 0), HEALTHY, code)
  t.ok(isDown(after([...ill(2), ...others, 'backend_failed', 'backend_timeout', 'backend_unreachable']), 0))
  t.end()
})

test('a thousand ill models are remembered, those that failed last', t => {
  const record = new HealthRecord()
  const failed = new GatewayError('backend_failed', 'No.')
  for (let model = 0; model < 1_200; model++) for (let failures = 0; failures < 5; failures++) record.failed(`m${model}`, failed, 0)
  t.same([0, 199, 200, 1_199].map(model => record.isDown(`m${model}`, 0)), [false, false, true, true])
  t.end()
})

test('to connect too slowly is the backend\'s failure, to answer too slowly the model\'s', t => {
  const record = new HealthRecord()
  const connect = new GatewayError('backend_timeout', 'No.', { cause: Object.assign(new Error('x'), { code: 'UND_ERR_CONNECT_TIMEOUT' }) })
  for (let failures = 0; failures < 5; failures++) record.failed('a', new GatewayError('backend_timeout', 'No.'), 0)
  t.same([record.isDown('a', 0), record.isDown('b', 0)], [true, false])
  for (let failures = 0; failures < 5; failures++) record.failed(`m${failures}`, connect, 0)
  t.ok(record.isDown('b', 0))
  t.end()
})

test('a server that says when to come back rests until then, with whatever it refused', t => {
  const limited = healthAfter(HEALTHY, failure('backend_rate_limited', 7), 1_000)
  t.match(limited, { reason: 'rate_limited', failures: 0 })
  t.same([7_999, 8_000].map(now => isDown(limited, now)), [true, false])
  t.match(healthAfter(HEALTHY, failure('backend_failed', 20), 0), { reason: 'failing', failures: 1, downUntil: 20_000 })
  t.notOk(isDown(healthAfter(HEALTHY, failure('backend_rate_limited', 0), 0), 0))
  t.same(healthAfter(HEALTHY, failure('context_length_exceeded', 9), 0), HEALTHY, 'about the call')
  t.equal(healthAfter(limited, failure('backend_rate_limited', 1), 2_000).downUntil, 8_000, 'never cut short')
  t.end()
})

test('an answer to a call that was let in before does not end the wait, one after it does', t => {
  const limited = healthAfter(HEALTHY, failure('backend_rate_limited', 7), 0)
  t.ok(isDown(healthAfter(limited, null, 3_000), 6_999))
  t.equal(healthAfter(limited, null, 7_000), HEALTHY)
  const record = new HealthRecord()
  record.failed('a', failure('backend_rate_limited', 7), 0)
  record.answered('a', 10)
  t.same(record.rest('a', 1_500), { reason: 'rate_limited', retryAfterS: 6 })
  t.equal(record.rest('b', 1_500), null, 'a limit is that of a model')
  t.end()
})

test('a dead key rests the whole backend for a minute, and an answer revives it', t => {
  for (const status of [400, 401, 402]) {
    const record = new HealthRecord()
    record.failed('a', refusal(status), 0)
    t.same(record.rest('b', 100), { reason: 'key_refused', retryAfterS: 60 }, String(status))
    t.notOk(record.isDown('b', 60_000))
    record.answered('b', 60_000)
    t.notOk(record.isDown('a', 60_000))
    record.failed('a', refusal(status), 61_000)
    t.ok(record.isDown('a', 120_999), 'one call a minute finds out')
  }
  t.end()
})

test('a 403 may be about one prompt: five in a row rest the model, and the model alone', t => {
  const record = new HealthRecord()
  for (let refusals = 0; refusals < 4; refusals++) record.failed('a', refusal(403), 0)
  t.notOk(record.isDown('a', 0))
  record.failed('a', refusal(403), 0)
  t.same(record.rest('a', 0), { reason: 'key_refused', retryAfterS: 60 })
  t.notOk(record.isDown('b', 0))
  t.end()
})
