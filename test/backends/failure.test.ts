import { test } from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { broken, refused, reported, reportedInStream, retryAfterS } from '../../src/backends/failure.ts'

const asked = { name: 'fake', secrets: [], body: '{}' }
const refusedWith = (status: number, body: string) => refused(asked, { status, headers: {}, body: Buffer.from(body) })
const badRequest = (code: string) => refusedWith(400, JSON.stringify({ error: { message: 'm', code, param: 'p' } }))
const thrown = (code: string) => Object.assign(new Error('x'), { code })
const NOW = Date.parse('2026-11-22T12:00:00Z')

test('Retry-After: seconds, milliseconds and dates, rounded up and 60 at most', t => {
  const table: Array<[Record<string, string>, number | null]> = [
    [{}, null], [{ 'retry-after': '5' }, 5], [{ 'retry-after': '0' }, 0], [{ 'retry-after': '1.2' }, 2], [{ 'retry-after': '31536000' }, 60],
    [{ 'retry-after': '-5' }, null], [{ 'retry-after': 'soon' }, null], [{ 'retry-after': '' }, null], [{ 'retry-after': '9'.repeat(400) }, 60],
    [{ 'retry-after-ms': '200' }, 1], [{ 'retry-after-ms': '2500', 'retry-after': '50' }, 3], [{ 'retry-after-ms': 'x', 'retry-after': '50' }, 50],
    [{ 'retry-after': 'Sun, 22 Nov 2026 12:00:09 GMT' }, 9], [{ 'retry-after': 'Sun, 22 Nov 2026 11:00:00 GMT' }, 0], [{ 'retry-after': 'Mon, 22 Nov 2027 12:00:00 GMT' }, 60]
  ]
  for (const [headers, expected] of table) t.equal(retryAfterS(headers, NOW), expected, JSON.stringify(headers))
  t.end()
})

test('every status becomes one error', t => {
  const table: Record<number, string> = {
    201: 'backend_invalid_answer', 206: 'backend_invalid_answer', 302: 'backend_invalid_answer', 400: 'rejected_by_backend', 401: 'backend_auth_failed',
    402: 'backend_auth_failed', 403: 'backend_auth_failed', 404: 'backend_invalid_answer', 405: 'rejected_by_backend', 408: 'backend_timeout',
    409: 'rejected_by_backend', 413: 'rejected_by_backend', 422: 'rejected_by_backend', 429: 'backend_rate_limited', 500: 'backend_failed',
    503: 'backend_failed', 529: 'backend_failed', 599: 'backend_failed'
  }
  for (const [status, code] of Object.entries(table)) t.equal(refusedWith(Number(status), '').code, code, status)
  t.end()
})

test('bodies of many shapes give their message', t => {
  for (const body of ['{"error":{"message":"m"}}', '{"error":"m"}', '{"message":"m"}', '{"detail":"m"}', '[{"error":{"message":"m"}}]', '{"object":"error","message":"m"}']) {
    t.equal(refusedWith(500, body).message, 'fake answered 500: m', body)
  }
  for (const body of ['', 'm', '[]', 'null', '7', '{"detail":[{"msg":"m"}]}', '{"error":null}', '{"error":{"message":7}}', '<b>m</b>']) t.equal(refusedWith(500, body).message, 'fake answered 500.', body)
  t.end()
})

test('a value that the model cannot honour may be tried elsewhere; a key inside a 400 is our fault', t => {
  t.match(badRequest('unsupported_value'), { code: 'unsupported_value', param: 'p', fallback: true })
  t.match(badRequest('invalid_api_key'), { code: 'backend_auth_failed' })
  t.match(badRequest('content_filter'), { code: 'rejected_by_backend', upstream: { status: 400, code: 'content_filter' } })
  t.end()
})

