import { readFileSync } from 'node:fs'
import { test, type Test } from 'tap'
import { Pool } from 'undici'
import type { GeminiBackendConfig } from '../../src/config/schema.ts'
import { createGeminiBackend } from '../../src/backends/gemini.ts'
import type { ChatRequest } from '../../src/wire/chat.ts'
import { findError, takeUsage } from '../../src/wire/observe.ts'
import { problemsOf } from '../config/sample.ts'
import { answers, PATIENT, piece, startProvider, STREAM_HEAD, streams, textOf, type Script } from './provider.ts'

const options = { signal: new AbortController().signal, boundary: 'cloud', callId: 'call-7', isolation: 'acme' } as const
const request = { model: 'gemini-2.5-flash', messages: [{ role: 'user', content: 'hi' }] } satisfies ChatRequest
const streamed = { ...request, stream: true } satisfies ChatRequest

const recorded = (name: string) => readFileSync(new URL(`recorded/${name}.sse`, import.meta.url))
const failure = (code: number, status: string, message = 'Sorry.', details: unknown[] = []) => JSON.stringify({ error: { code, message, status, details } })
const ANSWER = JSON.stringify({ candidates: [{ content: { parts: [{ text: 'Hello' }], role: 'model' }, finishReason: 'STOP', index: 0 }], usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 2, totalTokenCount: 3 }, modelVersion: 'gemini-2.5-flash', responseId: 'r1' })

async function meet (t: Test, script: Script, config: Partial<GeminiBackendConfig> = {}) {
  const provider = await startProvider(script)
  const pool = new Pool(provider.origin, { connections: 4 })
  const backend = createGeminiBackend({
    name: 'google', kind: 'gemini', baseUrl: provider.origin, locality: 'cloud', thinking: 'auto', headers: {}, connections: 4, allowInsecure: false, timeouts: PATIENT, ...config
  }, { dial: () => pool, apiKey: 'AIza0123456789abcdef' })
  t.teardown(async () => { await pool.destroy(); await provider.close() })
  return { provider, backend }
}

const contentOf = (text: string) => [...text.matchAll(/"content":"((?:[^"\\]|\\.)*)"/g)].map(([, said]) => JSON.parse(`"${said}"`)).join('')

test('a question goes to generateContent with the key in its header, and the answer is a chat completion', async t => {
  const { provider, backend } = await meet(t, answers(200, ANSWER))
  t.match(JSON.parse(await textOf(await backend.chat(request, options))), { id: 'chatcmpl-r1', object: 'chat.completion', choices: [{ message: { content: 'Hello' }, finish_reason: 'stop' }], usage: { prompt_tokens: 1, completion_tokens: 2 } })
  const [sent = ''] = provider.requests
  t.match(sent, /^POST \/v1beta\/models\/gemini-2\.5-flash:generateContent HTTP\/1\.1\r\n/)
  t.ok(sent.includes('\r\nx-goog-api-key: AIza0123456789abcdef\r\n'))
  t.notMatch(sent, /authorization|[?&]key=/i)
  t.same(JSON.parse(sent.split('\r\n\r\n')[1]!), { contents: [{ role: 'user', parts: [{ text: 'hi' }] }] })
})

test('a name of a model never leaves its place in the path', async t => {
  const { provider, backend } = await meet(t, answers(200, ANSWER))
  await backend.chat({ ...request, model: '../files/x?y' }, options)
  t.match(provider.requests[0], /^POST \/v1beta\/models\/\.\.%2Ffiles%2Fx%3Fy:generateContent HTTP/)
})

for (const name of ['gemini', 'gemini-thinking-tools']) {
  test(`${name}: a stream arrives whole, however it is split on the way`, async t => {
    const { provider, backend } = await meet(t, () => {})
    const texts = new Set<string>()
    for (const size of [1, 7, 100, Infinity]) {
      provider.script = streams(recorded(name), size)
      const text = await textOf(await backend.chat(streamed, options))
      texts.add(text.replaceAll(/"created":\d+/g, '"created":0'))
      t.ok(text.endsWith('data: [DONE]\n\n'))
    }
    t.match(provider.requests[0], /^POST \/v1beta\/models\/gemini-2\.5-flash:streamGenerateContent\?alt=sse HTTP/)
    t.equal(texts.size, 1)
    const [text = ''] = texts
    t.equal(contentOf(text), name === 'gemini' ? 'The capital of France is "Paris".' : 'Grüezi, let me check.')
    t.ok(takeUsage(Buffer.from(text))?.usage)
  })
}

