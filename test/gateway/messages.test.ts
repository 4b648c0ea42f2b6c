/** Anthropic's own client against a whole gateway. */
import Anthropic from '@anthropic-ai/sdk'
import { test, type Test } from 'tap'
import { pilotPool, startGateway, type Running } from './harness.ts'
import { startProvider, type Provider } from './provider.ts'

const LOCAL = `
backends:${pilotPool(2)}
models:
  - { name: pilot, targets: [{ backend: pool, model: pilot }] }
tenants:
  - { name: acme }
  - { name: poor, limits: { requestsPerMinute: 1 } }
  - { name: other, models: [else] }
`

const CLOUD = (url: string) => `
backends:
  - { name: cloud, kind: openai, baseUrl: ${url}, locality: cloud }
models:
  - { name: claude, targets: [{ backend: cloud, model: big }] }
tenants:
  - { name: acme }
`

const clientOf = async ({ url, key }: Running, tenant = 'acme') => new Anthropic({ apiKey: await key(tenant), baseURL: url, maxRetries: 0 })

async function cloud (t: Test): Promise<{ provider: Provider, running: Running, client: Anthropic }> {
  const provider = await startProvider(t)
  const running = await startGateway(t, CLOUD(provider.url))
  return { provider, running, client: await clientOf(running) }
}

const asked = (content = 'What is the capital of France?', model = 'pilot') => ({ model, max_tokens: 50, temperature: 0, messages: [{ role: 'user' as const, content }] })
const ADD = {
  name: 'add',
  input_schema: { type: 'object' as const, properties: { a: { type: 'integer' }, b: { type: 'integer' } }, required: ['a', 'b'], additionalProperties: false }
}

interface Failure { status: number, type: string | null, message: string, requestID: string | null, error: { request_id: string, error: { message: string } }, headers: Headers }
const failure = async (call: Promise<unknown>) => await call.then(() => { throw new Error('There was an answer.') }, (error: unknown) => error as Failure)

test('a local model answers Anthropic\'s client, streamed and not', async t => {
  const running = await startGateway(t, LOCAL)
  const client = await clientOf(running)
  const whole = await client.messages.create(asked()).withResponse()
  t.match(whole.data, { type: 'message', role: 'assistant', model: 'pilot', content: [{ type: 'text', text: /Paris/ }], stop_reason: 'end_turn', stop_sequence: null })
  t.equal(whole.request_id, whole.data.id.replace('msg_', 'req_'))
  t.equal(whole.response.headers.get('x-torchgate-target'), 'pool/pilot')

  const stream = client.messages.stream(asked())
  const seen: string[] = []
  stream.on('text', text => { seen.push(text) })
  const streamed = await stream.finalMessage()
  t.ok(seen.length > 1, 'it came in pieces')
  t.strictSame(streamed.content, whole.data.content)
  t.equal(streamed.usage.output_tokens, whole.data.usage.output_tokens)
  const read = ({ usage }: Anthropic.Message) => usage.input_tokens + usage.cache_read_input_tokens!
  t.equal(read(streamed), read(whole.data))
  t.ok(streamed.usage.cache_read_input_tokens! > 0, 'the prompt was cached by then')

  t.match(await client.messages.create({ ...asked(), max_tokens: 2 }), { stop_reason: 'max_tokens', usage: { output_tokens: 2 } })

  const stopping = { ...asked(), stop_sequences: ['Spain', 'Paris'] }
  const stopped = { content: [{ type: 'text', text: 'The capital of France is ' }], stop_reason: 'stop_sequence', stop_sequence: 'Paris' }
  t.match(await client.messages.create(stopping), stopped)
  t.match(await client.messages.stream(stopping).finalMessage(), stopped)
  const records = (await running.records(5)).slice(0, 3)
  t.match(records.map(({ endpoint, stream: isStream, outcome, status }) => [endpoint, isStream, outcome, status]), [
    ['messages', false, 'ok', 200], ['messages', true, 'ok', 200], ['messages', false, 'ok', 200]
  ])
})

