import { test } from 'tap'
import { ERRORS, GatewayError, toGatewayError } from '../src/errors.ts'

test('an unknown throw becomes internal_error and keeps its cause', async t => {
  const cause = new TypeError('x')
  const error = toGatewayError(cause)
  t.equal(error.code, 'internal_error')
  t.equal(error.cause, cause)
  t.equal(error.status, ERRORS.internal_error.status)
  t.equal(toGatewayError(error), error)
})

test('the body has the four members an OpenAI SDK reads', async t => {
  t.same(new GatewayError('invalid_type', 'No.', { param: 'n' }).toBody(), { error: { message: 'No.', type: 'invalid_request_error', param: 'n', code: 'invalid_type' } })
})