const RETRY = { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '34.07s' }
const REFUSALS: Array<[string, Script, Record<string, unknown>]> = [
  ['503', answers(503, failure(503, 'UNAVAILABLE', 'The model is overloaded.')), { code: 'backend_failed', message: 'google answered 503: The model is overloaded.', fallback: true }],
  ['429 with a delay in its details', answers(429, failure(429, 'RESOURCE_EXHAUSTED', 'Quota exceeded.', [{ '@type': 'x' }, RETRY])), { code: 'backend_rate_limited', retryAfterS: 35, fallback: true }],
  ['429 as a list of one, as streams have it', answers(429, `[${failure(429, 'RESOURCE_EXHAUSTED', 'Quota exceeded.', [RETRY])}]`), { code: 'backend_rate_limited', retryAfterS: 35 }],
  ['429 with a delay that is none', answers(429, failure(429, 'RESOURCE_EXHAUSTED', 'Quota exceeded.', [null, { retryDelay: 'soon' }])), { code: 'backend_rate_limited', retryAfterS: null }],
  ['a wrong key', answers(400, failure(400, 'INVALID_ARGUMENT', 'API key not valid. Please pass a valid API key.')), { code: 'backend_auth_failed', fallback: true, status: 502 }],
  ['an old key', answers(400, failure(400, 'INVALID_ARGUMENT', 'API key expired. Please renew the API key.')), { code: 'backend_auth_failed' }],
  ['403', answers(403, failure(403, 'PERMISSION_DENIED')), { code: 'backend_auth_failed' }],
  ['404', answers(404, failure(404, 'NOT_FOUND', 'models/x is not found')), { code: 'backend_invalid_answer', fallback: true }],
  ['400', answers(400, failure(400, 'INVALID_ARGUMENT', 'top_k is too large')), { code: 'rejected_by_backend', status: 400, fallback: false }],
  ['a prompt that is too long', answers(400, failure(400, 'INVALID_ARGUMENT', 'The input token count (1048600) exceeds the maximum number of tokens allowed (1048576).')), { code: 'context_length_exceeded', fallback: true }],
  ['an error as first event', streams(`data: ${failure(503, 'UNAVAILABLE', 'Overloaded')}\r\n\r\n`), { code: 'backend_failed', message: 'google answered 503: Overloaded', fallback: true }],
  ['a limit as first event', streams(`data: ${failure(429, 'RESOURCE_EXHAUSTED')}\r\n\r\n`), { code: 'backend_rate_limited', fallback: true }],
  ['a call that the model could not write', streams('data: {"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL","index":0}]}\n\n'), { code: 'backend_invalid_answer', fallback: true }],
  ['a stream of nothing', streams('data: {"usageMetadata":{"promptTokenCount":3}}\n\n'), { code: 'backend_interrupted', fallback: true }],
  ['an OpenAI stream', streams('data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: [DONE]\n\n'), { code: 'backend_invalid_answer', fallback: true }],
  ['a whole answer where a stream is asked for', answers(200, ANSWER), { code: 'backend_invalid_answer' }]
]

for (const [name, script, expected] of REFUSALS) {
  test(`refused: ${name}`, async t => {
    const { backend } = await meet(t, script)
    t.match(await backend.chat(streamed, options).catch((error: unknown) => error), expected)
  })
}

test('a chat completion where a candidate is due is no answer', async t => {
  const { backend } = await meet(t, answers(200, '{"choices":[{"message":{"content":"x"}}]}'))
  await t.rejects(backend.chat(request, options), { code: 'backend_invalid_answer' })
})