test('tools of a local model: called, answered, streamed', async t => {
  const client = await clientOf(await startGateway(t, LOCAL))
  const question = { ...asked('Add 2 and 3.'), max_tokens: 200, tools: [ADD], tool_choice: { type: 'tool' as const, name: 'add' } }
  const first = await client.messages.create(question)
  t.match(first, { stop_reason: 'tool_use', content: [{ type: 'tool_use', name: 'add', input: { a: Number, b: Number } }] })
  const streamed = await client.messages.stream(question).finalMessage()
  t.match(streamed, { stop_reason: 'tool_use', content: [{ type: 'tool_use', name: 'add', input: (first.content[0] as Anthropic.ToolUseBlock).input as object }] })
  const used = first.content[0] as Anthropic.ToolUseBlock
  const second = await client.messages.create({
    ...asked(),
    tools: [ADD],
    messages: [...question.messages, { role: 'assistant', content: first.content }, { role: 'user', content: [{ type: 'tool_result', tool_use_id: used.id, content: '5' }] }]
  })
  t.match(second, { type: 'message', stop_reason: String })
})

test('tokens are counted for models that the key may call', async t => {
  const running = await startGateway(t, LOCAL)
  const client = await clientOf(running)
  const { input_tokens: few } = await client.messages.countTokens({ model: 'pilot', messages: asked('Hi').messages })
  const { input_tokens: many } = await client.messages.countTokens({ model: 'pilot', system: 'x'.repeat(4000), tools: [ADD], messages: asked('Hi').messages })
  t.ok(few > 0 && few < 20, `${few}`)
  // As the local model reads it: each x by itself.
  t.ok(many > few + 4000 && many < few + 4200, `${many}`)
  t.match(await failure(client.messages.countTokens({ model: 'none', messages: asked().messages })), { status: 404, type: 'not_found_error' })
  t.match(await failure((await clientOf(running, 'other')).messages.countTokens({ model: 'pilot', messages: asked().messages })), { status: 403, type: 'permission_error' })
  t.match(await failure(client.messages.countTokens({ model: 'pilot', messages: [] })), { status: 400, type: 'invalid_request_error' })
})

test('whoever refuses, refuses in Anthropic\'s shape', async t => {
  const running = await startGateway(t, LOCAL, {}, 'bodyLimitBytes: 100000')
  const client = await clientOf(running)
  const nobody = new Anthropic({ apiKey: 'wrong', baseURL: running.url, maxRetries: 0 })
  const poor = await clientOf(running, 'poor')
  await poor.messages.create({ ...asked(), max_tokens: 1 })
  const others = await clientOf(running, 'other')
  const table: [string, () => Promise<unknown>, number, string, RegExp][] = [
    ['a wrong key', () => nobody.messages.create(asked()), 401, 'authentication_error', /API key/],
    ['a model that is not there', () => client.messages.create(asked('', 'none')), 404, 'not_found_error', /none/],
    ['a model of others', () => others.messages.create(asked()), 403, 'permission_error', /pilot/],
    ['a parameter', () => client.messages.create(Object.assign(asked(), { temperature: 3 })), 400, 'invalid_request_error', /temperature/],
    ['a tool of Anthropic', () => client.messages.create({ ...asked(), tools: [{ type: 'web_search_20250305', name: 'web_search' }] }), 400, 'invalid_request_error', /tools\[0\]/],
    ['an image that the model cannot see', () => client.messages.create({
      ...asked(), messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } }] }]
    }), 400, 'invalid_request_error', /messages\[0\]/],
    ['a body that is too large', () => client.messages.create(asked('x'.repeat(100_000))), 413, 'request_too_large', /larger/],
    ['a limit', () => poor.messages.create(asked()), 429, 'rate_limit_error', /requests/]
  ]
  for (const [name, call, status, type, says] of table) {
    const error = await failure(call())
    t.match(error, { status, type, error: { type: 'error', error: { type, message: says }, request_id: /^req_/ } }, name)
    t.equal(error.requestID, error.error.request_id, 'the same in the header')
  }
  const post = async (headers: Record<string, string>, body: string) => {
    const response = await fetch(`${running.url}/v1/messages`, { method: 'POST', headers, body })
    return [response.status, (await response.json() as { error: { type: string } }).error.type]
  }
  const key = { 'x-api-key': await running.key('acme') }
  t.strictSame(await post({ 'content-type': 'application/json', ...key }, '{'), [400, 'invalid_request_error'])
  t.strictSame(await post({ 'content-type': 'text/plain', ...key }, '{}'), [415, 'invalid_request_error'])
  t.strictSame(await post({ 'content-type': 'application/json' }, '{}'), [401, 'authentication_error'])
})

