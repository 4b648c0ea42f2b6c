/** The edge of the API as other programs meet it: in every dialect's own words, from browsers, and under names of their own. */
import { test, type Test } from 'tap'
import { ask, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'
import { talk } from './raw.ts'

const yaml = (providerUrl: string) => `
limits: { failuresPerMinute: 10000 }
backends: [{ name: cloud, kind: openai, baseUrl: '${providerUrl}', locality: cloud }]
models: [{ name: chat, targets: [{ backend: cloud, model: big }] }]
tenants: [{ name: default }]
`
const body = JSON.stringify(ask('Hi', 'chat'))

async function start (t: Test, server?: string) {
  const cloud = await startProvider(t)
  const running = await startGateway(t, yaml(cloud.url), {}, server)
  const key = await running.key('default')
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const call = (path: string, init: RequestInit = {}) => fetch(running.url + path, { method: 'POST', ...init, headers: { ...headers, ...init.headers as Record<string, string> } })
  return { cloud, running, key, call }
}

const BODY_LIMIT = 100_000

test('what is refused before a handler sees it is told in the words of the path', async t => {
  const { call } = await start(t, `bodyLimitBytes: ${BODY_LIMIT}`)
  const cases: [string, RequestInit, number, string][] = [
    ['', { method: 'PUT', body }, 405, 'invalid_request_error'],
    ['/nowhere/at/all', { body }, 404, 'not_found_error'],
    ['', { headers: { authorization: 'Bearer nope' }, body }, 401, 'authentication_error'],
    ['', { body: 'x'.repeat(BODY_LIMIT + 1) }, 413, 'request_too_large'],
    ['', { headers: { 'content-type': 'text/plain' }, body }, 415, 'invalid_request_error'],
    ['', { body: '{' }, 400, 'invalid_request_error']
  ]
  for (const [more, init, status, type] of cases) {
    for (const path of ['/v1/messages', '/v1/messages/count_tokens', '/v1/messages?beta=true'].map(before => before.replace(/(\?|$)/, `${more}$1`))) {
      const response = await call(path, init)
      t.equal(response.status, status, `${path} ${status}`)
      t.match(await response.json(), { type: 'error', error: { type, message: /./ }, request_id: /^req_/ }, `${path} ${status}`)
      t.equal(response.headers.get('request-id'), response.headers.get('x-request-id'))
    }
    for (const path of ['/v1/chat/completions', '/v1/responses', '/v1/completions', '/v1/embeddings', '/v1/messagesX']) {
      const response = await call(path + more, init)
      t.equal(response.status, path === '/v1/messagesX' ? 404 : status, `${path} ${status}`)
      t.match(await response.json(), { error: { message: /./, type: /_error$/, param: null, code: /^[a-z_]+$/ }, type: undefined }, `${path} ${status}`)
    }
  }
})

test('HEAD says what GET would, without its body and not without a key; OPTIONS grants nothing', async t => {
  const { running, key } = await start(t)
  const raw = async (method: string, path: string, credential = key) => {
    const { answers, text } = await talk(running.url, `${method} ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${credential}\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n`, { bodies: method !== 'HEAD' })
    return { status: answers[0]!.status, headers: answers[0]!.headers, text }
  }
  const [head, get] = [await raw('HEAD', '/v1/models'), await raw('GET', '/v1/models')]
  t.same([head.status, head.headers['content-length'], head.headers['content-type']], [200, get.headers['content-length'], get.headers['content-type']])
  t.ok(head.text.endsWith('\r\n\r\n'), 'no body')
  t.equal((await raw('HEAD', '/v1/models', 'nope')).status, 401)
  t.equal((await raw('HEAD', '/v1/models/none')).status, 404)
  const wrong = await raw('HEAD', '/v1/chat/completions')
  t.same([wrong.status, wrong.headers['allow']], [405, 'POST'])
  for (const path of ['/v1/chat/completions', '/v1/models', '/nowhere']) {
    const { status, text } = await raw('OPTIONS', path)
    t.equal(status, path === '/nowhere' ? 404 : 405)
    t.notMatch(text, /access-control/i)
  }
})

test('pages of named origins may call, of others not', async t => {
  const { running, call } = await start(t, "cors: { origins: ['https://app.example', 'http://localhost:5173'] }")
  const preflight = (origin: string, path = '/v1/chat/completions', method = 'POST') => fetch(running.url + path, {
    method: 'OPTIONS', headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': 'authorization,content-type,x-stainless-os' }
  })
  const granted = await preflight('https://app.example')
  t.equal(granted.status, 204)
  t.equal(granted.headers.get('access-control-allow-origin'), 'https://app.example')
  t.equal(granted.headers.get('access-control-allow-methods'), 'POST')
  t.equal(granted.headers.get('access-control-allow-headers'), 'authorization, *')
  t.equal(granted.headers.get('access-control-allow-credentials'), null)
  t.equal((await preflight('http://localhost:5173', '/v1/models', 'GET')).status, 204)
  for (const [origin, path, method, status] of [
    ['https://evil.example', '/v1/chat/completions', 'POST', 405], ['https://app.example.evil.example', '/v1/chat/completions', 'POST', 405], ['null', '/v1/chat/completions', 'POST', 405],
    ['https://app.example', '/nowhere', 'POST', 404], ['https://app.example', '/v1/chat/completions', 'PUT', 405], ['https://app.example', '/v1/chat/completions', '__proto__', 405]
  ] as const) {
    const response = await preflight(origin, path, method)
    t.equal(response.status, status, `${origin} ${method} ${path}`)
    t.equal(response.headers.get('access-control-allow-methods'), null)
    if (origin !== 'https://app.example') t.equal(response.headers.get('access-control-allow-origin'), null, origin)
  }
  // Answers, streams and refusals can be read too.
  for (const [init, status] of [[{ body }, 200], [{ body: JSON.stringify({ ...ask('Hi', 'chat'), stream: true }) }, 200], [{ body, headers: { authorization: 'Bearer nope' } }, 401]] as [RequestInit, number][]) {
    for (const origin of ['https://app.example', 'https://evil.example']) {
      const response = await call('/v1/chat/completions', { ...init, headers: { ...init.headers as Record<string, string>, origin } })
      await response.text()
      t.equal(response.status, status)
      t.equal(response.headers.get('access-control-allow-origin'), origin === 'https://app.example' ? origin : null)
      t.equal(response.headers.get('vary'), 'Origin')
    }
  }

  const open = await start(t, "cors: { origins: ['*'] }")
  const response = await open.call('/v1/chat/completions', { body, headers: { origin: 'https://any.example' } })
  t.same([response.status, response.headers.get('access-control-allow-origin'), response.headers.get('vary')], [200, '*', null])
})

test('a caller\'s own id is repeated, made safe, and stands in the record beside ours', async t => {
  const { running, call, cloud } = await start(t)
  const ids: [Record<string, string>, string | null][] = [
    [{ 'x-client-request-id': 'job-17/a' }, 'job-17/a'],
    [{ 'x-request-id': '4bf92f3577b34da6' }, '4bf92f3577b34da6'],
    [{ 'x-client-request-id': 'mine', 'x-request-id': 'of the proxy' }, 'mine'],
    [{ 'x-request-id': '"} {"a\t<b>é' }, '?????a??b??'],
    [{ 'x-request-id': 'a'.repeat(10_000) }, 'a'.repeat(128)],
    [{}, null]
  ]
  for (const [headers, shown] of ids) {
    const response = await call('/v1/chat/completions', { body, headers })
    t.match(response.headers.get('x-request-id'), /^req_[0-9a-f]{24}$/)
    t.equal(response.headers.get('x-client-request-id'), shown)
    t.equal(cloud.seen.requests.at(-1)!.headers['x-client-request-id'], response.headers.get('x-request-id'), 'a provider sees ours alone')
  }
  t.same((await running.records(ids.length)).slice(0, 3).map(record => record['client_id']), ['job-17/a', '4bf92f3577b34da6', 'mine'])
  const refused = await call('/v1/chat/completions', { body: '{', headers: { 'x-client-request-id': 'job-18' } })
  t.equal(refused.headers.get('x-client-request-id'), 'job-18')
})
