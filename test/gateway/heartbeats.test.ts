/** What a caller of a stream hears while it waits: for an upstream, for a slot, for a load, and in the middle of an answer. */
import { setTimeout as wait } from 'node:timers/promises'
import Anthropic from '@anthropic-ai/sdk'
import { test, type Test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { ask, readAll, startGateway, type Running } from './harness.ts'
import { startProvider } from './provider.ts'
import { startScript } from './script.ts'

const BEAT_MS = 60
const BEAT = ': waiting\n\n'
const timeouts = 'timeouts: { connectMs: 500, firstTokenMs: 400, answerMs: 400, idleMs: 2000, totalMs: 6000 }'

async function start (t: Test, beatMs = BEAT_MS) {
  const [first, second] = [await startProvider(t), await startProvider(t)]
  const running = await startGateway(t, `
backends:
  - { name: first, kind: openai, baseUrl: '${first.url}', locality: cloud, ${timeouts} }
  - { name: second, kind: openai, baseUrl: '${second.url}', locality: cloud, ${timeouts} }
models:
  - { name: alone, targets: [{ backend: first, model: m }] }
  - { name: other, targets: [{ backend: second, model: m }] }
  - { name: both, targets: [{ backend: first, model: m }, { backend: second, model: m }] }
tenants: [{ name: default, limits: { concurrency: 100 } }, { name: keeper, idempotency: true }]
`, {}, `heartbeatMs: ${beatMs}`)
  return { first, second, running, client: await running.client('default'), key: await running.key('default') }
}

const BODIES = {
  '/v1/chat/completions': ask('Hello', 'alone'),
  '/v1/completions': { model: 'alone', prompt: 'Hello' },
  '/v1/messages': { model: 'alone', max_tokens: 50, messages: [{ role: 'user', content: 'Hello' }] },
  '/v1/responses': { model: 'alone', input: 'Hello' }
} as const

async function post ({ url }: Running, key: string, path: string, body: object, more: Readonly<Record<string, string>> = {}) {
  const response = await fetch(url + path, { method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...more }, body: JSON.stringify(body) })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

const namesOf = (text: string) => [...text.matchAll(/^event: (.*)$/gm)].map(([, name]) => name)

test('a stream that waits says so, and another target may still answer it', async t => {
  const { first, running, key } = await start(t)
  first.behave = { do: 'hang' }
  const { status, headers, text } = await post(running, key, '/v1/chat/completions', { ...ask('Hello', 'both'), stream: true })
  t.equal(status, 200)
  t.match(headers.get('content-type'), /^text\/event-stream/)
  t.equal(headers.get('x-torchgate-attempts'), '1', 'the head tells what was known when it left')
  const beats = text.split(BEAT).length - 1
  // A busy machine gives fewer.
  t.ok(beats >= 1 && beats <= 7, `${beats} in 400 ms`)
  t.ok(text.startsWith(BEAT.repeat(beats)), 'before the answer, and none within')
  t.ok(text.endsWith('data: [DONE]\n\n'))
  t.match((await running.records(1))[0], { outcome: 'ok', attempts: [{ error: 'backend_timeout' }, { error: null }] })
})

test('clients skip it', async t => {
  const { first, running, client, key } = await start(t)
  first.behave = { do: 'hang' }
  t.same(await readAll(await client.chat.completions.create({ ...ask('Hello', 'both'), stream: true })), { text: 'from the cloud', finish: 'stop' })
  const anthropic = new Anthropic({ apiKey: key, baseURL: running.url, maxRetries: 0 })
  const message = await anthropic.messages.stream({ ...BODIES['/v1/messages'], model: 'both', messages: [{ role: 'user', content: 'Hello' }] }).finalMessage()
  t.match(message, { content: [{ type: 'text', text: 'from the cloud' }], stop_reason: 'end_turn' })
  const response = await client.responses.stream({ model: 'both', input: 'Hello' }).finalResponse()
  t.equal(response.output_text, 'from the cloud')
})

test('an error after a sign of life is an event of the dialect, which clients raise', async t => {
  const { first, second, running, client, key } = await start(t)
  first.behave = { do: 'hang' }
  const said = Object.fromEntries(await Promise.all(Object.entries(BODIES).map(async ([path, body]) => [path, await post(running, key, path, { ...body, stream: true })] as const)))
  for (const [path, { status }] of Object.entries(said)) t.equal(status, 200, path)
  for (const path of ['/v1/chat/completions', '/v1/completions']) {
    const events = said[path]!.text.replaceAll(BEAT, '')
    t.match(JSON.parse(events.slice('data: '.length)), { error: { code: 'backend_timeout', type: 'server_error' } }, `${path}: one event, and no [DONE]`)
    t.ok(said[path]!.text.startsWith(BEAT))
  }
  const names = namesOf(said['/v1/messages']!.text)
  t.same([...new Set(names)], ['message_start', 'ping', 'error'], 'the beginning, which is the same whoever answers')
  t.ok(names.includes('ping'))
  t.match(said['/v1/messages']!.text, /"type":"timeout_error"/)
  t.same(namesOf(said['/v1/responses']!.text), ['response.created', 'response.in_progress', 'error', 'response.failed'])

  first.behave = { do: 'answer' }
  second.behave = { do: 'hang' }
  await t.rejects(async () => { await readAll(await client.chat.completions.create({ ...ask('Hello', 'other'), stream: true })) }, { code: 'backend_timeout' })
  const anthropic = new Anthropic({ apiKey: key, baseURL: running.url, maxRetries: 0 })
  await t.rejects(anthropic.messages.stream({ model: 'other', max_tokens: 50, messages: [{ role: 'user', content: 'Hello' }] }).finalMessage(), { message: /second did not answer within 400 ms/ })
  for (const record of await running.records(6)) t.match(record, { outcome: 'timeout', error: 'backend_timeout', status: 504 })
})

test('nothing is sent to calls that are not streamed, nor before the first interval, nor when it is off', async t => {
  const { first, running, key } = await start(t)
  const quick = await post(running, key, '/v1/chat/completions', { ...ask('Hello', 'alone'), stream: true })
  t.notMatch(quick.text, /^:/m)
  first.behave = { do: 'hang' }
  for (const [path, body] of Object.entries(BODIES)) t.equal((await post(running, key, path, body)).status, 504, path)

  const off = await start(t, 0)
  off.first.behave = { do: 'hang' }
  t.equal((await post(off.running, off.key, '/v1/chat/completions', { ...ask('Hello', 'alone'), stream: true })).status, 504)
})

test('within an answer that has fallen silent, between its events', async t => {
  const { first, running, key } = await start(t)
  first.behave = { do: 'answer', words: ['one ', 'two'], gapMs: 200 }
  const { text } = await post(running, key, '/v1/chat/completions', { ...ask('Hello', 'alone'), stream: true })
  const after = (word: string) => text.slice(text.indexOf(`"${word}"`)).split('\n\n')[1]
  t.equal(after('one '), BEAT.trim())
  t.equal(after('two'), BEAT.trim())
  t.ok(text.endsWith('data: [DONE]\n\n'))
  const messages = await post(running, key, '/v1/messages', { ...BODIES['/v1/messages'], stream: true })
  const names = namesOf(messages.text)
  t.equal(names[names.indexOf('content_block_delta') + 1], 'ping')
  t.same(names.slice(0, 2), ['message_start', 'ping'])
})

test('an answer that is kept is kept whole, and without signs of life', async t => {
  const { first, running } = await start(t)
  const key = await running.key('keeper')
  first.behave = { do: 'hang' }
  for (const [path, body] of [['/v1/chat/completions', ask('Hello', 'both')], ['/v1/messages', { ...BODIES['/v1/messages'], model: 'both' }]] as const) {
    const asked = () => post(running, key, path, { ...body, stream: true }, { 'idempotency-key': path.replaceAll('/', '.') })
    const said = await asked()
    const again = await asked()
    t.equal(again.headers.get('idempotent-replayed'), 'true')
    const PING = 'event: ping\ndata: {"type":"ping"}\n\n'
    const spoken = (text: string) => text.replaceAll(BEAT, '').replaceAll(PING, '')
    t.equal(spoken(again.text), spoken(said.text), path)
    t.ok(said.text.length > again.text.length)
    t.notMatch(again.text, /^:/m)
    t.equal(again.text.split(PING).length - 1, path === '/v1/messages' ? 1 : 0, 'the one after message_start')
  }
})

test('an answer that passes as it comes is not broken up by them, wherever it falls silent', async t => {
  const done = { id: 'resp_1', object: 'response', status: 'completed', output: [], usage: null }
  const [before, ...after] = [`event: response.created\ndata: {"type":"response.created","response":${JSON.stringify({ ...done, status: 'in_progress' })}}\n\n`,
    'event: response.output_text.delta\ndata: {"type":"response.output_', 'text.delta","delta":"one"}\n\n', `event: response.completed\ndata: ${JSON.stringify({ type: 'response.completed', response: done })}\n\n`]
  const script = await startScript(t, (_body, answer) => {
    void (async () => {
      answer.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const piece of [before, ...after]) {
        answer.write(piece)
        await wait(200)
      }
      answer.end()
    })()
  })
  const running = await startGateway(t, `
backends: [{ name: far, kind: openai, baseUrl: '${script.url}', locality: cloud, responses: true }]
models: [{ name: m, targets: [{ backend: far, model: m }] }]
tenants: [{ name: default }]
`, {}, `heartbeatMs: ${BEAT_MS}`)
  const { text } = await post(running, await running.key('default'), '/v1/responses', { model: 'm', input: 'Hello', stream: true })
  t.equal(text.replaceAll(BEAT, ''), [before, ...after].join(''))
  t.ok(text.includes(`${BEAT}event: response.output_text.delta`), 'between two events there are some')
  t.ok(text.includes(after.slice(0, 2).join('')), 'within one there are none')
})

test('while a model is loaded, and while a call waits for its slot', { timeout: 60_000 }, async t => {
  const running = await startGateway(t, `
backends:
  - name: pool
    kind: pool
    models: [{ name: pilot, path: ${BUILTIN_MODEL.path}, contextTokens: 1024, slots: 1, gpu: false, load: demand }]
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: default }]
`, {}, `heartbeatMs: ${BEAT_MS}`)
  const key = await running.key('default')
  const question = { ...ask('Count from 1 to 40'), stream: true, max_completion_tokens: 60 }
  const answers = await Promise.all([1, 2, 3].map(() => post(running, key, '/v1/chat/completions', question)))
  for (const { text } of answers) {
    t.ok(text.startsWith(BEAT))
    t.ok(text.endsWith('data: [DONE]\n\n'))
  }
  const beats = answers.map(({ text }) => text.split(BEAT).length - 1).toSorted((a, b) => a - b)
  t.ok(beats[0]! >= 1 && beats[2]! > beats[0]!, `${beats.join(', ')}: the last one waited longest`)
})
