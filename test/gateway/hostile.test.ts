/** Callers who mean harm, against a running gateway: none of them reaches a backend, hides, or costs others anything. */
import { test, type Test } from 'tap'
import type { ErrorBody } from '../../src/errors.ts'
import { ask, eventually, startGateway, type Running } from './harness.ts'
import { startProvider } from './provider.ts'
import { errorOf, open, talk } from './raw.ts'

const yaml = (providerUrl: string, failuresPerMinute = 1_000_000) => `
limits: { failuresPerMinute: ${failuresPerMinute} }
backends: [{ name: cloud, kind: openai, baseUrl: '${providerUrl}', locality: cloud }]
models: [{ name: chat, targets: [{ backend: cloud, model: big }] }]
tenants: [{ name: default }]
`
const SECRET = 'a secret of the caller'

async function start (t: Test, { failuresPerMinute, server }: { failuresPerMinute?: number, server?: string } = {}) {
  const cloud = await startProvider(t)
  const running = await startGateway(t, yaml(cloud.url, failuresPerMinute), {}, server)
  const key = await running.key('default')
  return { cloud, running, key, post: (body: string | Uint8Array, headers = {}) => posting(running, key, body, headers) }
}

async function posting (running: Running, key: string, body: string | Uint8Array, headers: Record<string, string>) {
  const response = await fetch(`${running.url}/v1/chat/completions`, {
    method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers }, body: body as string
  })
  const text = await response.text()
  return { status: response.status, text, error: () => (JSON.parse(text) as ErrorBody).error }
}

