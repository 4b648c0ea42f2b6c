/** HTTP itself, at its edges: what is no request, what is none of ours, and what must not be read two ways. */
import { test, type Test } from 'tap'
import OpenAI from 'openai'
import { ask, eventually, startGateway, type Running } from './harness.ts'
import { startProvider } from './provider.ts'
import { errorOf, open, talk } from './raw.ts'

const BODY_LIMIT = 100_000
const yaml = (providerUrl: string) => `
limits: { failuresPerMinute: 10000 }
backends: [{ name: cloud, kind: openai, baseUrl: '${providerUrl}', locality: cloud }]
models: [{ name: chat, targets: [{ backend: cloud, model: big }] }]
tenants: [{ name: default }]
`
const body = JSON.stringify(ask('Hi', 'chat'))
const sized = (text = body) => `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
const typed = (type: string) => `Content-Type: ${type}\r\n`
const POST = 'POST /v1/chat/completions HTTP/1.1\r\n'
const headersOf = (key: string) => `Host: x\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\n`

async function start (t: Test, server = `bodyLimitBytes: ${BODY_LIMIT}`): Promise<{ running: Running, key: string, good: string, cloud: Awaited<ReturnType<typeof startProvider>> }> {
  const cloud = await startProvider(t)
  const running = await startGateway(t, yaml(cloud.url), {}, server)
  const key = await running.key('default')
  return { running, key, good: headersOf(key), cloud }
}

/** Nothing of ours goes on with a connection on which somebody may have meant something else. */
test('what can be read two ways is refused and the connection closed, on both listeners', async t => {
  const { running, good, cloud } = await start(t)
  const cases: Record<string, string | Buffer> = {
    'two lengths': `${POST}${good}Content-Length: 3\r\n${sized()}`,
    'two equal lengths': `${POST}${good}Content-Length: ${body.length}\r\n${sized()}`,
    'a list of lengths': `${POST}${good}Content-Length: ${body.length}, ${body.length}\r\n\r\n${body}`,
    'a negative length': `${POST}${good}Content-Length: -1\r\n\r\n${body}`,
    'a length with a sign': `${POST}${good}Content-Length: +${body.length}\r\n\r\n${body}`,
    'a length in hexadecimal': `${POST}${good}Content-Length: 0x10\r\n\r\n${body}`,
    'a length and chunks': `${POST}${good}Transfer-Encoding: chunked\r\n${sized()}`,
    'an unknown transfer encoding': `${POST}${good}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
    'chunked, but not last': `${POST}${good}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n`,
    'a space before the colon': `${POST}${good}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
    'a folded header': `${POST}X-A: b\r\n c\r\n${good}${sized()}`,
    'bare line feeds': `${POST}${good}${sized()}`.replaceAll('\r\n', '\n'),
    'NUL in a header': `${POST}${good}X-A: b\0c\r\n${sized()}`,
    'a chunk size that is no number': `${POST}${good}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
    'a chunk size beyond all numbers': `${POST}${good}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n`,
    'a method nobody knows': `EVIL /v1/models HTTP/1.1\r\n${good}\r\n`,
    'authority form': `POST evil.example:80 HTTP/1.1\r\n${good}${sized()}`,
    'HTTP/2 by prior knowledge': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'a TLS hello': Buffer.from('16030100a5010000a10303', 'hex'),
    words: 'hello\r\n\r\n'
  }
  for (const url of [running.url, running.gateway.adminUrl]) {
    await Promise.all(Object.entries(cases).map(async ([name, bytes]) => {
      const { answers, closed, text } = await talk(url, bytes, { settleMs: 3000 })
      t.same(answers.map(({ status }) => status), [400], name)
      t.match(errorOf(answers[0]!), { type: 'invalid_request_error', code: 'malformed_request', param: null }, name)
      t.ok(closed, `${name}: closed`)
      t.notMatch(text, /evil/i, name)
    }))
    const { answers, closed } = await talk(url, `GET / HTTP/1.1\r\n${good}X-Big: ${'a'.repeat(100_000)}\r\n\r\n`)
    t.same([answers[0]!.status, errorOf(answers[0]!).code, closed], [431, 'request_too_large', true])
    t.equal((await talk(url, `GET /v1/models/${'a'.repeat(100_000)} HTTP/1.1\r\n${good}\r\n`)).answers[0]!.status, 431)
    t.same(await talk(url, `CONNECT evil.example:443 HTTP/1.1\r\n${good}\r\n`), { answers: [], continues: 0, closed: true, text: '' })
    for (const hosts of ['', 'Host: a\r\nHost: b\r\n']) {
      const [answer] = (await talk(url, `GET /v1/models HTTP/1.1\r\n${hosts}\r\n`)).answers
      t.same([answer!.status, errorOf(answer!).code], [400, 'malformed_request'])
    }
  }
  t.equal(cloud.seen.bytes, 0)
})

