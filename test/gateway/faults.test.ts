/** Backends that fail, lie and pry, against a running gateway. Each says exact bytes over a real socket. */
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { ask, eventually, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

interface Scripted {
  readonly url: string
  /** What the next connections are told once a whole request is there; null closes at once, '' says nothing. */
  says: string | Buffer | readonly (string | Buffer)[] | null
  /** Whether the connection is closed behind the last piece. */
  hangsUp: boolean
  readonly requests: string[]
}

/** A server that says what it is told to, piece by piece. */
async function startScripted (t: Test): Promise<Scripted> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    let request = ''
    socket.on('data', bytes => {
      request += bytes.toString()
      const length = Number(/content-length: (\d+)/i.exec(request)?.[1] ?? Infinity)
      if (request.length < request.indexOf('\r\n\r\n') + 4 + length) return
      scripted.requests.push(request)
      request = ''
      void speak(socket, scripted)
    })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const scripted: Scripted = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, says: '', hangsUp: true, requests: [] }
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return scripted
}

async function speak (socket: Socket, { says, hangsUp }: Scripted): Promise<void> {
  if (says === null) { socket.resetAndDestroy(); return }
  for (const [index, piece] of ([says].flat() as (string | Buffer)[]).entries()) {
    socket.write(piece)
    // The first piece is to arrive by itself; of the rest it does not matter.
    await wait(index === 0 ? 25 : 0)
  }
  if (hangsUp) socket.end()
}

const head = (type: string, more = '', status = '200 OK') => `HTTP/1.1 ${status}\r\ncontent-type: ${type}\r\nconnection: close\r\n${more}\r\n`
const JSON_HEAD = head('application/json')
const EVENTS = head('text/event-stream')
const chunk = (delta: object, more: object = {}) => ({ id: 'x', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: null }], ...more })
const event = (data: object | string) => `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`
const WORD = event(chunk({ content: 'word ' }))
const END = event(chunk({}, { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }))
const DONE = event('[DONE]')
const completion = (more: object = {}) => JSON.stringify({
  id: 'x', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message: { role: 'assistant', content: 'word' }, finish_reason: 'stop' }], ...more
})
const failure = (status: string, error: unknown, more = '') => `${head('application/json', more, status)}${JSON.stringify({ error })}`

const KEY = 'sk-provider-0123456789abcdef'
const SECRET = 'the secret words of the caller'
const timeouts = 'timeouts: { connectMs: 500, firstTokenMs: 1000, answerMs: 1000, idleMs: 1000, totalMs: 6000 }'