function rawCall (key: string, body: string, query = ''): string {
  return `POST /v1/chat/completions${query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

const STREAM = JSON.stringify({ ...ask('x', 'chat'), stream: true })
const call = (more: object) => JSON.stringify({ ...ask(SECRET, 'chat'), ...more })
const around = (json: string) => `{"model":"chat",${json}"messages":[{"role":"user","content":"${SECRET}"}]}`
const tool = (name: string) => ({ type: 'function', function: { name } })
const image = (url: string) => call({ messages: [{ role: 'user', content: [{ type: 'text', text: SECRET }, { type: 'image_url', image_url: { url } }] }] })

/** Body -> code and param of the refusal. */
const REFUSED: Record<string, [string | Uint8Array, string, (string | null)?]> = {
  '500,000 brackets': ['['.repeat(500_000), 'json_too_deep'],
  'deep inside': [around(`"metadata":${'{"a":'.repeat(500)}1${'}'.repeat(500)},`), 'json_too_deep'],
  '340,000 objects': [`[${'{},'.repeat(340_000)}{}]`, 'json_too_complex'],
  '700,000 members': [`{${Array.from({ length: 700_000 }, (_, index) => `"k${index}":1`).join()}}`, 'json_too_complex'],
  'cut off': [call({}).slice(0, -2), 'invalid_json'],
  'something behind it': [`${call({})} ${SECRET}`, 'invalid_json'],
  NUL: [around('\0'), 'invalid_json'],
  'no UTF-8': [Buffer.from(around('"user":"\xff\xfe",'), 'latin1'), 'invalid_json'],
  'an array': [`[${call({})}]`, 'invalid_json'],
  'a __proto__': [around('"__proto__":{"isAdmin":true},'), 'invalid_json'],
  '__proto__ by escapes': [around('"\\u005f_proto__":{"isAdmin":true},'), 'invalid_json'],
  '__proto__ in metadata': [around('"metadata":{"__proto__":{"isAdmin":true}},'), 'invalid_json'],
  '__proto__ in a tool': [around('"tools":[{"type":"function","function":{"name":"f","parameters":{"__proto__":{"isAdmin":true}}}}],'), 'invalid_json'],
  'constructor.prototype': [around('"constructor":{"prototype":{"isAdmin":true}},'), 'invalid_json'],
  'max_tokens -1': [call({ max_tokens: -1 }), 'invalid_value', 'max_tokens'],
  'max_tokens 1e309': [around('"max_tokens":1e309,'), 'invalid_type', 'max_tokens'],
  'a million digits': [around(`"max_tokens":${'9'.repeat(1_000_000)},`), 'invalid_type', 'max_tokens'],
  'a number as text': [call({ max_tokens: '100' }), 'invalid_type', 'max_tokens'],
  NaN: [around('"temperature":NaN,'), 'invalid_json'],
  'temperature 1e9': [call({ temperature: 1e9 }), 'invalid_value', 'temperature'],
  'n 10,000': [call({ n: 10_000 }), 'invalid_value', 'n'],
  'top_logprobs 10,000': [call({ logprobs: true, top_logprobs: 10_000 }), 'invalid_value', 'top_logprobs'],
  'no messages': [call({ messages: [] }), 'invalid_value', 'messages'],
  '60,000 messages': [call({ messages: Array.from({ length: 60_000 }, () => ({ role: 'user', content: 'x' })) }), 'invalid_value', 'messages'],
  'role root': [call({ messages: [{ role: 'root', content: SECRET }] }), 'invalid_value', 'messages[0].role'],
  'content of all kinds': [call({ messages: [{ role: 'user', content: [null, 1, [SECRET]] }] }), 'invalid_type', 'messages[0].content[0]'],
  '10,000 stops': [call({ stop: Array.from({ length: 10_000 }, () => SECRET) }), 'invalid_value', 'stop'],
  '100,000 biases': [call({ logit_bias: Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [index, 1])) }), 'invalid_value', 'logit_bias'],
  '5,000 tools': [call({ tools: Array.from({ length: 5000 }, (_, index) => tool(`f${index}`)) }), 'invalid_value', 'tools'],
  'two tools of a name': [call({ tools: [tool('f'), tool('f')] }), 'invalid_value', 'tools[1].function.name'],
  'a tool with a new line': [call({ tools: [tool('a\nb')] }), 'invalid_value', 'tools[0].function.name'],
  'a tool with 300 characters': [call({ tools: [tool('a'.repeat(300))] }), 'invalid_value', 'tools[0].function.name'],
  'stream_options without a stream': [call({ stream_options: { include_usage: true } }), 'invalid_value', 'stream_options'],
  'stream as text': [call({ stream: 'true' }), 'invalid_type', 'stream'],
  'a header in the model': [call({ model: 'chat\r\nX-Evil: 1' }), 'invalid_value', 'model'],
  'a header in the user': [call({ user: 'me\r\nX-Evil: 1' }), 'invalid_value', 'user'],
  'a path as model': [call({ model: '../../etc/passwd' }), 'model_not_found', 'model'],
  'a prototype as model': [call({ model: '__proto__' }), 'model_not_found', 'model'],
  'a method as model': [call({ model: 'toString' }), 'model_not_found', 'model'],
  'a twin in Cyrillic': [call({ model: 'сhat' }), 'model_not_found', 'model'],
  'capitals': [call({ model: 'CHAT' }), 'model_not_found', 'model'],
  'a model of 10 KB': [call({ model: 'x'.repeat(10_000) }), 'invalid_value', 'model'],
  'a file as image': [image('file:///etc/passwd'), 'invalid_value', 'messages[0].content[1].image_url.url'],
  gopher: [image('gopher://x/1'), 'invalid_value', 'messages[0].content[1].image_url.url'],
  'a page as image': [image('data:text/html;base64,PGgxPg=='), 'invalid_value', 'messages[0].content[1].image_url.url'],
  'an address in the cloud\'s own network': [image('http://169.254.169.254/latest/meta-data/iam'), 'invalid_value', 'messages[0].content[1].image_url.url'],
  'an address as image': [image('https://example.com/x.png'), 'invalid_value', 'messages[0].content[1].image_url.url'],
  'a password in an address': [image('http://user:pw@host/x.png'), 'invalid_value', 'messages[0].content[1].image_url.url'],
  ...Object.fromEntries(['api_base', 'base_url', 'api_key', 'custom_llm_provider', 'extra_headers', 'extra_body', 'litellm_params', 'headers', 'proxy', 'models', 'route', 'provider', 'fallbacks'].map(name => (
    [name, [call({ [name]: 'http://evil.example/v1' }), 'unsupported_parameter', name] as [string, string, string]])))
}

test('bodies that are refused: by code and parameter, quickly, without a word of them, and without a backend', { timeout: 60_000 }, async t => {
  const { cloud, running, post } = await start(t)
  for (const [name, [body, code, param = null]] of Object.entries(REFUSED)) {
    const started = performance.now()
    const { status, text, error } = await post(body)
    const ms = performance.now() - started
    t.equal(status, code === 'model_not_found' ? 404 : 400, name)
    t.match({ ...error(), param: error().param }, { code, param }, name)
    t.ok(ms < 2000, `${name}: ${ms} ms`)
    t.notMatch(text, SECRET, name)
    t.ok(text.length < 1000, name)
  }
  t.equal(cloud.seen.bytes, 0)
  t.equal(({} as { isAdmin?: boolean }).isAdmin, undefined)
  const records = await running.records(Object.keys(REFUSED).length)
  t.ok(records.every(({ outcome, tenant }) => outcome === 'client_error' && tenant === 'default'))
})

test('bodies that are odd and allowed reach the backend as policy saw them', async t => {
  const { cloud, post } = await start(t)
  const sent = async (body: string | Uint8Array) => {
    const { status, text } = await post(body)
    t.equal(status, 200, text)
    return cloud.seen.requests.at(-1)!.body
  }
  t.match(await sent(`\ufeff${call({})}`), { model: 'big' }, 'a byte order mark')
  t.match(await sent(`{"model":"nope","messages":"no",${call({}).slice(1)}`), { model: 'big', messages: [{ content: SECRET }] }, 'the last of two members')
  t.match(await sent(around('"user":"a\\ud800b",')), { user: 'a\ufffdb' }, 'a lone surrogate')
  t.match(await sent(call({ metadata: { note: 'x\r\nX-Evil: 1' } })), { metadata: { note: 'x\r\nX-Evil: 1' } }, 'text that only looks like a header')
  t.match(await sent(call({ messages: [{ role: 'user', content: ' \n ' }] })), { messages: [{ content: ' \n ' }] }, 'white space')
  t.equal(((await sent(call({ messages: [{ role: 'user', content: 'x'.repeat(4_000_000) }] }))) as { messages: { content: string }[] }).messages[0]!.content.length, 4_000_000)
  t.ok(cloud.seen.requests.every(({ headers }) => headers['x-evil'] === undefined))
})

test('a flood of failures is stopped by its address, and only that', async t => {
  const { running, key, post } = await start(t, { failuresPerMinute: 20 })
  const attempt = async (headers: string, path = '/v1/models') => (await talk(running.url, `GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`, { settleMs: 0 })).answers[0]!
  const mistakes = await Promise.all(Array.from({ length: 50 }, async () => (await post(call({ model: 'nope' }))).status))
  t.same([...new Set(mistakes)], [404], 'mistakes with a good key are none')

  const statuses: number[] = []
  for (let index = 0; index < 40; index++) {
    const ways = [['Authorization: Bearer nope\r\n', '/v1/models'], [`X-Forwarded-For: 10.0.0.${index}\r\n`, '/v1/models'], ['', '/nowhere'], ['', '/v1/%zz']]
    const [headers, path] = ways[index % ways.length]!
    const answer = await attempt(headers!, path)
    statuses.push(answer.status)
    if (answer.status !== 429) continue
    t.match(errorOf(answer), { type: 'rate_limit_error', code: 'too_many_failures' })
    t.match(answer.headers['retry-after'], /^\d+$/)
  }
  t.same(statuses.slice(0, 20).filter(status => status !== 401 && status !== 404), [])
  t.same([...new Set(statuses.slice(20))], [429])
  t.equal((await attempt(`Authorization: Bearer ${key}\r\n`)).status, 200, 'a good key from there still works')
  t.equal((await post(call({}))).status, 200)
  t.equal((await post(call({ model: 'nope' }))).status, 404)
})

test('junk makes no series, no matter how much of it there is', { timeout: 60_000 }, async t => {
  const { running, key } = await start(t)
  const series = async () => (await (await fetch(`${running.gateway.adminUrl}/metrics`)).text()).split('\n').filter(line => line.startsWith('torchgate_'))
  const junk = (index: number) => rawCall(key, JSON.stringify({ ...ask('x', `junk-${index}`), user: `junk-${index}` }), `?junk=${index}`)
  await talk(running.url, junk(0))
  const before = (await series()).length
  const [{ answers }] = await Promise.all([
    talk(running.url, Array.from({ length: 2000 }, (_, index) => junk(index)), { answers: 2000 }),
    talk(running.url, Array.from({ length: 2000 }, (_, index) => `GET /junk-${index} HTTP/1.1\r\nHost: x\r\n\r\n`), { answers: 2000 })
  ])
  t.same([...new Set(answers.map(({ status }) => status))], [404])
  t.equal((await series()).length, before)
  t.notMatch((await series()).join('\n'), 'junk')
  t.equal(await running.metric('torchgate_requests_total', { outcome: 'client_error', model: '_unknown' }), 2001)
})

/** Both ends of all that this process has open. */
const connections = () => process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap').length

test('who stops reading is held back, then cut off, in a stream and after its end', { timeout: 60_000 }, async t => {
  const { cloud, running, key } = await start(t, { server: 'writeStallMs: 600' })
  const asking = (stream: boolean) => rawCall(key, JSON.stringify({ ...ask('x', 'chat'), stream }))
  // More than the buffers of the system hold on the way.
  cloud.behave = { do: 'answer', words: Array.from({ length: 12 }, () => 'w'.repeat(1_000_000)) }
  const idle = connections()
  const sockets = Array.from({ length: 12 }, (_, index) => {
    const socket = open(running.url)
    socket.pause()
    socket.write(asking(index % 2 === 0))
    return socket
  })
  t.ok(await eventually(() => cloud.seen.requests.length === 12))
  t.ok(await eventually(() => connections() <= idle + sockets.length, 10_000), 'the gateway has none of them left')
  t.equal(await running.metric('torchgate_requests_in_flight'), 0)
  t.same((await running.records(12)).map(({ outcome }) => outcome).toSorted(), [...Array.from({ length: 6 }, () => 'cancelled'), ...Array.from({ length: 6 }, () => 'ok')])
  for (const socket of sockets) socket.destroy()

  // A model that thinks for longer than that is no reader that stalls.
  cloud.behave = { do: 'answer', words: ['a ', 'b'], gapMs: 900 }
  const { answers } = await talk(running.url, asking(true))
  t.match(answers[0]!.body, /data: \[DONE\]\n\n$/)
})

test('closing: running streams finish, what comes behind them is told, and patience has an end', { timeout: 60_000 }, async t => {
  const patient = await start(t)
  patient.cloud.behave = { do: 'answer', words: Array.from({ length: 60 }, () => 'word '), gapMs: 5 }
  const socket = open(patient.running.url)
  let text = ''
  socket.on('data', bytes => { text += bytes })
  socket.write(rawCall(patient.key, STREAM))
  await eventually(() => text.includes('word'))
  const closed = patient.running.gateway.close()
  socket.write(rawCall(patient.key, STREAM))
  await new Promise(resolve => socket.once('close', resolve))
  const [first, second] = text.split(/(?=HTTP\/1\.1 503)/)
  t.match(first, /data: \[DONE\]\n\n\r\n0\r\n\r\n$/, 'whole')
  t.match(second, /connection: close\r\n[^]*"code":"draining"/i)
  t.match(second, /retry-after: 5\r\n/i)
  await closed
  await t.rejects(fetch(patient.running.url), 'nothing listens any more')
  t.equal(patient.cloud.seen.requests.length, 1)

  const hurried = await start(t, { server: 'drainTimeoutMs: 200' })
  hurried.cloud.behave = { do: 'answer', words: Array.from({ length: 1000 }, () => 'word '), gapMs: 5 }
  const cut = talk(hurried.running.url, rawCall(hurried.key, STREAM))
  await eventually(() => hurried.cloud.seen.requests.length === 1)
  const started = performance.now()
  await hurried.running.gateway.close()
  t.ok(performance.now() - started < 2000)
  const { answers: [answer] } = await cut
  t.match(answer!.body, /data: {"error":{"message":"[^"]+","type":"server_error","param":null,"code":"draining"}}\n\n$/, 'an error the SDKs raise, and a whole HTTP message')
})