test('bytes that are no request, behind one that is, never become a part of its answer', async t => {
  const { running, good, cloud } = await start(t)
  cloud.behave = { do: 'answer', words: Array.from({ length: 40 }, () => 'word '), gapMs: 5 }
  const stream = JSON.stringify({ ...ask('Hi', 'chat'), stream: true })
  const socket = open(running.url)
  let text = ''
  socket.on('data', bytes => {
    text += bytes
    if (text.includes('word') && !text.endsWith('!')) socket.write('garbage\r\n\r\n')
  })
  socket.write(POST + good + sized(stream))
  await new Promise(resolve => socket.once('close', resolve))
  t.match(text, /^HTTP\/1\.1 200 OK/)
  t.notMatch(text, /400|malformed/)
  t.notMatch(text, '[DONE]', 'cut off, and the client can tell')
  t.equal((await running.records(1))[0]!.outcome, 'cancelled')
  t.ok(await eventually(async () => await running.metric('torchgate_requests_in_flight') === 0))
  // The same in one piece: the length is a lie, and the answer to the first part must not look like one to the whole.
  t.same((await talk(running.url, `${POST}${good}Content-Length: 10\r\n\r\n${body}`)).answers, [])
})

test('paths and methods: exactly ours, or an error of our shape', async t => {
  const { running, good } = await start(t)
  const found = { '/v1/chat/completions?api-version=1': 'POST', 'http://evil.example/v1/chat/completions': 'POST', '/v1/models/': 'GET' }
  for (const [path, method] of Object.entries(found)) {
    const { answers } = await talk(running.url, method === 'POST' ? `POST ${path} HTTP/1.1\r\n${good}${sized()}` : `GET ${path} HTTP/1.1\r\n${good}\r\n`)
    t.not(errorOf(answers[0]!)?.code, 'unknown_route', path)
  }
  const nowhere = ['/', '/chat/completions', '/v1/chat/completions/', '//v1/chat/completions', '/v1//chat/completions', '/v1/chat/completions;x=1', '/V1/chat/completions',
    '/v1/chat%2fcompletions', '/v1/../admin/v1/status', '/v1/%2e%2e/admin/v1/status', '/admin/v1/status', '/metrics', '/livez', '/health', '/docs', '/v1/%zz', '/v1/a%00b', '/__proto__', '/constructor']
  await Promise.all(nowhere.map(async path => {
    const { answers, closed } = await talk(running.url, `POST ${path} HTTP/1.1\r\n${good}${sized()}`)
    const [{ status, headers }] = answers as [typeof answers[0] & object]
    t.same([status, errorOf(answers[0]!).code], [404, 'unknown_route'], path)
    t.match(headers['content-type'], 'application/json')
    t.match(headers['x-request-id'], /^req_[0-9a-f]{24}$/)
    t.notOk(closed, path)
  }))
  t.match(errorOf((await talk(running.url, `POST /chat/completions HTTP/1.1\r\n${good}${sized()}`)).answers[0]!).message, 'The API stands under /v1.')

  const wrong: [string, string, string][] = [
    ...['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY'].map(method => [method, '/v1/chat/completions', 'POST'] as [string, string, string]),
    ...['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'].map(method => [method, '/v1/models', 'GET, HEAD'] as [string, string, string]),
    ['DELETE', '/v1/models/meta/llama', 'GET, HEAD']
  ]
  await Promise.all(wrong.map(async ([method, path, allow]) => {
    const { answers, text } = await talk(running.url, `${method} ${path} HTTP/1.1\r\n${good}Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\nX-Echo: marker-echo\r\n\r\n`)
    t.same([answers[0]!.status, answers[0]!.headers['allow'], errorOf(answers[0]!).code], [405, allow, 'method_not_allowed'], `${method} ${path}`)
    t.notMatch(text, /marker-echo|access-control/i)
  }))
})