test('what cannot be translated is refused before anything is sent', async t => {
  const { provider, backend } = await meet(t, answers(200, ANSWER))
  await t.rejects(backend.chat({ ...request, logit_bias: { 1: 2 } }, options), { code: 'unsupported_value', param: 'logit_bias', fallback: true })
  t.equal(provider.requests.length, 0)
  t.equal(backend.availability('gemini-2.5-flash').state, 'ready')
})

test('texts go to batchEmbedContents, and vectors come back as they were asked for', async t => {
  const { provider, backend } = await meet(t, answers(200, '{"embeddings":[{"values":[0.5,-1]},{"values":[2,3]}],"usageMetadata":{"promptTokenCount":7}}'))
  const asked = { model: 'gemini-embedding-001', input: ['a', 'b'], dimensions: 2 }
  const answer = await backend.embed!(asked, options)
  t.strictSame(JSON.parse(await textOf(answer)), {
    object: 'list', data: [{ object: 'embedding', index: 0, embedding: [0.5, -1] }, { object: 'embedding', index: 1, embedding: [2, 3] }], model: 'gemini-embedding-001', usage: { prompt_tokens: 7, total_tokens: 7 }
  })
  const [sent = ''] = provider.requests
  t.match(sent, /^POST \/v1beta\/models\/gemini-embedding-001:batchEmbedContents HTTP/)
  const one = (text: string) => ({ model: 'models/gemini-embedding-001', content: { parts: [{ text }] }, outputDimensionality: 2 })
  t.strictSame(JSON.parse(sent.split('\r\n\r\n')[1]!), { requests: [one('a'), one('b')] })
  t.match(JSON.parse(await textOf(await backend.embed!({ ...asked, encoding_format: 'base64' }, options))), { data: [{ embedding: 'AAAAPwAAgL8=' }, {}] })
  await t.rejects(backend.embed!({ ...asked, input: ['a', 'b', 'c'] }, options), { code: 'backend_invalid_answer', message: /is no list of 3 embeddings/ })
  await t.rejects(backend.embed!({ ...asked, input: [1, 2] }, options), { code: 'unsupported_value', param: 'input' })
  await t.rejects(backend.embed!({ ...asked, input_type: 'query' }, options), { code: 'unsupported_value', param: 'input_type' })
})

test('an error in the middle breaks the answer off, with what came before, and says so', async t => {
  const { backend } = await meet(t, streams(recorded('gemini-error')))
  const answer = await backend.chat(streamed, options)
  let text = ''
  await t.rejects(async () => {
    if (answer.kind === 'stream') for await (const frame of answer.frames) text += frame.toString('utf8')
  }, { code: 'backend_interrupted', message: 'google broke off with an error: The model is overloaded. Please try again later.' })
  t.equal(contentOf(text), 'Half of an')
  t.equal(findError(Buffer.from(text)), null)
})

test('a stream that ends, or whose connection breaks, before its reason to stop is found out', async t => {
  const bytes = recorded('gemini').toString('utf8')
  const { provider, backend } = await meet(t, () => {})
  for (const end of [bytes.indexOf('data: ', 10), bytes.lastIndexOf('data: '), bytes.length - 40]) {
    const before = bytes.slice(0, end)
    for (const script of [streams(before), (socket => { socket.write(STREAM_HEAD); socket.end(piece(before)) }) satisfies Script]) {
      provider.script = script
      await t.rejects(async () => { await textOf(await backend.chat(streamed, options)) }, { code: 'backend_interrupted' }, `cut at ${end}`)
    }
  }
})

test('the version of the API is not part of its base URL', async t => {
  const file = (baseUrl: string) => `backends:\n  - { name: a, kind: gemini, locality: cloud, baseUrl: "${baseUrl}" }\nmodels:\n  - { name: m, targets: [{ backend: a, model: x }] }\ntenants:\n  - { name: acme, class: public }\n`
  t.match(problemsOf(file('https://generativelanguage.googleapis.com/v1beta')).join(), /expected nothing of \/v1beta/)
  t.same(problemsOf(file('https://generativelanguage.googleapis.com')), [])
})