async function start (t: Test) {
  const [bad, good] = [await startScripted(t), await startProvider(t)]
  const running = await startGateway(t, `
backends:
  - { name: bad, kind: openai, baseUrl: '${bad.url}', locality: cloud, apiKey: { env: CLOUD_KEY }, ${timeouts} }
  - { name: good, kind: openai, baseUrl: '${good.url}', locality: cloud, ${timeouts} }
models:
  - { name: alone/*, targets: [{ backend: bad, model: '*' }] }
  - { name: both/*, targets: [{ backend: bad, model: '*' }, { backend: good, model: m }] }
tenants: [{ name: default, limits: { tokensPerMinute: 100000000, concurrency: 100 } }]
`, { CLOUD_KEY: KEY })
  const key = await running.key('default')
  /** `of`: what the backend calls the model; the health of one says nothing about another. */
  const post = async (model: 'alone' | 'both', stream: boolean, of = 'm') => {
    const response = await fetch(`${running.url}/v1/chat/completions`, {
      method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body: JSON.stringify({ ...ask(SECRET, `${model}/${of}`), stream })
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, code: /"code":"(\w+)"/.exec(text)?.[1] }
  }
  /** A backend rests after five failures in a row; the question is mostly what becomes of one call. */
  const heal = async () => {
    bad.says = JSON_HEAD + completion()
    bad.hangsUp = true
    await post('alone', false)
  }
  return { bad, good, running, post, heal }
}

type Says = Scripted['says']

/** What the backend says before any content -> code and status when it is alone. Another target would have answered. */
const BEFORE: Record<string, [stream: boolean, says: Says, status: number, code: string, hangs?: true]> = {
  '500': [false, failure('500 Internal Server Error', { message: 'No.' }), 502, 'backend_failed'],
  '503 with a page': [false, `${head('text/html', '', '503 Nope')}<html>${SECRET}</html>`, 502, 'backend_failed'],
  '529': [true, failure('529 Overloaded', { message: 'No.' }), 502, 'backend_failed'],
  '403': [true, failure('403 Forbidden', { message: 'No.' }), 502, 'backend_auth_failed'],
  'a reset': [false, null, 502, 'backend_unreachable'],
  'a closed door': [false, [], 502, 'backend_unreachable'],
  'no HTTP': [false, 'SSH-2.0-OpenSSH\r\n', 502, 'backend_invalid_answer'],
  'silence': [true, '', 504, 'backend_timeout', true],
  'silence for a body': [false, '', 504, 'backend_timeout', true],
  'silence behind the head': [true, EVENTS, 504, 'backend_timeout', true],
  'roles and comments for ever': [true, [EVENTS, event(chunk({ role: 'assistant', content: '' })), ': hold on\n\n'], 504, 'backend_timeout', true],
  'a page': [false, `${head('text/html')}<html></html>`, 502, 'backend_invalid_answer'],
  'a page for a stream': [true, `${head('text/html')}<html></html>`, 502, 'backend_invalid_answer'],
  'a compressed body': [false, `${head('application/json', 'content-encoding: gzip\r\n')}\x1f\x8b`, 502, 'backend_invalid_answer'],
  'no choices': [false, JSON_HEAD + completion({ choices: [] }), 502, 'backend_invalid_answer'],
  'a choice without a message': [false, JSON_HEAD + completion({ choices: [{ index: 0 }] }), 502, 'backend_invalid_answer'],
  'half a body': [false, `${head('application/json', 'content-length: 5000\r\n')}{"choices":`, 502, 'backend_interrupted'],
  'an empty stream': [true, EVENTS, 502, 'backend_interrupted'],
  'only [DONE]': [true, EVENTS + DONE, 502, 'backend_invalid_answer'],
  'broken JSON': [true, `${EVENTS}data: {"choices": [\n\n`, 502, 'backend_invalid_answer'],
  'a line without end': [true, [EVENTS, 'data: {"', ...Array.from({ length: 20 }, () => 'x'.repeat(65_536))], 502, 'backend_invalid_answer', true],
  'an error in a 200': [false, `${JSON_HEAD}${JSON.stringify({ error: { message: 'No.' } })}`, 502, 'backend_failed'],
  'an error as first event': [true, EVENTS + event({ error: { message: 'No.' } }), 502, 'backend_failed'],
  '204': [false, head('application/json', '', '204 No Content'), 502, 'backend_invalid_answer'],
  '302 elsewhere': [false, head('text/plain', 'location: LOCATION\r\n', '302 Found'), 502, 'backend_invalid_answer'],
  '307 elsewhere': [true, head('text/plain', 'location: LOCATION\r\n', '307 Temporary Redirect'), 502, 'backend_invalid_answer']
}

test('a failure before the first content: another target answers, or the caller reads why', { timeout: 60_000 }, async t => {
  const { bad, good, running, post, heal } = await start(t)
  const elsewhere = await startProvider(t)
  for (const [index, [name, [stream, says, status, code, hangs = false]]] of Object.entries(BEFORE).entries()) {
    bad.says = typeof says === 'string' ? says.replace('LOCATION', `${elsewhere.url}/chat/completions`) : says
    bad.hangsUp = !hangs
    const alone = await post('alone', stream, `m${index}`)
    t.same([alone.status, alone.code], [status, code], `${name}: ${alone.text}`)
    t.notMatch(alone.text, new RegExp(`${KEY}|${SECRET}|<html`), name)
    const both = await post('both', stream, `m${index}`)
    t.equal(both.status, 200, `${name}: ${both.text}`)
    t.equal(both.headers.get('x-torchgate-target'), 'good/m', name)
    t.equal(both.headers.get('x-torchgate-attempts'), '2', name)
    await heal()
  }
  t.equal(elsewhere.seen.connections, 0, 'nobody was sent on, nor our key')
  t.equal(good.seen.requests.length, Object.keys(BEFORE).length)
  t.ok(good.seen.requests.every(({ headers }) => headers.authorization === undefined), 'nor does one backend see the key of another')
  t.equal(await running.metric('torchgate_requests_in_flight'), 0)
})

/** What the backend says that makes it rest at once -> code and status when it is alone, why it is left out from then on. */
const RESTS: Record<string, [says: string, status: number, code: string, why: string]> = {
  '429 for a year': [failure('429 Too Many', { message: 'No.' }, 'retry-after: 31536000\r\n'), 429, 'backend_rate_limited', 'rate_limited'],
  '401 with our key': [failure('401 Unauthorized', { message: `Incorrect API key provided: ${KEY}.` }), 502, 'backend_auth_failed', 'key_refused']
}

for (const [name, [says, status, code, why]] of Object.entries(RESTS)) {
  test(`${name}: the caller reads why, and from then on another target is asked first`, { timeout: 60_000 }, async t => {
    const { bad, post } = await start(t)
    bad.says = says
    bad.hangsUp = true
    const alone = await post('alone', false)
    t.same([alone.status, alone.code], [status, code], alone.text)
    t.notMatch(alone.text, new RegExp(`${KEY}|${SECRET}|<html`))
    if (status === 429) t.equal(alone.headers.get('retry-after'), '60', 'no longer than SDKs wait')
    const both = await post('both', false)
    t.equal(both.status, 200, both.text)
    t.match(both.headers.get('x-torchgate-why'), `skip=bad/*:${why}`)
    t.equal(both.headers.get('x-torchgate-attempts'), '1')
    const again = await post('alone', false)
    t.same([again.status, again.headers.has('retry-after')], [status, true], again.text)
  })
}

/** After content -> code of the error event, or null for an answer that is whole. */
const AFTER: Record<string, [says: Says, code: string | null, hangs?: true]> = {
  'an end in the middle': [[EVENTS + WORD], 'backend_interrupted'],
  '[DONE] without a reason': [EVENTS + WORD + DONE, 'backend_interrupted'],
  'a reason without [DONE]': [EVENTS + WORD + END, null],
  'silence': [EVENTS + WORD, 'backend_timeout', true],
  'broken JSON': [[EVENTS + WORD, 'data: {"choices": [\n\n'], 'backend_invalid_answer'],
  'an error': [[EVENTS + WORD, event({ error: { message: `No ${KEY} ${SECRET}.` } }) + WORD], 'backend_interrupted'],
  'a second [DONE] and more': [EVENTS + WORD + END + DONE + DONE + WORD, null],
  'a line of 2 MB': [[EVENTS + WORD, `data: {"x":"${'x'.repeat(2_000_000)}"}\n\n`], 'backend_invalid_answer'],
  'CRLF, CR, no space, comments, a mark': [[EVENTS, `\ufeff: hi\r\n\r\n${WORD.replaceAll('\n', '\r\n')}`, WORD.replaceAll('\n', '\r'), END.replace('data: ', 'data:'), 'event: x\nid: 1\n', DONE], null],
  'one byte at a time': [[EVENTS, ...Buffer.from(WORD + END + DONE).toString('latin1').split('')], null],
  'a __proto__': [EVENTS + WORD + event('{"__proto__":{"isAdmin":true},"choices":[]}') + END + DONE, null]
}

test('a failure after content: said in the stream, never passed off as an end', { timeout: 60_000 }, async t => {
  const { bad, running, post } = await start(t)
  for (const [index, [name, [says, code, hangs = false]]] of Object.entries(AFTER).entries()) {
    bad.says = says
    bad.hangsUp = !hangs
    const { status, text } = await post('both', true, `m${index}`)
    t.equal(status, 200, name)
    t.match(text, '"word "', name)
    t.notMatch(text, new RegExp(`${KEY}|${SECRET}`), name)
    const events = text.split('\n\n').slice(0, -1)
    t.same(events.filter(line => !line.startsWith('data: ') || line.includes('\n')), [], `${name}: one line each`)
    t.equal(events.filter(line => line === 'data: [DONE]').length, code === null ? 1 : 0, name)
    t.equal(/"code":"(\w+)"/.exec(events.at(-1)!)?.[1] ?? null, code, `${name}: ${events.at(-1)!.slice(0, 200)}`)
  }
  t.equal(({} as { isAdmin?: boolean }).isAdmin, undefined)
  const records = await running.records(Object.keys(AFTER).length)
  t.same(records.map(({ error }) => error), Object.values(AFTER).map(([, code]) => code))
})

test('what a backend says of itself stays with us: headers, keys, and counts that cannot be', async t => {
  const { bad, running, post } = await start(t)
  bad.says = `${head('application/json', 'set-cookie: session=1\r\nx-request-id: theirs\r\nserver: evil\r\nx-torchgate-target: theirs\r\naccess-control-allow-origin: *\r\nalt-svc: h3=":443"\r\n')}${completion()}`
  const { headers } = await post('alone', false)
  t.same([...headers.keys()].filter(name => !name.startsWith('x-ratelimit-')).toSorted(),
    ['connection', 'content-length', 'content-type', 'date', 'keep-alive', 'openai-processing-ms', 'x-request-id', 'x-torchgate-attempts', 'x-torchgate-target', 'x-torchgate-why'])
  t.match(headers.get('x-request-id'), /^req_/)
  t.equal(headers.get('x-torchgate-target'), 'bad/m')

  for (const status of ['400 Bad Request', '422 Unprocessable', '500 No']) {
    bad.says = failure(status, { message: `Key ${KEY}, ${KEY.slice(0, 14)}... You said: ${SECRET}`, type: KEY, code: KEY, param: SECRET })
    const { text } = await post('alone', false)
    t.notMatch(text, new RegExp(`${KEY.slice(0, 10)}|${SECRET}`), text)
  }
  bad.says = failure('400 Bad Request', { message: 'Bad max_tokens.', type: 'invalid_request_error', code: 'bad_max', param: 'max_tokens' })
  t.match(await post('both', false), { status: 400, code: 'bad_max' }, 'the fault of the caller is passed on, and tried nowhere else')

  const before = await running.metric('torchgate_output_tokens_total')
  for (const usage of [null, {}, ...[[-5, -5], [1e12, 1e12], ['9', 'x'], [0.5, 0.5]].map(([input, output]) => ({ prompt_tokens: input, completion_tokens: output }))]) {
    bad.says = EVENTS + WORD + END + event(chunk({}, { choices: [], usage })) + DONE
    t.equal((await post('alone', true)).status, 200)
  }
  const counted = await running.metric('torchgate_output_tokens_total') - before
  t.ok(counted >= 6 && counted <= 30, `counted here instead: ${counted}`)
  const { totals } = await running.admin<{ totals: { input_tokens: number, output_tokens: number }[] }>('/admin/v1/usage')
  t.ok(totals.every(({ input_tokens: input, output_tokens: output }) => input >= 0 && output >= 0 && input < 10_000))
})

test('with every target down the answer is quick and says when to ask again', async t => {
  const { bad, running, post } = await start(t)
  bad.says = null
  for (let call = 0; call < 5; call++) t.equal((await post('alone', false)).status, 502)
  const reached = bad.requests.length
  const { status, code, headers } = await post('alone', false)
  t.same([status, code], [503, 'backend_unavailable'])
  t.match(headers.get('retry-after'), /^[1-9]$/)
  t.equal(bad.requests.length, reached)
  t.ok(await eventually(async () => (await running.records(6))[5]!['duration_ms'] as number < 100))
})
