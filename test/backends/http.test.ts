import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { test, type Test } from 'tap'
import type { GatewayError } from '../../src/errors.ts'
import { takeUsage } from '../../src/wire/observe.ts'
import { events } from '../../src/wire/sse.ts'
import {
  answers, asker, chunk, COMPLETION, DONE, END, event, head, HELLO, PATIENT, piece, ROLE, startProvider, STOP, STREAM_HEAD, streams, textOf, until,
  type Script
} from './provider.ts'

/** A provider and a client for it; both are gone when the test is over, and no socket is left. */
async function meet (t: Test, script: Script) {
  const provider = await startProvider(script)
  const client = asker(provider)
  t.teardown(async () => {
    await client.close()
    await provider.close()
  })
  return { provider, ...client }
}

async function failureOf (promise: Promise<unknown>): Promise<GatewayError> {
  return promise.then(() => { throw new Error('it should have failed') }, error => error)
}

const nothing = () => {}
/** Timers that are set now, in the whole process. */
const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
const recorded = (name: string) => readFileSync(new URL(`recorded/${name}.sse`, import.meta.url))

function contentOf (frames: string): { text: string, reasoning: string, tools: string[] } {
  const seen = { text: '', reasoning: '', tools: [] as string[] }
  for (const data of events(Buffer.from(frames))) {
    const delta = data === '[DONE]' ? null : JSON.parse(data).choices[0]?.delta
    seen.text += delta?.content ?? ''
    seen.reasoning += delta?.reasoning_content ?? ''
    for (const call of delta?.tool_calls ?? []) seen.tools[call.index] = (seen.tools[call.index] ?? '') + call.function.arguments
  }
  return seen
}

test('a canonical stream arrives byte for byte, and the connection is used again', async t => {
  const { provider, ask } = await meet(t, streams(recorded('openai')))
  for (let turn = 0; turn < 3; turn++) t.equal(await textOf(await ask()), recorded('openai').toString('utf8'))
  t.ok(provider.connections() <= 2)
})

const PARIS = 'The capital of France is Paris.'
const SHAPES: Record<string, { text: string, usage: [number, number], reasoning?: string, tools?: string[] }> = {
  openai: { text: PARIS, usage: [14, 7] },
  vllm: { text: PARIS, usage: [18, 8] },
  'llama-server': { text: PARIS, usage: [35, 8] },
  reasoning: { text: 'Paris.', usage: [12, 11], reasoning: 'The user asks for a capital.' },
  tools: { text: '', usage: [61, 44], tools: ['{"city":"Paris"}', '{"city":"Zürich"}'] },
  spaced: { text: 'Grüß Gott.', usage: [3, 4] }
}

for (const [name, expected] of Object.entries(SHAPES)) {
  test(`a stream in the shape of ${name} arrives whole, however it is split`, async t => {
    const { provider, ask } = await meet(t, () => {})
    for (const size of [1, 7, 1000, Infinity]) {
      provider.script = streams(recorded(name), size)
      const text = await textOf(await ask())
      t.match(contentOf(text), { text: expected.text, reasoning: expected.reasoning ?? '', tools: expected.tools ?? [] })
      t.match(takeUsage(Buffer.from(text))?.usage, { input: expected.usage[0], output: expected.usage[1] })
      t.ok(text.endsWith(DONE))
    }
  })
}

test('it resolves at the first content, not at the role, and gives back what came before', async t => {
  let tell = nothing
  const { ask } = await meet(t, socket => {
    socket.write(STREAM_HEAD + piece(ROLE))
    tell = () => { socket.write(piece(HELLO) + piece(STOP + DONE).toString() + END) }
  })
  let isResolved = false
  const answer = ask().then(value => { isResolved = true; return value })
  await pause(100)
  t.notOk(isResolved)
  tell()
  t.equal(await textOf(await answer), ROLE + HELLO + STOP + DONE)
})