test('credentials: one, as a bearer token or in x-api-key, or none', async t => {
  const { running, key } = await start(t)
  const rest = `Content-Type: application/json\r\n${sized()}`
  const ways: Record<string, [string | Buffer, number, string | null]> = {
    'any case and any spaces': [`Authorization: bEaReR   ${key}  \r\n`, 200, null],
    'no header': ['', 401, 'missing_api_key'],
    'an empty token': ['Authorization: Bearer \r\n', 401, 'missing_api_key'],
    'x-api-key': [`X-Api-Key: ${key}\r\n`, 200, null],
    'the same twice': [`Authorization: Bearer ${key}\r\nX-Api-Key: ${key}\r\n`, 200, null],
    'x-api-key and an empty token': [`Authorization: Bearer\r\nX-Api-Key: ${key}\r\n`, 200, null],
    'a token and an empty x-api-key': [`Authorization: Bearer ${key}\r\nX-Api-Key: \r\n`, 200, null],
    'an empty x-api-key': ['X-Api-Key:\r\n', 401, 'missing_api_key'],
    'two different ones': [`Authorization: Bearer ${key}\r\nX-Api-Key: other\r\n`, 401, 'invalid_api_key'],
    'two x-api-keys': [`X-Api-Key: ${key}\r\nx-api-key: ${key}\r\n`, 401, 'invalid_api_key'],
    'another header': [`Api-Key: ${key}\r\n`, 401, 'missing_api_key'],
    'no scheme': [`Authorization: ${key}\r\n`, 401, 'invalid_api_key'],
    Basic: [`Authorization: Basic ${key}\r\n`, 401, 'invalid_api_key'],
    'words behind it': [`Authorization: Bearer ${key} ${key}\r\n`, 401, 'invalid_api_key'],
    'two headers': [`Authorization: Bearer ${key}\r\nAuthorization: Bearer other\r\n`, 401, 'invalid_api_key'],
    'two headers, the good one last': [`AUTHORIZATION: Bearer other\r\nAuthorization: Bearer ${key}\r\n`, 401, 'invalid_api_key'],
    SQL: ["Authorization: Bearer ' OR 1=1 --\r\n", 401, 'invalid_api_key'],
    bytes: [Buffer.from('Authorization: Bearer \xff\xfe\x80\r\n', 'latin1'), 401, 'invalid_api_key'],
    'one more character': [`Authorization: Bearer ${key}a\r\n`, 401, 'invalid_api_key'],
    '16 KB': [`Authorization: Bearer ${'a'.repeat(16_000)}\r\n`, 401, 'invalid_api_key'],
    '64 KB': [`Authorization: Bearer ${'a'.repeat(65_536)}\r\n`, 431, 'request_too_large']
  }
  await Promise.all(Object.entries(ways).map(async ([name, [header, status, code]]) => {
    const { answers, text } = await talk(running.url, [`${POST}Host: x\r\n`, header, rest])
    t.equal(answers[0]!.status, status, name)
    if (code !== null) t.equal(errorOf(answers[0]!).code, code, name)
    if (status === 401) t.equal(answers[0]!.headers['www-authenticate'], 'Bearer', name)
    t.notMatch(text, key, name)
  }))
})

