import { readFileSync } from 'node:fs'
import { test, type Test } from 'tap'
import { Pool } from 'undici'
import type { AnthropicBackendConfig } from '../../src/config/schema.ts'
import { createAnthropicBackend } from '../../src/backends/anthropic.ts'
import type { ChatRequest } from '../../src/wire/chat.ts'
import { findError, takeUsage } from '../../src/wire/observe.ts'
import { answers, PATIENT, piece, startProvider, STREAM_HEAD, streams, textOf, until, type Script } from './provider.ts'

const options = { signal: new AbortController().signal, boundary: 'cloud', callId: 'call-7', isolation: 'acme' } as const
const request = { model: 'claude-sonnet-5', messages: [{ role: 'user', content: 'hi' }] } satisfies ChatRequest
const streamed = { ...request, stream: true } satisfies ChatRequest

const recorded = (name: string) => readFileSync(new URL(`recorded/${name}.sse`, import.meta.url))
const failure = (type: string, message = 'Sorry.') => JSON.stringify({ type: 'error', error: { type, message }, request_id: 'req_1' })
const MESSAGE = JSON.stringify({
  id: 'msg_1', type: 'message', role: 'assistant', model: 'claude-sonnet-5', content: [{ type: 'text', text: 'Hello' }],
  stop_reason: 'end_turn', stop_sequence: null, usage: { input_tokens: 1, output_tokens: 2 }
})

async function meet (t: Test, script: Script, config: Partial<AnthropicBackendConfig> = {}) {
  const provider = await startProvider(script)
  const pool = new Pool(provider.origin, { connections: 4 })
  const backend = createAnthropicBackend({
    name: 'claude', kind: 'anthropic', baseUrl: provider.origin, locality: 'cloud', anthropicVersion: '2023-06-01', maxTokens: 1000, promptCache: 'off', thinking: 'auto',
    headers: { 'Anthropic-Beta': 'b1' }, connections: 4, allowInsecure: false, timeouts: PATIENT, ...config
  }, { dial: () => pool, apiKey: 'sk-ant-0123456789abcdef' })
  t.teardown(async () => { await pool.destroy(); await provider.close() })
  return { provider, backend }
}

const contentOf = (text: string) => [...text.matchAll(/"content":"((?:[^"\\]|\\.)*)"/g)].map(([, said]) => JSON.parse(`"${said}"`)).join('')

test('a question goes to /v1/messages with the key and the version, and the answer is a chat completion', async t => {
  const { provider, backend } = await meet(t, answers(200, MESSAGE))
  const answer = await backend.chat(request, options)
  t.match(JSON.parse(await textOf(answer)), { id: 'chatcmpl-1', object: 'chat.completion', choices: [{ message: { content: 'Hello' }, finish_reason: 'stop' }], usage: { prompt_tokens: 1, completion_tokens: 2 } })
  t.ok(answer.kind === 'body' && JSON.stringify(answer.value) === answer.bytes.toString('utf8'), 'the value is what the bytes say')
  const [sent = ''] = provider.requests
  t.match(sent, /^POST \/v1\/messages HTTP\/1\.1\r\n/)
  for (const header of ['x-api-key: sk-ant-0123456789abcdef', 'anthropic-version: 2023-06-01', 'anthropic-beta: b1', 'x-client-request-id: call-7', 'accept-encoding: identity']) t.ok(sent.includes(`\r\n${header}\r\n`), header)
  t.notMatch(sent, /authorization/i)
  t.same(JSON.parse(sent.split('\r\n\r\n')[1]!), { model: 'claude-sonnet-5', max_tokens: 1000, messages: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }] })
})