test('a refusal is read in the same way, however long the request was', t => {
  const long = { ...asked, body: 'z'.repeat(1_048_577) }
  const told = (error: object) => refused(long, { status: 400, headers: {}, body: Buffer.from(JSON.stringify({ error: { message: 'm', ...error } })) })
  t.match(told({ code: 'unsupported_value', param: 'messages[0].content' }), { code: 'unsupported_value', param: 'messages[0].content', fallback: true, message: /withheld/ })
  t.match(told({ code: 'context_length_exceeded', param: 'messages' }), { code: 'context_length_exceeded', param: 'messages', fallback: true })
  t.match(told({ code: 'bad_max', param: 'max_tokens' }), { code: 'rejected_by_backend', param: 'max_tokens', upstream: { status: 400, code: 'bad_max' } })
  const odd = told({ code: 'You said: hello', param: 'hello there' })
  t.same([odd.code, odd.param, odd.upstream], ['rejected_by_backend', null, { status: 400, code: null }])
  t.end()
})

test('a word about the key is never passed on as the caller\'s fault', t => {
  for (const status of [400, 404, 409, 422, 429, 500]) {
    for (const error of [{ code: 'invalid_api_key' }, { code: 'INVALID_API_KEY' }, { type: 'authentication_error' }, { message: 'API key not valid. Please pass a valid API key.' }]) {
      for (const body of ['{}', 'z'.repeat(1_048_577)]) {
        const failure = refused({ ...asked, body }, { status, headers: {}, body: Buffer.from(JSON.stringify({ error: { message: 'm', ...error } })) })
        t.match(failure, { code: 'backend_auth_failed', status: 502, upstream: null }, `${status} ${JSON.stringify(error)}`)
      }
    }
  }
  t.equal(reported(asked, { message: 'm', type: null, code: 'invalid_api_key', param: null }).code, 'backend_auth_failed')
  t.end()
})

test('an error inside an answer is told by its code, number or type', t => {
  const error = { message: 'm', type: null, code: null, param: null }
  t.equal(reported(asked, { ...error, code: 429 }).code, 'backend_rate_limited')
  t.equal(reported(asked, { ...error, code: 'rate_limit_exceeded' }).code, 'backend_rate_limited')
  t.equal(reported(asked, { ...error, type: 'invalid_request_error' }).code, 'rejected_by_backend')
  t.equal(reported(asked, { ...error, code: 7 }).code, 'backend_failed')
  t.equal(reported(asked, error).code, 'backend_failed')
  t.equal(reportedInStream(asked, error).code, 'backend_interrupted')
  t.equal(reportedInStream(asked, { ...error, code: 429 }).code, 'backend_rate_limited')
  t.end()
})

test('broken connections are named in plain words, and keep their cause', t => {
  const before = { began: false, connectMs: 2000 }
  t.match(broken('fake', thrown('UND_ERR_CONNECT_TIMEOUT'), before), { code: 'backend_timeout', message: 'fake did not connect within 2000 ms.' })
  t.match(broken('fake', thrown('UND_ERR_CONNECT_TIMEOUT'), { began: false, connectMs: undefined }), { message: 'fake did not connect in time.' })
  t.match(broken('fake', thrown('CERT_HAS_EXPIRED'), before), { code: 'backend_unreachable', message: 'fake cannot be reached: its TLS certificate has expired.' })
  t.match(broken('fake', thrown('ENOTFOUND'), before), { code: 'backend_unreachable', message: 'fake cannot be reached: its name does not resolve.' })
  t.match(broken('fake', new AggregateError([thrown('ECONNREFUSED'), thrown('ENETUNREACH')]), before), { message: 'fake cannot be reached: it refused the connection.' })
  t.match(broken('fake', thrown('EWEIRD'), before), { message: 'fake cannot be reached: EWEIRD.' })
  t.match(broken('fake', 'what', before), { message: 'fake cannot be reached: unknown error.' })
  t.match(broken('fake', thrown('ECONNRESET'), { began: true, connectMs: 1 }), { code: 'backend_interrupted' })
  const ours = new GatewayError('egress_forbidden', 'No.')
  t.equal(broken('fake', ours, before), ours)
  const cause = thrown('ECONNREFUSED')
  t.equal(broken('fake', cause, before).cause, cause)
  t.end()
})