test('bodies: refused at their headers where that can be', async t => {
  const { running, good, cloud } = await start(t)
  const authorized = good.slice(0, good.indexOf('Content-Type'))
  /** The body never comes: the answer has to. */
  const early: Record<string, [string, number, string]> = {
    'one byte too many': [`${POST}${good}Content-Length: ${BODY_LIMIT + 1}\r\n\r\n{`, 413, 'request_too_large'],
    'compressed': [`${POST}${good}Content-Encoding: gzip\r\nContent-Length: 1000\r\n\r\n{`, 415, 'unsupported_media_type'],
    'UTF-16': [`${POST}${authorized}${typed('application/json; charset = "utf-16"')}Content-Length: 1000\r\n\r\n{`, 415, 'unsupported_media_type'],
    'text/plain': [`${POST}${authorized}${typed('text/plain')}Content-Length: 1000\r\n\r\n{`, 415, 'unsupported_media_type'],
    'a form': [`${POST}${authorized}${typed('multipart/form-data; boundary=x')}Content-Length: 1000\r\n\r\n{`, 415, 'unsupported_media_type'],
    'nearly JSON': [`${POST}${authorized}${typed('application/jsonx')}Content-Length: 1000\r\n\r\n{`, 415, 'unsupported_media_type'],
    'no type': [`${POST}${authorized}Content-Length: 1000\r\n\r\n{`, 415, 'unsupported_media_type'],
    'no key': [`${POST}Host: x\r\n${typed('application/json')}Content-Length: 90000\r\n\r\n{`, 401, 'missing_api_key'],
    'no route': [`POST /v1/nope HTTP/1.1\r\n${good}Content-Length: 90000\r\n\r\n{`, 404, 'unknown_route'],
    'no such method': [`PUT /v1/chat/completions HTTP/1.1\r\n${good}Content-Length: 90000\r\n\r\n{`, 405, 'method_not_allowed']
  }
  const whole: Record<string, [string | string[], number, string | null]> = {
    'chunks without end': [[`${POST}${good}Transfer-Encoding: chunked\r\n\r\n`, ...Array.from({ length: 20 }, () => `2710\r\n${'x'.repeat(10_000)}\r\n`)], 413, 'request_too_large'],
    'chunks with extensions and trailers': [`${POST}${good}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)};a=b\r\n${body}\r\n0\r\nX-Torchgate-Class: restricted\r\n\r\n`, 200, null],
    'identity': [`${POST}${good}Content-Encoding: Identity\r\n${sized()}`, 200, null],
    'UTF-8 by name': [`${POST}${authorized}${typed('APPLICATION/JSON; charset="utf8"')}${sized()}`, 200, null],
    'nothing': [`${POST}${good}Content-Length: 0\r\n\r\n`, 400, 'invalid_json'],
    'not even a length': [`${POST}${good}\r\n`, 400, 'invalid_json'],
    'HTTP/1.0': [`POST /v1/chat/completions HTTP/1.0\r\n${authorized.slice(authorized.indexOf('Auth'))}${typed('application/json')}${sized()}`, 200, null],
    'an upgrade': [`${POST}${good}Connection: Upgrade\r\nUpgrade: websocket\r\n${sized()}`, 200, null]
  }
  await Promise.all(Object.entries({ ...early, ...whole }).map(async ([name, [bytes, status, code]]) => {
    const { answers } = await talk(running.url, bytes)
    t.equal(answers[0]?.status, status, name)
    if (code !== null) t.equal(errorOf(answers[0]!).code, code, name)
  }))
  t.ok(cloud.seen.requests.length >= 5)
  t.ok(cloud.seen.requests.every(({ headers }) => headers['x-torchgate-class'] === undefined && headers.upgrade === undefined))

  const client = new OpenAI({ apiKey: 'tg_live_nope', baseURL: `${running.url}/v1`, maxRetries: 0 })
  await t.rejects(client.chat.completions.create(ask('x'.repeat(2_000_000), 'chat')), { status: 401, code: 'invalid_api_key' }, 'a real client reads why, however much it sends')
})

test('100 Continue comes only when the body is wanted', async t => {
  const { running, good } = await start(t)
  const expecting = `${good}Expect: 100-continue\r\n`
  const wanted = await talk(running.url, `${POST}${expecting}${sized()}`)
  t.same([wanted.continues, wanted.answers[0]!.status], [1, 200])
  for (const [bytes, status] of [
    [`${POST}Host: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n`, 401],
    [`${POST}${expecting}Content-Length: ${BODY_LIMIT + 1}\r\n\r\n`, 413],
    [`${POST}${expecting}Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n`, 415],
    [`POST /nope HTTP/1.1\r\n${expecting}Content-Length: 9\r\n\r\n`, 404]
  ] as const) {
    const { continues, answers, closed } = await talk(running.url, bytes)
    t.same([continues, answers[0]!.status], [0, status])
    t.ok(closed, 'whether the body still comes is not known, so nothing can follow it')
  }
  const other = await talk(running.url, `${POST}${good}Expect: miracles\r\n${sized()}`)
  t.same([other.continues, other.answers[0]!.status], [0, 200])
})

