import { test, type Test } from 'tap'
import { setTimeout as pause } from 'node:timers/promises'
import { Pool } from 'undici'
import type { OpenAIBackendConfig } from '../../src/config/schema.ts'
import { createOpenAIBackend } from '../../src/backends/openai.ts'
import { GatewayError } from '../../src/errors.ts'
import type { ChatRequest } from '../../src/wire/chat.ts'
import { answers, COMPLETION, DONE, HELLO, PATIENT, piece, ROLE, startProvider, STOP, STREAM_HEAD, streams, textOf, type Script } from './provider.ts'

const options = { signal: new AbortController().signal, boundary: 'cloud', callId: 'call-7', isolation: 'acme' } as const
const request = { model: 'gpt-x', messages: [{ role: 'user', content: 'hi' }] } satisfies ChatRequest
const streamed = { ...request, stream: true } satisfies ChatRequest

async function meet (t: Test, script: Script, config: Partial<OpenAIBackendConfig> = {}) {
  const provider = await startProvider(script)
  const pool = new Pool(provider.origin, { connections: config.connections ?? 4 })
  const dialled: Array<[string, string]> = []
  const backend = createOpenAIBackend({
    name: 'cloud-a', kind: 'openai', baseUrl: `${provider.origin}/v1/`, locality: 'cloud', headers: { 'OpenAI-Project': 'p1' },
    connections: 4, allowInsecure: false, timeouts: PATIENT, ...config
  }, { dial: (origin, boundary) => { dialled.push([origin, boundary]); return pool }, apiKey: 'sk-0123456789abcdef' })
  t.teardown(async () => {
    await pool.destroy()
    await provider.close()
  })
  return { provider, backend, dialled }
}

const nothing = () => {}
const bodyOf = (sent: string | undefined) => JSON.parse(sent?.split('\r\n\r\n')[1] ?? '')

test('the request goes out once, with our key, our call id and the operator\'s headers', async t => {
  const { provider, backend, dialled } = await meet(t, answers(200, COMPLETION))
  const answer = await backend.chat({ ...request, temperature: 0, x_extra: { a: 1 } }, options)
  t.equal(await textOf(answer), COMPLETION)
  t.same(dialled, [[provider.origin, 'cloud']])
  const [sent = ''] = provider.requests
  t.match(sent, /^POST \/v1\/chat\/completions HTTP\/1\.1\r\n/)
  for (const header of ['authorization: Bearer sk-0123456789abcdef', 'x-client-request-id: call-7', 'openai-project: p1', 'content-type: application/json', 'accept-encoding: identity']) {
    t.ok(sent.includes(`\r\n${header}\r\n`), header)
  }
  t.same(bodyOf(sent), { ...request, temperature: 0, x_extra: { a: 1 } })
})

test('a stream is always asked for its usage, and other stream options stay', async t => {
  const { provider, backend } = await meet(t, streams(ROLE + HELLO + STOP + DONE))
  t.equal(await textOf(await backend.chat({ ...streamed, stream_options: { include_obfuscation: false } }, options)), ROLE + HELLO + STOP + DONE)
  t.same(bodyOf(provider.requests[0]).stream_options, { include_obfuscation: false, include_usage: true })
  await textOf(await backend.chat({ ...streamed, stream_options: null }, options))
  t.same(bodyOf(provider.requests[1]).stream_options, { include_usage: true })
})

test('the query of the base URL stays, and without a key there is no authorization', async t => {
  const provider = await startProvider(answers(200, COMPLETION))
  const pool = new Pool(provider.origin)
  t.teardown(async () => { await pool.destroy(); await provider.close() })
  const backend = createOpenAIBackend({
    name: 'az', kind: 'openai', baseUrl: `${provider.origin}/openai/v1?api-version=preview`, locality: 'cloud', headers: {}, connections: 1, allowInsecure: false, timeouts: PATIENT
  }, { dial: () => pool, apiKey: null })
  await backend.chat(request, options)
  t.match(provider.requests[0], /^POST \/openai\/v1\/chat\/completions\?api-version=preview HTTP/)
  t.notMatch(provider.requests[0], /authorization/i)
})

test('a refusal to dial reaches the caller, and nothing is sent', async t => {
  const backend = createOpenAIBackend({
    name: 'a', kind: 'openai', baseUrl: 'https://api.example.com/v1', locality: 'cloud', headers: {}, connections: 1, allowInsecure: false, timeouts: PATIENT
  }, { dial: () => { throw new GatewayError('egress_forbidden', 'No.') }, apiKey: null })
  await t.rejects(backend.chat(request, options), { code: 'egress_forbidden' })
  t.match(backend.availability('x'), { state: 'ready', queued: 0, freeSlots: 1 })
})

test('headers that belong to the gateway or to HTTP are refused by name', t => {
  for (const name of ['Content-Type', 'host', 'Transfer-Encoding', 'Connection']) {
    t.throws(() => createOpenAIBackend({
      name: 'a', kind: 'openai', baseUrl: 'https://api.example.com/v1', locality: 'cloud', headers: { [name]: 'x' }, connections: 1, allowInsecure: false, timeouts: PATIENT
    }, { dial: () => { throw new Error('unused') }, apiKey: null }), { message: `Backend a: headers.${name}: set by the gateway itself, leave it out.` })
  }
  t.end()
})