test('a whole completion is checked and passed as it came', async t => {
  const { provider, ask } = await meet(t, answers(200, COMPLETION))
  t.equal(await textOf(await ask({ stream: false })), COMPLETION)
  t.match(provider.requests[0], /^POST \/v1\/chat\/completions HTTP\/1\.1\r\n/)
})

const REFUSALS: Array<[string, Script, Record<string, unknown>]> = [
  ['500', answers(500, '{"error":{"message":"boom"}}'), { code: 'backend_failed', message: 'fake answered 500: boom', fallback: true }],
  ['502 with HTML', answers(502, '<html>bad gateway</html>', { 'content-type': 'text/html' }), { code: 'backend_failed', message: 'fake answered 502.' }],
  ['503 with Retry-After', answers(503, '', { 'retry-after': '7' }), { code: 'backend_failed', retryAfterS: 7 }],
  ['529', answers(529, '{"error":{"type":"overloaded_error","message":"Overloaded"}}'), { code: 'backend_failed' }],
  ['401', answers(401, '{"error":{"message":"Incorrect API key provided: sk-12345678"}}'), { code: 'backend_auth_failed', message: 'fake refused the credential of the gateway (401).', fallback: true, status: 502 }],
  ['402', answers(402, ''), { code: 'backend_auth_failed' }],
  ['403', answers(403, ''), { code: 'backend_auth_failed' }],
  ['404', answers(404, '{"error":{"message":"The model x does not exist","code":"model_not_found"}}'), { code: 'backend_invalid_answer', message: 'fake does not know the model or the route (404): The model x does not exist', fallback: true }],
  ['408', answers(408, ''), { code: 'backend_timeout' }],
  ['429 with seconds', answers(429, '{"error":{"message":"slow down"}}', { 'retry-after': '30' }), { code: 'backend_rate_limited', retryAfterS: 30, fallback: true }],
  ['429 with milliseconds', answers(429, '', { 'retry-after-ms': '1500', 'retry-after': '9' }), { code: 'backend_rate_limited', retryAfterS: 2 }],
  ['429 without a hint', answers(429, ''), { code: 'backend_rate_limited', retryAfterS: null }],
  ['429 with a year', answers(429, '', { 'retry-after': '31536000' }), { code: 'backend_rate_limited', retryAfterS: 60 }],
  ['400', answers(400, '{"error":{"message":"Bad value","type":"invalid_request_error","param":"temperature","code":"invalid_value"}}'),
    { code: 'rejected_by_backend', message: 'Bad value', param: 'temperature', upstream: { status: 400, code: 'invalid_value' }, fallback: false, status: 400 }],
  ['400 of FastAPI', answers(400, '{"detail":"no"}'), { code: 'rejected_by_backend', message: 'no', upstream: { status: 400, code: null } }],
  ['413 without a body', answers(413, ''), { code: 'rejected_by_backend', message: 'fake rejected the request (413).', status: 413 }],
  ['422', answers(422, '{"error":{"message":"x","code":422}}'), { code: 'rejected_by_backend', upstream: { status: 422, code: '422' } }],
  ['context_length_exceeded by code', answers(400, '{"error":{"message":"too long","code":"context_length_exceeded","param":"messages"}}'),
    { code: 'context_length_exceeded', message: 'too long', param: 'messages', fallback: true }],
  ['context_length_exceeded of vLLM', answers(400, '{"error":{"message":"This model\'s maximum context length is 4096 tokens.","code":400}}'), { code: 'context_length_exceeded' }],
  ['context_length_exceeded of llama-server', answers(400, '{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}'), { code: 'context_length_exceeded' }],
  ['301 to somewhere else', answers(301, '', { location: 'http://169.254.169.254/' }), { code: 'backend_invalid_answer', message: 'fake redirected (301); redirects are never followed.' }],
  ['307', answers(307, '', { location: '/x' }), { code: 'backend_invalid_answer' }],
  ['204', socket => { socket.write(head(204)) }, { code: 'backend_invalid_answer' }],
  ['200 with HTML', answers(200, '<html>', { 'content-type': 'text/html' }), { code: 'backend_invalid_answer', message: /text\/html/ }],
  ['200 with gzip', answers(200, 'xxxx', { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' }), { code: 'backend_invalid_answer', message: /gzip/ }],
  ['one JSON body where a stream is asked for', answers(200, COMPLETION), { code: 'backend_invalid_answer', message: 'fake was asked for a stream and answered with application/json.' }],
  ['200 with an error', answers(200, '{"error":{"message":"quota","code":429}}'), { code: 'backend_rate_limited' }],
  ['an error event first', streams(event({ error: { message: 'no memory', code: 503 } })), { code: 'backend_failed', message: 'fake answered 503: no memory', fallback: true }],
  ['an error event after the role', streams(ROLE + event({ error: { message: 'too long', code: 'context_length_exceeded' } })), { code: 'context_length_exceeded' }],
  ['an error event of a client fault', streams(event({ error: { message: 'bad', type: 'invalid_request_error', param: 'n' } })), { code: 'rejected_by_backend', param: 'n', fallback: false }],
  ['a stream that ends after the role', streams(ROLE), { code: 'backend_interrupted', fallback: true }],
  ['a stream of nothing', streams(': hi\n\n'), { code: 'backend_interrupted' }],
  ['[DONE] without content', streams(ROLE + DONE), { code: 'backend_invalid_answer', message: 'fake ended its answer without content.' }],
  ['an event that is not JSON', streams('data: {"a":oops}\n\n'), { code: 'backend_invalid_answer', message: 'fake sent an event that is not JSON.' }],
  ['a line that is not JSON', streams('data: hello\n\n'), { code: 'backend_invalid_answer' }],
  ['an event of 2 MiB', streams(`data: {"a":"${'x'.repeat(2_097_152)}"}\n\n`), { code: 'backend_invalid_answer', message: /1048576/ }],
  ['5 MiB without content', streams(chunk({ role: 'assistant', content: '' }).repeat(45_000)), { code: 'backend_invalid_answer', message: /without content/ }],
  ['something that is not HTTP', socket => { socket.write('SSH-2.0-OpenSSH_9.6\r\n') }, { code: 'backend_invalid_answer', fallback: true }],
  ['a reset after the request', socket => { socket.resetAndDestroy() }, { code: 'backend_unreachable', fallback: true }],
  ['a close after the request', socket => { socket.end() }, { code: 'backend_unreachable' }],
  ['a reset after the headers', socket => { socket.write(STREAM_HEAD); setTimeout(() => { socket.resetAndDestroy() }, 20) }, { code: 'backend_interrupted', fallback: true }]
]

for (const [name, script, expected] of REFUSALS) {
  test(`${name}: ${String(expected['code'])}, and no socket stays behind`, async t => {
    const { provider, ask, pool } = await meet(t, script)
    const failure = await failureOf(ask())
    t.equal(failure.name, 'GatewayError')
    t.match(failure, expected)
    await pool.close()
    t.ok(await until(() => provider.open.size === 0))
    t.equal(provider.requests.length, 1)
  })
}

const BODIES: Array<[string, Script, Record<string, unknown>]> = [
  ['HTML', answers(200, '<html>', { 'content-type': 'text/html' }), { message: 'fake answered with text/html that is no chat completion.' }],
  ['broken JSON', answers(200, COMPLETION.slice(0, -5)), {}],
  ['no choices', answers(200, '{"id":"x"}'), {}],
  ['empty choices', answers(200, '{"choices":[]}'), {}],
  ['a choice without a message', answers(200, '{"choices":[{"index":0}]}'), {}],
  ['null', answers(200, 'null'), {}],
  ['an empty body', answers(200, ''), {}],
  ['a stream', streams(HELLO + DONE), { message: 'fake answered with a stream, which nobody asked for.' }],
  ['gzip', answers(200, COMPLETION, { 'content-encoding': 'gzip' }), {}]
]

for (const [name, script, expected] of BODIES) {
  test(`${name} instead of a completion is an invalid answer`, async t => {
    const { ask } = await meet(t, script)
    t.match(await failureOf(ask({ stream: false })), { code: 'backend_invalid_answer', ...expected })
  })
}

test('a body that breaks off is interrupted, and one without end is cut off at 64 MiB', async t => {
  const { provider, ask } = await meet(t, socket => { socket.end(head(200, { 'content-length': 1000 }) + COMPLETION) })
  t.match(await failureOf(ask({ stream: false })), { code: 'backend_interrupted', fallback: true })
  provider.script = async socket => {
    socket.write(head(200, { 'content-type': 'application/json' }))
    const megabyte = Buffer.alloc(1_048_576, ' ')
    while (!socket.destroyed) if (!socket.write(megabyte)) await Promise.race([new Promise(resolve => socket.once('drain', resolve)), new Promise(resolve => socket.once('close', resolve))])
  }
  t.match(await failureOf(ask({ stream: false })), { code: 'backend_invalid_answer', message: /67108864/ })
  t.ok(await until(() => provider.open.size === 0))
})

test('nobody listens: unreachable', async t => {
  const { provider, ask } = await meet(t, () => {})
  await provider.close()
  provider.close = async () => {}
  t.match(await failureOf(ask()), { code: 'backend_unreachable', message: 'fake cannot be reached: it refused the connection.' })
})

// In the middle of a stream.

async function readAll (frames: AsyncIterable<Buffer>): Promise<{ text: string, failure: GatewayError | null }> {
  let text = ''
  try {
    for await (const frame of frames) text += frame.toString('utf8')
    return { text, failure: null }
  } catch (error) {
    return { text, failure: error as GatewayError }
  }
}

const BREAKS: Array<[string, Script, Record<string, unknown>]> = [
  ['a reset', async socket => { socket.write(STREAM_HEAD + piece(ROLE + HELLO)); setTimeout(() => { socket.resetAndDestroy() }, 30) }, { code: 'backend_interrupted' }],
  ['a close', socket => { socket.end(STREAM_HEAD + piece(ROLE + HELLO)) }, { code: 'backend_interrupted' }],
  ['an end without [DONE] and finish reason', streams(ROLE + HELLO), { code: 'backend_interrupted', message: 'fake ended its stream in the middle of the answer.' }],
  ['[DONE] without a finish reason', streams(ROLE + HELLO + DONE), { code: 'backend_interrupted', message: 'fake ended its stream in the middle of the answer.' }],
  ['[DONE] on CRLF lines without a finish reason', streams((ROLE + HELLO + DONE).replaceAll('\n', '\r\n')), { code: 'backend_interrupted' }],
  ['[DONE] alone', socket => { socket.write(STREAM_HEAD + piece(ROLE + HELLO)); setTimeout(() => { socket.write(piece(DONE) + END) }, 20) }, { code: 'backend_interrupted' }],
  ['[DONE] with the finish reason behind it', streams(ROLE + HELLO + DONE + STOP + DONE), { code: 'backend_interrupted' }],
  ['an event cut in half', streams(ROLE + HELLO + STOP.slice(0, 20)), { code: 'backend_interrupted' }],
  ['an error event', streams(ROLE + HELLO + event({ error: { message: 'out of memory', code: 500 } }) + HELLO + DONE), { code: 'backend_interrupted', message: 'fake broke off with an error: out of memory' }],
  ['an error event alone', async socket => { socket.write(STREAM_HEAD + piece(ROLE + HELLO)); setTimeout(() => { socket.write(piece(event({ error: { message: 'slow', code: 429 } }))) }, 20) }, { code: 'backend_rate_limited' }],
  ['a line that is not JSON', async socket => { socket.write(STREAM_HEAD + piece(ROLE + HELLO)); setTimeout(() => { socket.write(piece('data: oops\n\n')) }, 20) }, { code: 'backend_invalid_answer' }]
]

for (const [name, script, expected] of BREAKS) {
  test(`${name} in the middle: what came is given on, then the frames throw once`, async t => {
    const { provider, ask } = await meet(t, script)
    const answer = await ask()
    if (answer.kind !== 'stream') throw new Error('expected a stream')
    const { text, failure } = await readAll(answer.frames)
    t.equal(text, ROLE + HELLO)
    t.match(failure, expected)
    t.same(await answer.frames[Symbol.asyncIterator]().next(), { done: true, value: undefined })
    t.ok(await until(() => provider.open.size === 0 || /^(an e|\[DONE\])/.test(name)))
  })
}

test('an error beside choices, as OpenRouter sends it, ends the stream', async t => {
  const { ask } = await meet(t, streams(recorded('openrouter-error')))
  const answer = await ask()
  if (answer.kind !== 'stream') throw new Error('expected a stream')
  const { text, failure } = await readAll(answer.frames)
  t.equal(contentOf(text).text, 'The capital')
  t.match(failure, { code: 'backend_interrupted', message: 'fake broke off with an error: Provider disconnected unexpectedly' })
})

test('without [DONE], but with every finish reason, the answer is whole and gets its [DONE]', async t => {
  const { provider, ask } = await meet(t, streams(ROLE + HELLO + STOP))
  t.equal(await textOf(await ask()), ROLE + HELLO + STOP + DONE)
  provider.script = streams(HELLO + STOP, 9)
  t.equal(await textOf(await ask()), HELLO + STOP + DONE)
  provider.script = streams(HELLO + STOP + chunk({ content: 'b' }, null, 1))
  t.match(await failureOf(ask({ choices: 2 }).then(textOf)), { code: 'backend_interrupted' })
  provider.script = streams(HELLO + STOP + chunk({ content: 'b' }, null, 1) + DONE)
  t.match(await failureOf(ask({ choices: 2 }).then(textOf)), { code: 'backend_interrupted' }, 'nor does [DONE] make it whole')
  provider.script = streams(HELLO + STOP + chunk({ content: 'b' }, 'length', 1))
  t.ok((await textOf(await ask({ choices: 2 }))).endsWith(DONE))
})

test('what follows [DONE] is never read, and the second [DONE] neither', async t => {
  const { provider, ask } = await meet(t, async socket => {
    socket.write(STREAM_HEAD + piece(HELLO + STOP + DONE))
    setTimeout(() => { socket.write(piece(`${DONE}data: junk\n\n`) + END) }, 20)
  })
  t.equal(await textOf(await ask()), HELLO + STOP + DONE)
  t.equal(await textOf(await ask()), HELLO + STOP + DONE)
  t.ok(provider.connections() <= 2)
})

test('a response that does not end after [DONE] loses its connection', async t => {
  const { provider, ask } = await meet(t, socket => { socket.write(STREAM_HEAD + piece(HELLO + STOP + DONE)) })
  t.equal(await textOf(await ask()), HELLO + STOP + DONE)
  t.equal(provider.open.size, 1)
  t.ok(await until(() => provider.open.size === 0))
})

// Time.

const HANGS: Array<[string, Script, Partial<typeof PATIENT>, string]> = [
  ['a hang before the headers', () => {}, { firstTokenMs: 60 }, 'fake did not answer within 60 ms.'],
  ['headers and then silence', socket => { socket.write(STREAM_HEAD) }, { firstTokenMs: 60 }, 'fake sent no content within 60 ms.'],
  ['a role and then silence', socket => { socket.write(STREAM_HEAD + piece(ROLE)) }, { firstTokenMs: 60 }, 'fake sent no content within 60 ms.'],
  ['roles without end', socket => { socket.write(STREAM_HEAD); drip(socket, ROLE) }, { firstTokenMs: 90 }, 'fake sent no content within 90 ms.'],
  ['no answer in the total time', () => {}, { totalMs: 60 }, 'fake did not finish its answer within 60 ms.']
]

function drip (socket: { destroyed: boolean, write (bytes: Buffer): unknown }, text: string, everyMs = 10): void {
  const timer = setInterval(() => {
    if (socket.destroyed) clearInterval(timer)
    else socket.write(piece(text))
  }, everyMs)
}

for (const [name, script, timeouts, message] of HANGS) {
  test(`${name}: a timeout that says which, and the socket is gone`, async t => {
    const { provider, ask } = await meet(t, script)
    const startedAt = performance.now()
    t.match(await failureOf(ask({ timeouts: { ...PATIENT, ...timeouts } })), { code: 'backend_timeout', message, fallback: true })
    t.ok(performance.now() - startedAt < 1_000)
    t.ok(await until(() => provider.open.size === 0))
  })
}

test('silence in the middle is a timeout, a slow trickle is none until the total time is over', async t => {
  const { provider, ask } = await meet(t, socket => { socket.write(STREAM_HEAD + piece(ROLE + HELLO)) })
  const silent = await failureOf(ask({ timeouts: { ...PATIENT, idleMs: 60 } }).then(textOf))
  t.match(silent, { code: 'backend_timeout', message: 'fake was silent for 60 ms in the middle of its answer.' })
  provider.script = socket => { socket.write(STREAM_HEAD); drip(socket, HELLO, 25) }
  const startedAt = performance.now()
  const slow = await failureOf(ask({ timeouts: { ...PATIENT, idleMs: 150, totalMs: 500 } }).then(textOf))
  t.match(slow, { code: 'backend_timeout', message: 'fake did not finish its answer within 500 ms.' })
  t.ok(performance.now() - startedAt >= 498)
  t.ok(await until(() => provider.open.size === 0))
})

test('silence inside a body is a timeout', async t => {
  const { ask } = await meet(t, socket => { socket.write(head(200, { 'content-length': 1000 }) + '{') })
  t.match(await failureOf(ask({ stream: false, timeouts: { ...PATIENT, idleMs: 60 } })), { code: 'backend_timeout', message: /silent for 60 ms/ })
})

test('an answer that is not streamed has answerMs until its first byte, whatever a stream would have', async t => {
  const { provider, ask } = await meet(t, socket => {
    setTimeout(() => { socket.write(head(200, { 'content-length': Buffer.byteLength(COMPLETION) }) + COMPLETION) }, 150)
  })
  t.equal(await textOf(await ask({ stream: false, timeouts: { ...PATIENT, firstTokenMs: 20, idleMs: 20 } })), COMPLETION)
  provider.script = nothing
  const startedAt = performance.now()
  const late = await failureOf(ask({ stream: false, timeouts: { ...PATIENT, answerMs: 60 } }))
  t.match(late, { code: 'backend_timeout', message: 'fake did not answer within 60 ms.', fallback: true })
  t.ok(performance.now() - startedAt < 1_000)
  provider.script = socket => { socket.write(head(200, { 'content-length': 1000 })) }
  t.match(await failureOf(ask({ stream: false, timeouts: { ...PATIENT, answerMs: 60 } })), { message: 'fake sent no content within 60 ms.' })
  const total = await failureOf(ask({ stream: false, timeouts: { ...PATIENT, idleMs: 20, totalMs: 120 } }))
  t.match(total, { code: 'backend_timeout', message: 'fake did not finish its answer within 120 ms.' })
})

test('a reader that pauses is not silence of the backend', async t => {
  let finish = nothing
  const { ask } = await meet(t, async socket => {
    socket.write(STREAM_HEAD + piece(ROLE + HELLO))
    await pause(20)
    socket.write(piece(HELLO))
    finish = () => { socket.write(piece(STOP + DONE) + END) }
  })
  const answer = await ask({ timeouts: { ...PATIENT, idleMs: 60 } })
  if (answer.kind !== 'stream') throw new Error('expected a stream')
  const frames = answer.frames[Symbol.asyncIterator]()
  t.equal(String((await frames.next()).value), ROLE + HELLO)
  await pause(200)
  t.equal(String((await frames.next()).value), HELLO)
  finish()
  t.equal(String((await frames.next()).value), STOP + DONE)
  t.match(await frames.next(), { done: true })
})

// Leaving.

test('a reader that reads nothing holds the backend back, and little in memory', async t => {
  let written = 0
  const { ask } = await meet(t, async socket => {
    socket.write(STREAM_HEAD)
    const many = piece(HELLO.repeat(500))
    for (let at = 0; at < 300 && !socket.destroyed; at++) {
      written += many.length
      if (!socket.write(many)) await new Promise(resolve => { socket.once('drain', resolve).once('close', resolve) })
    }
    socket.write(piece(STOP + DONE) + END)
  })
  const answer = await ask()
  if (answer.kind !== 'stream') throw new Error('expected a stream')
  let held = -1
  while (held !== written) {
    held = written
    await pause(100)
  }
  t.ok(held < 300 * HELLO.length * 500, `only ${held} bytes were taken`)
  let bytes = 0
  for await (const frame of answer.frames) bytes += frame.length
  t.equal(bytes, 300 * 500 * HELLO.length + STOP.length + DONE.length)
})

test('leaving the loop closes the socket at once', async t => {
  const { provider, ask } = await meet(t, socket => { socket.write(STREAM_HEAD); drip(socket, HELLO) })
  const answer = await ask()
  if (answer.kind !== 'stream') throw new Error('expected a stream')
  const startedAt = performance.now()
  for await (const frame of answer.frames) if (frame.length > 0) break
  t.ok(await until(() => provider.open.size === 0))
  t.ok(performance.now() - startedAt < 200)
})

test('return() before the first next(), and during one, closes the socket and ends the wait', async t => {
  const { provider, ask } = await meet(t, socket => { socket.write(STREAM_HEAD + piece(HELLO)) })
  for (const reads of [0, 2]) {
    const answer = await ask()
    if (answer.kind !== 'stream') throw new Error('expected a stream')
    const frames = answer.frames[Symbol.asyncIterator]()
    if (reads > 0) await frames.next()
    const pending = reads > 1 ? frames.next() : null
    await frames.return?.()
    if (pending !== null) t.match(await pending, { done: true })
    t.ok(await until(() => provider.open.size === 0))
  }
})

test('an abort frees the socket within 50 ms, whether it waits for headers, for content or for more', async t => {
  const { provider, ask } = await meet(t, () => {})
  const scripts: Script[] = [() => {}, socket => { socket.write(STREAM_HEAD + piece(ROLE)) }, socket => { socket.write(STREAM_HEAD + piece(HELLO)) }]
  for (const script of scripts) {
    provider.script = script
    provider.requests.length = 0
    const controller = new AbortController()
    const outcome = ask({ signal: controller.signal }).then(textOf)
    outcome.catch(() => {})
    await until(() => provider.requests.length === 1)
    await pause(20)
    const startedAt = performance.now()
    controller.abort()
    t.match(await failureOf(outcome), { code: 'client_closed' })
    t.ok(await until(() => provider.open.size === 0))
    t.ok(performance.now() - startedAt < 50)
  }
  t.match(await failureOf(ask({ signal: AbortSignal.abort() })), { code: 'client_closed' })
})

test('the reason of an abort is passed on when it is ours', async t => {
  const { GatewayError } = await import('../../src/errors.ts')
  const { ask } = await meet(t, () => {})
  const reason = new GatewayError('draining', 'Going down.')
  t.equal(await failureOf(ask({ signal: AbortSignal.abort(reason) })), reason)
})

test('a signal that lives long keeps no listeners, and an attempt that is over no timer', async t => {
  const { provider, ask } = await meet(t, streams(HELLO + STOP + DONE))
  const { signal } = new AbortController()
  let listeners = 0
  const before = timers()
  const { addEventListener, removeEventListener } = signal
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => { listeners++; addEventListener.apply(signal, args) }
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => { listeners--; removeEventListener.apply(signal, args) }
  await textOf(await ask({ signal }))
  provider.script = answers(500, '')
  await failureOf(ask({ signal }))
  provider.script = () => {}
  await failureOf(ask({ signal, timeouts: { ...PATIENT, firstTokenMs: 20 } }))
  t.equal(listeners, 0)
  t.equal(timers(), before)
})

test('given up while it waits for a connection: rejected at once, never sent, and the connection lives on', async t => {
  let finish = nothing
  const provider = await startProvider(socket => { finish = () => { socket.write(STREAM_HEAD + piece(HELLO + STOP + DONE) + END) } })
  const { ask, close } = asker(provider, 1)
  t.teardown(async () => { await close(); await provider.close() })
  const first = ask().then(textOf)
  await until(() => provider.requests.length === 1)
  t.match(await failureOf(ask({ timeouts: { ...PATIENT, firstTokenMs: 40 } })), { code: 'backend_timeout' })
  finish()
  t.equal(await first, HELLO + STOP + DONE)
  provider.script = streams(HELLO + STOP + DONE)
  t.equal(await textOf(await ask()), HELLO + STOP + DONE)
  t.equal(provider.requests.length, 2)
  t.equal(provider.connections(), 1)
})

test('a thousand hangs before the headers leave no socket, no timer and no rejection behind', async t => {
  const rejections: unknown[] = []
  const note = (reason: unknown) => { rejections.push(reason) }
  process.on('unhandledRejection', note)
  t.teardown(() => { process.off('unhandledRejection', note) })
  const { provider, ask, pool } = await meet(t, () => {})
  const before = timers()
  for (let round = 0; round < 50; round++) {
    const failures = await Promise.all(Array.from({ length: 20 }, () => failureOf(ask({ timeouts: { ...PATIENT, firstTokenMs: 5 } }))))
    if (failures.some(failure => failure.code !== 'backend_timeout')) t.fail('not a timeout')
  }
  // Connections that were made for an attempt that had gone meanwhile stay in the pool, which has eight places.
  t.ok(await until(() => provider.open.size <= 8), `${provider.open.size} sockets are open`)
  await pool.close()
  t.ok(await until(() => provider.open.size === 0))
  t.ok(timers() <= before + 1, `${before} timers before, ${timers()} after`)
  t.same(rejections, [])
})

test('what a provider says holds no key, no prompt, and at most 500 characters', async t => {
  const key = 'sk-proj-Abcdefghijklmnopqrstuvwxyz0123456789'
  const prompt = 'My name is Erika Mustermann and I live in the Heidestrasse in Cologne.'
  const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: prompt }] })
  const { provider, ask } = await meet(t, () => {})
  for (const status of [400, 429, 500]) {
    provider.script = answers(status, JSON.stringify({ error: { message: `Key ${key} or ${key.slice(0, 14)}: cannot say "${prompt}" ${'x'.repeat(5_000)}`, code: key } }))
    const failure = await failureOf(ask({ secrets: [key] }, body))
    const shown = JSON.stringify(failure.toBody())
    t.notMatch(shown, 'sk-proj')
    t.notMatch(shown, 'Mustermann')
    t.notMatch(shown, 'Heidestrasse')
    t.ok(failure.message.length <= 540)
  }
})