test('late requests are cut off in time, and say so', async t => {
  const { running, good } = await start(t, 'headersTimeoutMs: 250, requestTimeoutMs: 500')
  const slow = async (first: string, next: string) => {
    const started = performance.now()
    const socket = open(running.url, true)
    const drip = setInterval(() => socket.write(next), 40)
    let text = ''
    socket.on('data', bytes => { text += bytes })
    socket.write(first)
    await new Promise(resolve => socket.once('close', resolve))
    clearInterval(drip)
    return { ms: performance.now() - started, text }
  }
  const ends = await Promise.all([
    ...Array.from({ length: 50 }, () => slow('POST /v1/', 'x')),
    ...Array.from({ length: 50 }, () => slow(`${POST}${good}Content-Length: 1000\r\n\r\n`, ' ')),
    // A client that has been told goes on writing: it is not waited for.
    ...Array.from({ length: 10 }, () => slow('GET nonsense\r\n\r\n', 'x')),
    (async () => ({ ms: 0, text: (await talk(running.url, POST + good + sized())).text }))()
  ])
  for (const [index, { ms, text }] of ends.entries()) {
    if (index < 100) t.match(text, /^HTTP\/1\.1 408 Request Timeout\r\n[^]*"code":"request_timeout"/)
    else if (index < 110) t.match(text, /^HTTP\/1\.1 400 /)
    else t.match(text, /^HTTP\/1\.1 200 /, 'others are served meanwhile')
    t.ok(ms < 4000, `${ms} ms`)
  }
  t.ok(await eventually(async () => await running.metric('torchgate_requests_in_flight') === 0))
})

test('1,000 requests at once on one connection are answered in order, and each by itself', async t => {
  const { running, good, cloud } = await start(t)
  const key = `Host: x\r\n${good.split('\r\n')[1]}\r\n`
  const { answers } = await talk(running.url, Array.from({ length: 1000 }, (_, index) => `GET /v1/models/m${index} HTTP/1.1\r\n${key}\r\n`), { answers: 1000 })
  t.same(answers.map(answer => /`(.*?)`/.exec(errorOf(answer).message)![1]), Array.from({ length: 1000 }, (_, index) => `m${index}`))
  t.equal(new Set(answers.map(({ headers }) => headers['x-request-id'])).size, 1000)

  // Left behind in the middle: all of them end, those not yet begun too.
  cloud.behave = { do: 'answer', words: Array.from({ length: 400 }, () => 'word '), gapMs: 5 }
  const stream = JSON.stringify({ ...ask('Hi', 'chat'), stream: true })
  const socket = open(running.url)
  for (let call = 0; call < 20; call++) socket.write(POST + good + sized(stream))
  t.ok(await eventually(() => cloud.seen.requests.length === 20))
  t.equal(await running.metric('torchgate_requests_in_flight'), 20)
  socket.destroy()
  t.ok(await eventually(async () => await running.metric('torchgate_requests_in_flight') === 0, 500))
  t.same([...new Set((await running.records(20)).map(({ outcome }) => outcome))], ['cancelled'])
})

