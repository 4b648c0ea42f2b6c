import type OpenAI from 'openai'
import { test } from 'tap'
import { pilotPool, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

const LOCAL = `
backends:${pilotPool(2)}
models:
  - { name: pilot, targets: [{ backend: pool, model: pilot }] }
tenants:
  - { name: acme }
`
const remote = (url: string) => `
backends:
  - { name: cloud, kind: openai, baseUrl: ${url}, locality: local }
models:
  - { name: pilot, targets: [{ backend: cloud, model: far }] }
tenants:
  - { name: acme }
`

const weather = {
  type: 'function' as const,
  name: 'weather',
  description: 'The weather of a town.',
  parameters: { type: 'object', properties: { town: { type: 'string', enum: ['Oslo', 'Bern'] } }, required: ['town'], additionalProperties: false },
  strict: true
}

/** As Codex 0.169 asks first, with fewer tools and words. */
const CODEX = {
  model: 'pilot',
  instructions: 'You are a coding agent.',
  input: [
    { type: 'message', role: 'developer', content: [{ type: 'input_text', text: '<permissions>none</permissions>' }] },
    { type: 'message', role: 'user', content: [{ type: 'input_text', text: '<environment_context/>' }] },
    { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'say hi' }] }
  ],
  tools: [
    { type: 'function', name: 'exec_command', description: 'Runs.', strict: false, parameters: { type: 'object', properties: { cmd: { type: 'string' } }, required: ['cmd'], additionalProperties: false } },
    { type: 'custom', name: 'apply_patch', description: 'Edits files.', format: { type: 'grammar', syntax: 'lark', definition: 'start: "x"' } },
    { type: 'namespace', name: 'multi_agent_v1', description: 'Agents.', tools: [{ type: 'function', name: 'spawn_agent', description: 'Spawns.', strict: false, parameters: { type: 'object', properties: {} } }] },
    { type: 'web_search', external_web_access: true, search_content_types: ['text', 'image'] }
  ],
  tool_choice: 'auto',
  parallel_tool_calls: true,
  reasoning: { effort: 'medium', summary: 'auto' },
  store: false,
  stream: true,
  include: ['reasoning.encrypted_content'],
  prompt_cache_key: '0199-aaaa',
  client_metadata: { 'x-codex-installation-id': 'b7c5' },
  text: { verbosity: 'low' }
}

test('against the built-in model', async t => {
  const { client, records, url, key } = await startGateway(t, LOCAL)
  const openai = await client('acme')

  t.test('the openai package and the built-in model: a stream says what a body says', async t => {
    const ask = { model: 'pilot', input: 'Say hello.', instructions: 'You are brief.', temperature: 0, max_output_tokens: 24 }
    const whole = await openai.responses.create(ask)
    const stream = openai.responses.stream(ask)
    const types: string[] = []
    for await (const event of stream) types.push(event.type)
    const streamed = await stream.finalResponse()
    t.not(whole.output_text, '')
    t.equal(streamed.output_text, whole.output_text)
    t.equal(streamed.usage?.input_tokens, whole.usage?.input_tokens)
    t.equal(streamed.usage?.output_tokens, whole.usage?.output_tokens)
    t.match(whole, { object: 'response', status: 'completed', store: false, model: 'pilot' })
    t.strictSame([types.at(0), types.at(1), types.at(-1)], ['response.created', 'response.in_progress', 'response.completed'])
    const cut = await openai.responses.create({ ...ask, input: 'Count from one to a hundred.', max_output_tokens: 16 })
    if (cut.usage!.output_tokens === 16) t.match(cut, { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } })
    t.match((await records(3)).map(({ endpoint, outcome, status, usage }) => ({ endpoint, outcome, status, usage })), [
      { endpoint: 'responses', outcome: 'ok', status: 200, usage: { output_tokens: whole.usage!.output_tokens } },
      { endpoint: 'responses', outcome: 'ok', status: 200, usage: { output_tokens: whole.usage!.output_tokens } },
      { endpoint: 'responses', outcome: 'ok' }
    ])
  })

  t.test('a tool is called, its output sent back, and the model answers', async t => {
    const question = { role: 'user' as const, content: 'What is the weather in Oslo?' }
    const ask = { model: 'pilot', tools: [weather], temperature: 0, max_output_tokens: 64 }
    const stream = openai.responses.stream({ ...ask, input: [question], tool_choice: { type: 'function', name: 'weather' } })
    const first = await stream.finalResponse()
    const call = first.output.find(item => item.type === 'function_call')!
    t.equal(call.name, 'weather')
    t.match(JSON.parse(call.arguments), { town: /Oslo|Bern/ })
    const second = await openai.responses.create({ ...ask, input: [question, ...first.output as OpenAI.Responses.ResponseInput, { type: 'function_call_output', call_id: call.call_id, output: 'Rain.' }], tool_choice: 'none' })
    t.equal(second.status === 'completed' || second.status === 'incomplete', true)
    t.ok(second.output.every(item => item.type === 'message'))
    t.ok(second.usage!.output_tokens > 0)
  })

  t.test('a custom tool takes plain text, from a local model too', async t => {
    const patch = { type: 'custom' as const, name: 'patch', description: 'Applies a patch.' }
    const stream = openai.responses.stream({ model: 'pilot', input: 'Patch it.', tools: [patch], tool_choice: { type: 'custom', name: 'patch' }, temperature: 0, max_output_tokens: 64 })
    const { output } = await stream.finalResponse()
    t.match(output.at(-1), { type: 'custom_tool_call', name: 'patch', input: String, call_id: String })
  })

  t.test('the first request of Codex is answered, and what it cannot have is named in a header', async t => {
    const response = await fetch(`${url}/v1/responses`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await key('acme')}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...CODEX, max_output_tokens: 16 })
    })
    const text = await response.text()
    t.equal(response.status, 200, text)
    t.match(response.headers.get('x-torchgate-warning'), /tools\[3\]: web_search is not served and was left out; .*reasoning\.encrypted_content/)
    t.match(text, /^event: response\.created\ndata: /)
    t.match(text, /\n\nevent: response\.(completed|incomplete)\ndata: \{.*\}\n\n$/)
    t.notMatch(text, /\[DONE\]/)
  })
})