test('a provider gets a chat completion, and its answer comes back as a message', async t => {
  const { provider, client } = await cloud(t)
  const { content, usage, model } = await client.messages.create({ ...asked('Hi', 'claude'), system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }], stop_sequences: ['X'] })
  t.match([content, usage, model], [[{ type: 'text', text: 'from the cloud' }], { input_tokens: 7, output_tokens: 3 }, 'claude'])
  t.strictSame(provider.seen.requests[0]!.body, {
    model: 'big', messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hi' }], temperature: 0, max_completion_tokens: 50, stop: ['X']
  })
  t.notOk(provider.seen.requests[0]!.headers['x-api-key'], 'the key of the caller stays here')
  const streamed = await client.messages.stream(asked('Hi', 'claude')).finalMessage()
  t.match([streamed.content, streamed.usage], [content, usage])
})

test('what a provider fails with', async t => {
  const { provider, running, client } = await cloud(t)
  const table: [number, number, string][] = [[400, 400, 'invalid_request_error'], [429, 429, 'rate_limit_error'], [500, 502, 'api_error'], [401, 502, 'api_error']]
  for (const [theirs, ours, type] of table) {
    provider.behave = { do: 'status', status: theirs }
    t.match(await failure(client.messages.create(asked('Hi', 'claude'))), { status: ours, type }, `${theirs}`)
  }
  t.match((await running.records(4)).map(({ status }) => status), [400, 429, 502, 502])
})

test('an answer that breaks off raises an error in the client, after what had come', async t => {
  const { provider, running, client } = await cloud(t)
  provider.behave = { do: 'break', after: 2 }
  let text = ''
  const error = await failure((async () => {
    for await (const event of await client.messages.create({ ...asked('Hi', 'claude'), stream: true })) {
      if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') text += event.delta.text
    }
  })())
  t.equal(text, 'word word ')
  t.match(error, { type: 'api_error', error: { type: 'error', error: { type: 'api_error', message: /cloud/ }, request_id: /^req_/ } })
  t.match(await running.records(1), [{ outcome: 'upstream_error', error: 'backend_interrupted', endpoint: 'messages' }])
})

test('a provider that gives no usage: what the gateway has counted', async t => {
  const { provider, client } = await cloud(t)
  provider.behave = { do: 'status', status: 200, body: { id: 'x', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message: { role: 'assistant', content: 'Hi there' }, finish_reason: 'stop' }] } }
  const { usage } = await client.messages.create(asked('Hi', 'claude'))
  t.ok(usage.input_tokens > 0 && usage.output_tokens > 0, JSON.stringify(usage))
})

test('thoughts are blocks of their own where they were asked for, and left out elsewhere', async t => {
  const { provider, client } = await cloud(t)
  const message = { role: 'assistant', content: 'Yes.', reasoning_content: 'Let me see.' }
  const usage = { prompt_tokens: 7, completion_tokens: 9, total_tokens: 16, completion_tokens_details: { reasoning_tokens: 6 } }
  provider.behave = { do: 'status', status: 200, body: { id: 'x', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message, finish_reason: 'stop' }], usage } }
  const thinking = await client.messages.create({ ...asked('Hi', 'claude'), max_tokens: 4000, thinking: { type: 'enabled', budget_tokens: 2000 } })
  t.match(thinking.content, [{ type: 'thinking', thinking: 'Let me see.' }, { type: 'text', text: 'Yes.' }])
  t.match(provider.seen.requests[0]!.body, { reasoning_effort: 'low' })
  const silent = await client.messages.create(asked('Hi', 'claude'))
  t.strictSame([silent.content.length, silent.usage], [1, thinking.usage])
  t.match(silent.usage, { output_tokens: 9, output_tokens_details: { thinking_tokens: 6 } })
})