for (const name of ['anthropic', 'anthropic-thinking-tools']) {
  test(`${name}: a recorded stream arrives whole, however it is split on the way`, async t => {
    const { provider, backend } = await meet(t, () => {})
    const texts = new Set<string>()
    for (const size of [1, 7, 100, Infinity]) {
      provider.script = streams(recorded(name), size)
      const text = await textOf(await backend.chat(streamed, options))
      texts.add(text.replaceAll(/"created":\d+/g, '"created":0'))
      t.ok(text.endsWith('data: [DONE]\n\n'))
    }
    t.equal(texts.size, 1)
    const [text = ''] = texts
    t.equal(contentOf(text), name === 'anthropic' ? 'The capital of France is "Paris".' : 'Grüezi, let me check.')
    t.ok(takeUsage(Buffer.from(text))?.usage)
  })
}

test('it resolves at the first content: not at the beginning of the message, nor at a ping', async t => {
  const bytes = recorded('anthropic')
  const first = bytes.indexOf('event: content_block_delta')
  let tell: () => void = () => {}
  const { backend } = await meet(t, socket => {
    socket.write(STREAM_HEAD)
    socket.write(piece(bytes.subarray(0, first)))
    tell = () => { socket.write(piece(bytes.subarray(first))); socket.write('0\r\n\r\n') }
  })
  let isResolved = false
  const answer = backend.chat(streamed, options).then(value => { isResolved = true; return value })
  t.notOk(await Promise.race([answer.then(() => true), new Promise(resolve => { setTimeout(resolve, 80, false) })]))
  t.notOk(isResolved)
  tell()
  t.equal(contentOf(await textOf(await answer)), 'The capital of France is "Paris".')
})

const REFUSALS: Array<[string, Script, Record<string, unknown>]> = [
  ['529', answers(529, failure('overloaded_error', 'Overloaded')), { code: 'backend_failed', message: 'claude answered 529: Overloaded', fallback: true }],
  ['500', answers(500, failure('api_error')), { code: 'backend_failed', fallback: true }],
  ['429', answers(429, failure('rate_limit_error'), { 'retry-after': '7' }), { code: 'backend_rate_limited', retryAfterS: 7, fallback: true, status: 429 }],
  ['401', answers(401, failure('authentication_error', 'invalid x-api-key')), { code: 'backend_auth_failed', fallback: true, status: 502 }],
  ['402', answers(402, failure('billing_error')), { code: 'backend_auth_failed' }],
  ['403', answers(403, failure('permission_error')), { code: 'backend_auth_failed' }],
  ['no credit', answers(400, failure('invalid_request_error', 'Your credit balance is too low to access the Anthropic API.')), { code: 'backend_auth_failed' }],
  ['404', answers(404, failure('not_found_error', 'model: claude-x')), { code: 'backend_invalid_answer', fallback: true }],
  ['413', answers(413, failure('request_too_large')), { code: 'rejected_by_backend', status: 413, fallback: false }],
  ['400', answers(400, failure('invalid_request_error', 'top_p: too large')), { code: 'rejected_by_backend', status: 400, message: 'top_p: too large', fallback: false }],
  ['a prompt that is too long', answers(400, failure('invalid_request_error', 'prompt is too long: 212345 tokens > 200000 maximum')), { code: 'context_length_exceeded', fallback: true }],
  ['a limit beyond the context', answers(400, failure('invalid_request_error', 'input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000')), { code: 'context_length_exceeded' }],
  ['an error as first event', streams(`event: error\ndata: ${failure('overloaded_error', 'Overloaded')}\n\n`), { code: 'backend_failed', message: 'claude answered 529: Overloaded', fallback: true }],
  ['a limit as first event', streams(`event: error\ndata: ${failure('rate_limit_error')}\n\n`), { code: 'backend_rate_limited', fallback: true }],
  ['a stream without content', streams(recorded('anthropic').subarray(0, recorded('anthropic').indexOf('event: content_block_delta'))), { code: 'backend_interrupted', fallback: true }],
  ['an OpenAI stream', streams('data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: [DONE]\n\n'), { code: 'backend_invalid_answer', fallback: true }],
  ['a whole message where a stream is asked for', answers(200, MESSAGE), { code: 'backend_invalid_answer' }]
]

