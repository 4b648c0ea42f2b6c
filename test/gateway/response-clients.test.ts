/** /v1/responses from the side of those who use it, and its state from the hostile side. */
import { join } from 'node:path'
import { createOpenAI } from '@ai-sdk/openai'
import { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from 'ai'
import OpenAI from 'openai'
import { test, type Test } from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { openGateway } from '../../src/gateway.ts'
import { eventually, startGateway } from './harness.ts'
import { complete, startScript, type Members, type Script } from './script.ts'

const yaml = ({ url }: Script) => `
backends: [{ name: far, kind: openai, baseUrl: ${url}, locality: domain }]
models: [{ name: m, targets: [{ backend: far, model: m }] }]
tenants:
  - { name: acme, storeResponses: true }
  - { name: other, storeResponses: true }
  - { name: never }
`
const answer = (body: Members, response: Parameters<typeof complete>[1]) => {
  const last = body['messages'].at(-1) as Members
  if (body['response_format'] !== undefined) complete(body, response, { content: '{"town":"Oslo"}' })
  else if (body['tools'] !== undefined && last['role'] !== 'tool') complete(body, response, { reasoning_content: 'Let me look.', tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"town":"Oslo"}' } }] }, 'tool_calls')
  else complete(body, response, { content: last['role'] === 'tool' ? 'It rains in Oslo.' : 'Hello to you.' })
}

async function start (t: Test) {
  const script = await startScript(t, answer)
  const running = await startGateway(t, yaml(script))
  return { ...running, script, sent: () => script.asked.at(-1)!.body['messages'] as Members[] }
}

test('the openai package: create, parse, stream, retrieve, list, count, compact, cancel, delete', async t => {
  const { client, sent } = await start(t)
  const openai = await client('acme')
  const created = await openai.responses.create({ model: 'm', input: 'Hi.' })
  t.equal(created.output_text, 'Hello to you.')
  const format = { type: 'json_schema' as const, name: 'place', schema: { type: 'object', properties: { town: { type: 'string' } } } }
  t.strictSame((await openai.responses.parse({ model: 'm', input: 'Where?', text: { format } })).output_parsed as unknown, { town: 'Oslo' })
  const tools: OpenAI.Responses.Tool[] = [{ type: 'function', name: 'weather', parameters: { type: 'object', properties: { town: { type: 'string' } } }, strict: false }]
  const stream = openai.responses.stream({ model: 'm', input: 'Rain?', tools, previous_response_id: created.id })
  let args = ''
  for await (const event of stream) if (event.type === 'response.function_call_arguments.delta') args += event.delta
  t.equal(args, '{"town":"Oslo"}')
  const called = await stream.finalResponse()
  const final = await openai.responses.create({ model: 'm', tools, previous_response_id: called.id, input: [{ type: 'function_call_output', call_id: 'call_1', output: 'Rain.' }] })
  t.equal(final.output_text, 'It rains in Oslo.')
  t.strictSame(sent().map(({ role }) => role), ['user', 'assistant', 'user', 'assistant', 'tool'])
  t.equal((await openai.responses.retrieve(final.id)).output_text, 'It rains in Oslo.')
  const { data } = await openai.responses.inputItems.list(final.id, { order: 'asc' })
  t.strictSame(data.map(({ type }) => type), ['message', 'message', 'message', 'reasoning', 'function_call', 'function_call_output'])
  t.ok((await openai.responses.inputTokens.count({ model: 'm', previous_response_id: final.id, input: 'x' })).input_tokens! > 10)

  const compact = await openai.responses.compact({ model: 'm', previous_response_id: final.id })
  t.strictSame(compact.output.map(({ type }) => type), ['message', 'message', 'compaction'])
  await openai.responses.create({ model: 'm', input: [...compact.output as OpenAI.Responses.ResponseInput, { role: 'user', content: 'And now?' }] })
  t.match(sent().map(({ content }) => content), ['Hi.', 'Rain?', /^Summary of the conversation so far:\n\nHello to you\.$/, 'And now?'])

  await t.rejects(openai.responses.cancel(final.id), { status: 400, code: 'invalid_value' })
  await openai.responses.delete(final.id)
  await t.rejects(openai.responses.retrieve(final.id), { status: 404, code: 'response_not_found' })
})

test('the AI SDK: text, streams, objects, and a tool that is called', async t => {
  const { url, key, script, sent } = await start(t)
  const openai = createOpenAI({ apiKey: await key('acme'), baseURL: `${url}/v1` })
  const model = openai('m')
  t.equal((await generateText({ model, prompt: 'Hi.' })).text, 'Hello to you.')
  t.equal(script.asked[0]!.path, '/v1/chat/completions', 'it asks for a response, and the backend is asked for a chat')
  const streamed = streamText({ model, prompt: 'Hi.' })
  let text = ''
  for await (const piece of streamed.textStream) text += piece
  t.equal(text, 'Hello to you.')
  t.match(await streamed.usage, { inputTokens: 7, outputTokens: 3 })
  const schema = jsonSchema<{ town: string }>({ type: 'object', properties: { town: { type: 'string' } }, required: ['town'], additionalProperties: false })
  t.strictSame((await generateText({ model, prompt: 'Where?', output: Output.object({ schema }) })).output, { town: 'Oslo' })

  const weather = tool({ description: 'The weather.', inputSchema: schema, execute: async ({ town }) => `Rain in ${town}.` })
  const called = streamText({ model, prompt: 'Rain?', tools: { weather }, stopWhen: stepCountIs(3) })
  t.equal(await called.text, 'It rains in Oslo.')
  // Of a stored response it refers to items, and does not send them.
  t.match(sent(), [{ role: 'user' }, { role: 'assistant', tool_calls: [{ id: 'call_1', function: { name: 'weather', arguments: '{"town":"Oslo"}' } }] }, { role: 'tool', tool_call_id: 'call_1', content: /Rain in Oslo/ }])
  const stateless = createOpenAI({ apiKey: await key('never'), baseURL: `${url}/v1` })('m')
  const again = streamText({ model: stateless, prompt: 'Rain?', tools: { weather }, stopWhen: stepCountIs(3), providerOptions: { openai: { store: false } } })
  t.equal(await again.text, 'It rains in Oslo.')
})

test('a reference finds an item of a kept response, for its tenant alone', async t => {
  const { client, sent } = await start(t)
  const [openai, other, never] = [await client('acme'), await client('other'), await client('never')]
  const first = await openai.responses.create({ model: 'm', input: 'Remember.' }, { headers: { 'x-torchgate-class': 'confidential' } })
  const reference = { type: 'item_reference' as const, id: first.output[0]!.id! }
  const question = { role: 'user' as const, content: 'And?' }
  const second = await openai.responses.create({ model: 'm', input: [reference, question] })
  t.match(sent(), [{ role: 'assistant', content: 'Hello to you.' }, { role: 'user', content: 'And?' }])
  await openai.responses.delete(first.id)
  await openai.responses.create({ model: 'm', input: 'Go on.', previous_response_id: second.id })
  t.equal(sent()[0]!['content'], 'Hello to you.', 'what was referred to was kept with the reference')
  for (const caller of [openai, other, never]) {
    await t.rejects(caller.responses.create({ model: 'm', input: [reference, question] }), { code: 'invalid_value', param: 'input[0].id', message: /store: false/ })
  }
  await t.rejects(openai.responses.create({ model: 'm', input: [{ type: 'item_reference', id: `msg_${'0'.repeat(52)}` }, question] }), { code: 'invalid_value', param: 'input[0].id' })
})

test('a compacted conversation is no other tenant\'s, cannot be changed, and stays as secret as it was', async t => {
  const { client, script } = await start(t)
  const [openai, other] = [await client('acme'), await client('other')]
  const compact = await openai.responses.compact({ model: 'm', input: 'We launch on Tuesday.' }, { headers: { 'x-torchgate-class': 'confidential' } })
  const input = compact.output as OpenAI.Responses.ResponseInput
  const before = script.asked.length
  await t.rejects(other.responses.create({ model: 'm', input }), { code: 'invalid_value', param: 'input[1].encrypted_content' })
  const [said, sealed] = input as [OpenAI.Responses.ResponseInputItem, OpenAI.Responses.ResponseCompactionItemParam]
  await t.rejects(openai.responses.create({ model: 'm', input: [said, { ...sealed, encrypted_content: `${sealed.encrypted_content.slice(0, -2)}AA` }] }), { code: 'invalid_value', param: 'input[1].encrypted_content' })
  t.equal(script.asked.length, before)
  await openai.responses.create({ model: 'm', input })
  await t.rejects(openai.responses.compact({ model: 'm', input: 'x', store: true } as never), { code: 'unsupported_value', param: 'store' })
  await t.rejects(openai.responses.compact({ model: 'm', input: 'x', stream: true } as never), { code: 'unsupported_value', param: 'stream' })
  await t.rejects(openai.responses.compact({ model: 'm', input: [] }), { code: 'invalid_value', param: 'input' })
})

test('kept responses are there after a restart', async t => {
  const script = await startScript(t, answer)
  const { gateway, folder, key } = await startGateway(t, yaml(script))
  const apiKey = await key('acme')
  const before = new OpenAI({ apiKey, baseURL: `${gateway.url}/v1`, maxRetries: 0 })
  const first = await before.responses.create({ model: 'm', input: 'Remember.' })
  const compact = await before.responses.compact({ model: 'm', previous_response_id: first.id })
  await gateway.close()
  const again = await openGateway(loadConfig(join(folder, 'torchgate.yaml'), { env: {} }).config, { env: {}, revision: 'test' })
  t.teardown(() => again.close(AbortSignal.abort()))
  const after = new OpenAI({ apiKey, baseURL: `${again.url}/v1`, maxRetries: 0 })
  t.strictSame(await after.responses.retrieve(first.id), first)
  await after.responses.create({ model: 'm', input: [{ type: 'item_reference', id: first.output[0]!.id! }, ...compact.output as OpenAI.Responses.ResponseInput], previous_response_id: first.id })
  t.match(script.asked.at(-1)!.body['messages'], [{ content: 'Remember.' }, { content: 'Hello to you.' }, { content: 'Hello to you.' }, { content: 'Remember.' }, { content: /^Summary/ }])
})

test('what breaks off, or is left by its caller, is not kept', async t => {
  let leave = false
  const script = await startScript(t, (body, response) => {
    if (!leave) { complete(body, response, { content: 'Hello.' }); return }
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"choices":[{"index":0,"delta":{"content":"half"}}]}\n\n')
  })
  const { client, records } = await startGateway(t, yaml(script))
  const openai = await client('acme')
  const first = await openai.responses.create({ model: 'm', input: 'One.' })
  leave = true
  const stream = await openai.responses.create({ model: 'm', input: 'Two.', stream: true, previous_response_id: first.id })
  let id = ''
  for await (const event of stream) {
    if (event.type === 'response.created') id = event.response.id
    if (event.type === 'response.output_text.delta') break
  }
  t.match(await records(2), [{ outcome: 'ok' }, { outcome: 'cancelled' }])
  await t.rejects(openai.responses.retrieve(id), { code: 'response_not_found' })
  await t.rejects(openai.responses.create({ model: 'm', input: 'x', previous_response_id: id }), { code: 'previous_response_not_found' })
  t.ok(await eventually(async () => (await openai.responses.retrieve(first.id)).id === first.id), 'and what it went on from is')
})