test('a connection is good for more after a stream, an error and an error in a stream', async t => {
  const { running, good, cloud } = await start(t)
  const stream = JSON.stringify({ ...ask('Hi', 'chat'), stream: true })
  const get = `GET /v1/models HTTP/1.1\r\n${good}\r\n`
  const socket = open(running.url)
  let text = ''
  socket.on('data', bytes => { text += bytes })
  const next = async (bytes: string, ending: string | RegExp) => {
    text = ''
    socket.write(bytes)
    t.ok(await eventually(() => typeof ending === 'string' ? text.endsWith(ending) : ending.test(text)), `${bytes.slice(0, 40)}: ${text.slice(-200)}`)
    t.match(text, /connection: keep-alive/i)
    t.match(text, /^x-request-id: req_[0-9a-f]{24}\r$/m)
  }
  for (let round = 0; round < 3; round++) {
    cloud.behave = { do: 'answer' }
    await next(POST + good + sized(stream), 'data: [DONE]\n\n\r\n0\r\n\r\n')
    await next(get, /"chat"[^]*}$/)
    cloud.behave = { do: 'break', after: 2 }
    await next(POST + good + sized(stream), /backend_interrupted[^]*\r\n0\r\n\r\n$/)
    await next(POST + good + sized('{'), /invalid_json"}}$/)
    await next(`GET /nope HTTP/1.1\r\n${good}\r\n`, /unknown_route"}}$/)
    await next(`${POST}Host: x\r\n${sized()}`, /missing_api_key"}}$/)
  }
  socket.destroy()
})

test('headers: none is dropped, none of the caller is passed on, and ids are ours', async t => {
  const { running, good, cloud } = await start(t)
  const many = Array.from({ length: 2500 }, (_, index) => `X-${index}:1\r\n`).join('')
  const { answers } = await talk(running.url, `${POST}${many}${good}X-Torchgate-Class: nonsense\r\n${sized()}`)
  t.same([answers[0]!.status, errorOf(answers[0]!).param], [400, 'x-torchgate-class'], 'the last of 2,500 still counts')
  const twice = await talk(running.url, `${POST}${good}X-Torchgate-Class: restricted\r\nX-Torchgate-Class: public\r\n${sized()}`)
  t.equal(errorOf(twice.answers[0]!).param, 'x-torchgate-class')
  t.equal(cloud.seen.requests.length, 0)

  const foreign = ['X-Torchgate-Class: internal', 'X-Torchgate-Tenant: admin', 'X-Torchgate-Internal-Trace: 1', 'X-Forwarded-For: 10.0.0.1', 'X-Forwarded-Host: evil', 'Forwarded: for=10.0.0.1',
    'X-Request-Id: chosen-by-caller', 'Request-Id: chosen-by-caller', 'X-Client-Request-Id: chosen-by-caller', 'Cookie: session=1', 'OpenAI-Organization: evil', 'Via: 1.1 evil', 'TE: trailers', 'X-Evil: 1']
  const { answers: [answer] } = await talk(running.url, `${POST}${good}${foreign.join('\r\n')}\r\n${sized()}`)
  t.equal(answer!.status, 200)
  t.match(answer!.headers['x-request-id'], /^req_[0-9a-f]{24}$/)
  const { headers } = cloud.seen.requests.at(-1)!
  t.same(Object.keys(headers).toSorted(), ['accept-encoding', 'connection', 'content-length', 'content-type', 'host', 'user-agent', 'x-client-request-id', 'x-torchgate-hops'])
  t.equal(headers['x-client-request-id'], answer!.headers['x-request-id'])
  t.notMatch(JSON.stringify(cloud.seen.requests), /evil|chosen-by-caller|10\.0\.0\.1/)
})

test('connections beyond the limit are turned away, and who leaves in the middle of a body leaves nothing', async t => {
  const { running, good } = await start(t, 'maxConnections: 20')
  const sockets = Array.from({ length: 60 }, () => open(running.url))
  t.ok(await eventually(() => sockets.filter(({ closed }) => closed).length === 40))
  const served = sockets.filter(({ closed }) => !closed)
  for (const socket of served) socket.write(`${POST}${good}Content-Length: 1000\r\n\r\n{`)
  t.ok(await eventually(async () => await running.metric('torchgate_requests_in_flight') === 20))
  for (const socket of served) socket.destroy()
  t.same((await running.records(20)).map(({ outcome, status }) => `${outcome} ${String(status)}`), Array.from({ length: 20 }, () => 'cancelled 499'))
  t.equal(await running.metric('torchgate_requests_in_flight'), 0)
  t.equal((await talk(running.url, POST + good + sized())).answers[0]!.status, 200)
})
