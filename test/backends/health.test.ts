import { test } from 'tap'
import { Refused } from '../../src/backends/failure.ts'
import { HealthRecord } from '../../src/backends/health.ts'
import { GatewayError } from '../../src/errors.ts'

const failed = new GatewayError('backend_failed', 'No.')
const refusal = (status: number) => new GatewayError('backend_auth_failed', 'No.', { cause: new Refused(status) })
const isDown = (record: HealthRecord, model: string, now = 0) => record.rest(model, now) !== null

test('a thousand models are remembered, those that failed last', async t => {
  const record = new HealthRecord()
  for (let model = 0; model < 1_200; model++) for (let failures = 0; failures < 5; failures++) record.failed(`m${model}`, failed, 0)
  t.same([0, 199, 200, 1_199].map(model => isDown(record, `m${model}`)), [false, false, true, true])
  for (let model = 0; model < 999; model++) record.answered(`other${model}`, 0)
  t.same([1_198, 1_199].map(model => isDown(record, `m${model}`)), [false, true])
})

test('to connect too slowly is the backend\'s failure, to answer too slowly the model\'s', async t => {
  const record = new HealthRecord()
  const connect = new GatewayError('backend_timeout', 'No.', { cause: Object.assign(new Error('x'), { code: 'UND_ERR_CONNECT_TIMEOUT' }) })
  for (let failures = 0; failures < 5; failures++) record.failed('a', new GatewayError('backend_timeout', 'No.'), 0)
  t.same([isDown(record, 'a'), isDown(record, 'b')], [true, false])
  for (let failures = 0; failures < 5; failures++) record.failed(`m${failures}`, connect, 0)
  t.ok(isDown(record, 'b'))
})

test('a limit is that of a model, a dead key that of the backend; the longer rest is told', async t => {
  const record = new HealthRecord()
  record.failed('a', new GatewayError('backend_rate_limited', 'No.', { retryAfterS: 7 }), 0)
  record.answered('a', 10)
  t.same(record.rest('a', 1_500), { reason: 'rate_limited', retryAfterS: 6 })
  t.equal(record.rest('b', 1_500), null)
  record.failed('a', refusal(401), 2_000)
  t.same([record.rest('a', 2_000), record.rest('b', 2_000)], [{ reason: 'key_refused', retryAfterS: 60 }, { reason: 'key_refused', retryAfterS: 60 }])
  record.answered('b', 62_000)
  t.notOk(isDown(record, 'a', 62_000))
})

test('a 403 may be about one prompt: five in a row rest the model, and the model alone', async t => {
  const record = new HealthRecord()
  for (let refusals = 0; refusals < 5; refusals++) record.failed('a', refusal(403), 0)
  t.same(record.rest('a', 0), { reason: 'key_refused', retryAfterS: 60 })
  t.notOk(isDown(record, 'b'))
})

test('a model is weak, and the others are not; a backend is weak with all of them', async t => {
  const record = new HealthRecord()
  for (let call = 0; call < 18; call++) record.answered('a', 0)
  for (let call = 0; call < 3; call++) record.failed('a', failed, 0)
  t.same([record.isWeak('a', 0), record.isWeak('b', 0)], [true, false])
  record.asked('a', 1_000)
  t.same([999, 1_000, 2_000].map(now => record.isWeak('a', now)), [true, true, false], 'one probe in a second')
  for (let failures = 0; failures < 5; failures++) record.failed('b', new GatewayError('backend_unreachable', 'No.'), 0)
  t.ok(record.isWeak('c', 4_999))
})