test('every backend answers, and gets chat completions', async t => {
  const provider = await startProvider(t)
  const { client } = await startGateway(t, remote(provider.url))
  const openai = await client('acme')
  const response = await openai.responses.create({ model: 'pilot', input: 'hi', metadata: { a: 'b' }, store: false })
  t.equal(response.output_text, 'from the cloud')
  t.equal(response.model, 'pilot')
  const { body } = provider.seen.requests[0]!
  t.match(body, { model: 'far', messages: [{ role: 'user', content: 'hi' }] })
  for (const name of ['input', 'metadata', 'store', 'previous_response_id']) t.notOk(name in body, name)
  provider.behave = { do: 'answer', words: ['a', ' b'] }
  let text = ''
  for await (const event of await openai.responses.create({ model: 'pilot', input: 'hi', stream: true })) if (event.type === 'response.output_text.delta') text += event.delta
  t.equal(text, 'a b')
})

test('an answer that breaks off raises, in a stream too', async t => {
  const provider = await startProvider(t)
  const { client, url, key, records } = await startGateway(t, remote(provider.url))
  const openai = await client('acme')
  provider.behave = { do: 'break', after: 2 }
  await t.rejects(openai.responses.stream({ model: 'pilot', input: 'hi' }).finalResponse(), { code: 'backend_interrupted' })
  const response = await fetch(`${url}/v1/responses`, {
    method: 'POST', headers: { authorization: `Bearer ${await key('acme')}`, 'content-type': 'application/json' }, body: JSON.stringify({ model: 'pilot', input: 'hi', stream: true })
  })
  t.match(await response.text(), /event: error\ndata: \{[^\n]*backend_interrupted[^\n]*\}\n\nevent: response\.failed\ndata: [^\n]*"status":"failed"[^\n]*\n\n$/)
  provider.behave = { do: 'status', status: 503 }
  await t.rejects(openai.responses.create({ model: 'pilot', input: 'hi' }), { message: /^502 / })
  t.match(await records(3), [{ outcome: 'upstream_error' }, { outcome: 'upstream_error' }, { outcome: 'upstream_error' }])
})

test('a fault names the parameter of responses, and is told as OpenAI tells it', async t => {
  const provider = await startProvider(t)
  const { client } = await startGateway(t, remote(provider.url))
  const openai = await client('acme')
  await t.rejects(openai.responses.create({ model: 'pilot', input: 'hi', background: true }), { status: 400, code: 'unsupported_value', param: 'background' })
  await t.rejects(openai.responses.create({ model: 'nothing', input: 'hi' }), { status: 404, code: 'model_not_found' })
  await t.rejects(openai.responses.create({ model: 'pilot', input: [{ type: 'function_call_output', call_id: 'c', output: '' }] }), { code: 'invalid_value', param: 'input[0].call_id' })
  t.equal(provider.seen.connections, 0)
})
