import { test } from 'tap'
import { healthAfter, HealthRecord, HEALTHY, isDown, type Health } from '../../src/backends/health.ts'
import { GatewayError, type ErrorCode } from '../../src/errors.ts'

const after = (outcomes: ReadonlyArray<ErrorCode | null>, now = 0) => outcomes.reduce((health: Health, outcome) => healthAfter(health, outcome, now), HEALTHY)
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
  t.ok(isDown(healthAfter(after(ill(5)), 'backend_timeout', 6_000), 10_999))
  t.same(healthAfter(after(ill(5)), null, 6_000), HEALTHY)
  t.end()
})

test('what is wrong with the call, the key or the rate does not count', t => {
  const others: ErrorCode[] = ['rejected_by_backend', 'context_length_exceeded', 'backend_rate_limited', 'backend_auth_failed', 'backend_invalid_answer', 'client_closed', 'egress_forbidden']
  for (const code of others) t.same(healthAfter(HEALTHY, code, 0), HEALTHY, code)
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