test('five failures in a row and it is down; an answer makes it weak, five make it ready', async t => {
  const { provider, backend } = await meet(t, answers(500, ''))
  for (let failures = 0; failures < 5; failures++) {
    t.equal(backend.availability('gpt-x').state, 'ready')
    await t.rejects(backend.chat(request, options), { code: 'backend_failed' })
  }
  t.equal(backend.availability('gpt-x').state, 'down')
  provider.script = answers(200, COMPLETION)
  await backend.chat(request, options)
  t.equal(backend.availability('gpt-x').state, 'weak')
  for (let answered = 0; answered < 4; answered++) await backend.chat(request, options)
  t.equal(backend.availability('gpt-x').state, 'ready')
})

test('a stream that breaks off counts against the model', async t => {
  const word = 'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
  const { provider, backend } = await meet(t, socket => { socket.end(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n${word}`) })
  for (let times = 0; times < 20; times++) {
    const answer = await backend.chat({ ...request, stream: true }, options)
    if (answer.kind !== 'stream') throw new Error('no stream')
    await t.rejects(async () => { for await (const frame of answer.frames) t.ok(frame.length) }, { code: 'backend_interrupted' })
  }
  t.equal(backend.availability('gpt-x').state, 'weak')
  t.equal(provider.requests.length, 20)
})

test('a model that fails rests alone; a backend that cannot be reached rests with all its models', async t => {
  const { provider, backend } = await meet(t, answers(500, ''))
  const ask = (model: string) => backend.chat({ ...request, model }, options)
  for (let failures = 0; failures < 5; failures++) await t.rejects(ask('ill'), { code: 'backend_failed' })
  t.equal(backend.availability('ill').state, 'down')
  t.equal(backend.availability('well').state, 'ready')
  provider.script = answers(200, COMPLETION)
  await ask('well')
  t.equal(backend.availability('ill').state, 'down', 'the answer of another model says nothing about it')

  provider.script = socket => { socket.destroy() }
  for (let failures = 0; failures < 5; failures++) await t.rejects(ask(`m${failures}`), { code: 'backend_unreachable' })
  t.equal(backend.availability('well').state, 'down')
  provider.script = answers(200, COMPLETION)
  await ask('other')
  t.equal(backend.availability('well').state, 'weak')
  for (let answered = 0; answered < 4; answered++) await ask('other')
  t.equal(backend.availability('well').state, 'ready')
})

test('callers who leave, or whose time is over, do not make it ill', async t => {
  const { backend } = await meet(t, () => {})
  for (let turns = 0; turns < 6; turns++) {
    await t.rejects(backend.chat(request, { ...options, signal: AbortSignal.timeout(5) }), { code: 'client_closed' })
    const signal = AbortSignal.abort(new GatewayError('backend_timeout', 'The call took too long.'))
    await t.rejects(backend.chat(request, { ...options, signal }), { code: 'backend_timeout' })
  }
  t.equal(backend.availability('x').state, 'ready')
})

test('free places are counted, as many calls may wait as run, and one more is refused', async t => {
  const { provider, backend } = await meet(t, socket => { socket.write(STREAM_HEAD + piece(HELLO)) }, { connections: 2 })
  t.match(backend.availability('x'), { state: 'ready', queued: 0, freeSlots: 2 })
  const controller = new AbortController()
  const calls = Array.from({ length: 4 }, () => backend.chat(streamed, { ...options, signal: controller.signal }))
  for (const call of calls) call.catch(() => {})
  await Promise.all(calls.slice(0, 2))
  t.match(backend.availability('x'), { state: 'saturated', queued: 2, freeSlots: 0 })
  await t.rejects(backend.chat(streamed, options), { code: 'backend_overloaded' })
  controller.abort()
  t.equal(provider.requests.length, 2)
  t.match(backend.availability('x'), { state: 'ready', queued: 0, freeSlots: 2 })
})

test('close waits for running calls, refuses new ones, and cuts what is left when its time is over', async t => {
  let finish = nothing
  const { provider, backend } = await meet(t, socket => {
    socket.write(STREAM_HEAD + piece(HELLO))
    finish = () => { socket.write(piece(STOP + DONE) + '0\r\n\r\n') }
  })
  const first = await backend.chat(streamed, options)
  const closing = backend.close()
  t.equal(await Promise.race([closing, pause(30, 'still running')]), 'still running')
  t.equal(backend.availability('x').state, 'down')
  await t.rejects(backend.chat(request, options), { code: 'draining' })
  finish()
  t.equal(await textOf(first), HELLO + STOP + DONE)
  await closing

  const other = createOpenAIBackend({
    name: 'b', kind: 'openai', baseUrl: provider.origin, locality: 'cloud', headers: {}, connections: 4, allowInsecure: false, timeouts: PATIENT
  }, { dial: () => pool, apiKey: null })
  const pool = new Pool(provider.origin)
  t.teardown(() => pool.destroy())
  const answer = await other.chat(streamed, options)
  const text = textOf(answer)
  text.catch(() => {})
  await other.close(AbortSignal.timeout(20))
  await t.rejects(text, { code: 'draining', message: 'b was shut down before the answer was complete.' })
})