for (const [name, script, expected] of REFUSALS) {
  test(`refused: ${name}`, async t => {
    const { backend } = await meet(t, script)
    t.match(await backend.chat(streamed, options).catch((error: unknown) => error), expected)
  })
}

test('a chat completion where a message is due is no answer', async t => {
  const { backend } = await meet(t, answers(200, '{"choices":[{"message":{"content":"x"}}]}'))
  await t.rejects(backend.chat(request, options), { code: 'backend_invalid_answer', message: 'claude answered with application/json that is no chat completion.' })
})

test('what cannot be translated is refused before anything is sent', async t => {
  const { provider, backend } = await meet(t, answers(200, MESSAGE))
  await t.rejects(backend.chat({ ...request, seed: 1 }, options), { code: 'unsupported_value', param: 'seed', fallback: true })
  t.equal(provider.requests.length, 0)
  t.equal(backend.availability('claude-sonnet-5').state, 'ready')
})

test('an error in the middle breaks the answer off, with what came before, and says so', async t => {
  const { backend } = await meet(t, streams(recorded('anthropic-error')))
  const answer = await backend.chat(streamed, options)
  let text = ''
  await t.rejects(async () => {
    if (answer.kind === 'stream') for await (const frame of answer.frames) text += frame.toString('utf8')
  }, { code: 'backend_interrupted', message: 'claude broke off with an error: Overloaded' })
  t.equal(contentOf(text), 'Half of an')
  t.equal(findError(Buffer.from(text)), null)
})

test('a stream that ends, or whose connection breaks, in the middle is found out at every event', async t => {
  const bytes = recorded('anthropic').toString('utf8')
  const { provider, backend } = await meet(t, () => {})
  const starts = [...bytes.matchAll(/^event: /gm)].map(({ index }) => index)
  for (const end of starts.filter(at => at > bytes.indexOf('The capital') && at <= bytes.indexOf('event: message_delta'))) {
    const before = bytes.slice(0, end)
    for (const script of [streams(before), (socket => { socket.write(STREAM_HEAD); socket.end(piece(before)) }) satisfies Script]) {
      provider.script = script
      await t.rejects(async () => { await textOf(await backend.chat(streamed, options)) }, { code: 'backend_interrupted' }, `cut at ${end}`)
    }
  }
})

test('a caller that leaves frees the connection', async t => {
  const bytes = recorded('anthropic')
  const { provider, backend } = await meet(t, socket => { socket.write(STREAM_HEAD); socket.write(piece(bytes.subarray(0, bytes.indexOf(' France')))); socket.write(piece(' ')) })
  const controller = new AbortController()
  const answer = backend.chat(streamed, { ...options, signal: controller.signal })
  answer.catch(() => {})
  await until(() => provider.requests.length === 1)
  await answer
  controller.abort()
  t.ok(await until(() => provider.open.size === 0))
  t.match(backend.availability('claude-sonnet-5'), { state: 'ready', freeSlots: 4 })
})

test('a limit with a time to wait rests the model until then, a dead key the whole backend, and both say why', async t => {
  const { provider, backend } = await meet(t, answers(429, failure('rate_limit_error'), { 'retry-after': '1' }))
  await t.rejects(backend.chat(request, options), { code: 'backend_rate_limited' })
  t.match(backend.availability('claude-sonnet-5'), { state: 'down', reason: 'rate_limited', retryAfterS: 1 })
  t.match(backend.availability('claude-opus-5'), { state: 'ready' })
  t.ok(await until(() => backend.availability('claude-sonnet-5').state === 'ready'), 'it is asked again')
  provider.script = answers(401, failure('authentication_error'))
  await t.rejects(backend.chat(request, options), { code: 'backend_auth_failed' })
  t.match(backend.availability('claude-opus-5'), { state: 'down', reason: 'key_refused', retryAfterS: 60 })
})
