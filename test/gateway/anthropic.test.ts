/** Anthropic behind the gateway: OpenAI's client in front, the local model beside it. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readFileSync } from 'node:fs'
import OpenAI from 'openai'
import { test, type Test } from 'tap'
import { ask, eventually, pilotPool, readAll, startGateway } from './harness.ts'

type Body = Record<string, unknown>

interface Anthropic {
  readonly url: string
  readonly requests: Array<{ readonly url: string | undefined, readonly key: unknown, readonly body: Body }>
  answer: (response: ServerResponse, body: Body) => void
}

const recorded = (name: string) => readFileSync(new URL(`../backends/recorded/${name}.sse`, import.meta.url))
const stream = (name: string) => (response: ServerResponse) => { response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' }).end(recorded(name)) }
const refuse = (status: number, type: string, headers = {}) => (response: ServerResponse) => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify({ type: 'error', error: { type, message: 'Overloaded' } }))
}
const whole = (response: ServerResponse) => {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({
    id: 'msg_1', type: 'message', role: 'assistant', model: 'claude-sonnet-5', content: [{ type: 'text', text: 'from Anthropic' }], stop_reason: 'end_turn',
    usage: { input_tokens: 10, output_tokens: 4, cache_read_input_tokens: 90, cache_creation_input_tokens: 0 }
  }))
}

async function startAnthropic (t: Test): Promise<Anthropic> {
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const body = JSON.parse(Buffer.concat(parts).toString()) as Body
    anthropic.requests.push({ url: request.url, key: request.headers['x-api-key'], body })
    anthropic.answer(response, body)
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const anthropic: Anthropic = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests: [], answer: whole }
  return anthropic
}

async function start (t: Test) {
  const anthropic = await startAnthropic(t)
  const running = await startGateway(t, `
backends:
  - { name: claude, kind: anthropic, baseUrl: "${anthropic.url}", locality: cloud, apiKey: { env: ANTHROPIC_API_KEY }, promptCache: 5m }
${pilotPool()}
models:
  - { name: chat, targets: [{ backend: claude, model: claude-sonnet-5 }, { backend: pool, model: pilot }] }
  - { name: claude, targets: [{ backend: claude, model: claude-sonnet-5 }] }
tenants: [{ name: acme }]`, { ANTHROPIC_API_KEY: 'sk-ant-0123456789abcdef' })
  return { anthropic, running, client: await running.client('acme') }
}

const explained = async (running: Awaited<ReturnType<typeof startGateway>>, model = 'chat') =>
  (await running.admin<{ candidates: Array<{ backend: string, verdict: string, reason: string }> }>(`/admin/v1/explain?tenant=acme&model=${model}`)).candidates

test('Anthropic behind OpenAI\'s client', async t => {
  const { anthropic, running, client } = await start(t)

  await t.test('whole: the answer, its usage, and what was asked', async t => {
    const { data, response } = await client.chat.completions.create({ model: 'chat', messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'hi' }] }).withResponse()
    t.equal(response.headers.get('x-torchgate-target'), 'claude/claude-sonnet-5')
    t.equal(data.choices[0]?.message.content, 'from Anthropic')
    t.match(data.usage, { prompt_tokens: 100, completion_tokens: 4, total_tokens: 104, prompt_tokens_details: { cached_tokens: 90 } })
    t.strictSame(anthropic.requests.at(-1), { url: '/v1/messages', key: 'sk-ant-0123456789abcdef', body: {
      model: 'claude-sonnet-5', max_tokens: 4096, system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }],
      messages: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }]
    } })
    const record = (await running.records(1)).at(-1)
    t.match(record, { outcome: 'ok', usage: { input_tokens: 100, output_tokens: 4, cached_input_tokens: 90 }, usage_estimated: false })
  })

  await t.test('streamed: text, thoughts, calls and usage as the client puts them together', async t => {
    anthropic.answer = stream('anthropic-thinking-tools')
    const runner = client.chat.completions.stream({ ...ask('weather?', 'chat'), stream_options: { include_usage: true } })
    const completion = await runner.finalChatCompletion()
    t.match(completion.choices[0], { finish_reason: 'tool_calls', message: { content: 'Grüezi, let me check.', tool_calls: [{ function: { name: 'get_weather', arguments: '{"location": "Zürich"}' } }, { function: { name: 'get_time', arguments: '{}' } }] } })
    t.match(completion.usage, { prompt_tokens: 2372, completion_tokens: 89, completion_tokens_details: { reasoning_tokens: 30 } })
  })

  await t.test('an error in the middle reaches the client as one, after the words that came', async t => {
    anthropic.answer = stream('anthropic-error')
    let text = ''
    const error = await (async () => {
      for await (const { choices } of await client.chat.completions.create({ ...ask('hi', 'chat'), stream: true })) text += choices[0]?.delta.content ?? ''
    })().catch((thrown: unknown) => thrown)
    t.equal(text, 'Half of an')
    t.match(error, { code: 'backend_interrupted' })
  })

  await t.test('what cannot be said to Anthropic goes to the local model, and alone is a 400 that names it', async t => {
    const before = anthropic.requests.length
    const { response } = await client.chat.completions.create({ ...ask('Hello', 'chat'), seed: 1 }).withResponse()
    t.equal(response.headers.get('x-torchgate-target'), 'pool/pilot')
    const error = await client.chat.completions.create({ ...ask('Hello', 'claude'), seed: 1 }).catch((thrown: unknown) => thrown)
    t.ok(error instanceof OpenAI.BadRequestError)
    t.match(error, { status: 400, code: 'unsupported_value', param: 'seed' })
    t.equal(anthropic.requests.length, before, 'nothing was sent')
  })

  await t.test('overloaded (529): the local model answers, whole and streamed, also when the error is the first event', async t => {
    for (const answer of [refuse(529, 'overloaded_error'), (response: ServerResponse) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end('event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n')
    }]) {
      anthropic.answer = answer
      const { data, response } = await client.chat.completions.create({ ...ask('Hello', 'chat'), stream: true }).withResponse()
      t.equal(response.headers.get('x-torchgate-target'), 'pool/pilot')
      t.equal(response.headers.get('x-torchgate-attempts'), '2')
      t.ok((await readAll(data)).text.length > 0)
    }
    anthropic.answer = refuse(529, 'overloaded_error')
    const { response } = await client.chat.completions.create(ask('Hello', 'chat')).withResponse()
    t.equal(response.headers.get('x-torchgate-target'), 'pool/pilot')
  })

  await t.test('a limit with a time to wait: it is not asked before, explain says why, a lone caller is told when', async t => {
    anthropic.answer = refuse(429, 'rate_limit_error', { 'retry-after': '2' })
    t.equal((await client.chat.completions.create(ask('Hello', 'chat')).withResponse()).response.headers.get('x-torchgate-target'), 'pool/pilot')
    const before = anthropic.requests.length
    const { response } = await client.chat.completions.create(ask('Hello', 'chat')).withResponse()
    t.equal(response.headers.get('x-torchgate-attempts'), '1')
    t.match(response.headers.get('x-torchgate-why'), /skip=claude\/claude-sonnet-5:rate_limited/)
    t.match(await explained(running), [{ backend: 'pool', verdict: 'chosen' }, { backend: 'claude', verdict: 'rejected', reason: 'rate_limited' }])
    const error = await client.chat.completions.create(ask('Hello', 'claude')).catch((thrown: unknown) => thrown)
    t.ok(error instanceof OpenAI.RateLimitError)
    t.match(error instanceof OpenAI.RateLimitError && error.headers?.get('retry-after'), /^[12]$/)
    t.equal(anthropic.requests.length, before, 'it was left alone')
    anthropic.answer = whole
    t.ok(await eventually(async () => (await explained(running))[0]?.backend === 'claude'), 'it is asked again')
    t.equal((await client.chat.completions.create(ask('Hello', 'claude'))).choices[0]?.message.content, 'from Anthropic')
  })

  await t.test('a dead key: the local model answers, explain and status show the reason', async t => {
    anthropic.answer = refuse(401, 'authentication_error')
    await client.chat.completions.create(ask('Hello', 'chat'))
    const before = anthropic.requests.length
    await client.chat.completions.create(ask('Hello', 'chat'))
    t.equal(anthropic.requests.length, before)
    t.match(await explained(running), [{ backend: 'pool' }, { backend: 'claude', verdict: 'rejected', reason: 'key_refused' }])
    const { backends } = await running.admin<{ backends: Array<{ name: string, models: unknown[] }> }>('/admin/v1/status')
    t.match(backends.find(({ name }) => name === 'claude')?.models, [{ state: 'down', reason: 'key_refused', retryAfterS: Number }])
    t.match(await client.chat.completions.create(ask('Hello', 'claude')).catch((thrown: unknown) => thrown), { status: 502, code: 'backend_auth_failed' })
  })
})
