/** Backends that speak the Responses API themselves. */
import type { ServerResponse } from 'node:http'
import { test, type Test } from 'tap'
import { dataUrl, jpeg, png } from '../wire/pictures.ts'
import { startGateway } from './harness.ts'
import { complete, converse, startScript, type Members } from './script.ts'

const USAGE = { input_tokens: 11, input_tokens_details: { cached_tokens: 4 }, output_tokens: 5, output_tokens_details: { reasoning_tokens: 2 }, total_tokens: 16 }
const message = { type: 'message', id: 'msg_upstream', status: 'completed', role: 'assistant', content: [{ type: 'output_text', text: 'Native.', annotations: [], logprobs: [] }] }
const search = { type: 'web_search_call', id: 'ws_1', status: 'completed', action: { type: 'search', query: 'x' } }
const response = { id: 'resp_upstream', object: 'response', created_at: 1_790_000_000, status: 'in_progress', model: 'far', output: [], store: false, previous_response_id: null, error: null, usage: null, obscure: { kept: true } }
const done = { ...response, status: 'completed', output: [search, message], usage: USAGE }
const EVENTS = [
  { type: 'response.created', sequence_number: 0, response },
  { type: 'response.web_search_call.searching', sequence_number: 1, item_id: 'ws_1', output_index: 0 },
  { type: 'response.output_text.delta', sequence_number: 2, item_id: 'msg_upstream', output_index: 1, content_index: 0, delta: 'Nat ☃ response.completed "usage":{"input_tokens":900}', logprobs: [] },
  { type: 'response.completed', sequence_number: 3, response: done }
]
/** With blanks that no serialiser here would leave. */
const bytesOf = (events: readonly Members[]) => events.map(event => `event: ${event['type']}\ndata:  ${JSON.stringify(event)}\n\n`).join('')

function native (body: Members, answer: ServerResponse, bytes = bytesOf(EVENTS)): void {
  if (body['stream'] !== true) { answer.writeHead(200, { 'content-type': 'application/json' }).end(`${JSON.stringify(done)} `); return }
  answer.writeHead(200, { 'content-type': 'text/event-stream' })
  // In pieces that end anywhere.
  const whole = Buffer.from(bytes)
  for (let at = 0; at < whole.length; at += 97) answer.write(whole.subarray(at, at + 97))
  answer.end()
}

async function start (t: Test, behave = native, locality = 'cloud', order = '[{ backend: far, model: far }]') {
  const script = await startScript(t, (body, answer, path) => { if (path === '/v1/responses') behave(body, answer); else complete(body, answer, { content: 'By chat.' }) })
  const running = await startGateway(t, `
backends:
  - { name: far, kind: openai, baseUrl: ${script.url}, locality: ${locality}, responses: true }
  - { name: plain, kind: openai, baseUrl: ${script.url}, locality: ${locality} }
images: { maxPixels: 10000, maxCount: 2 }
models:
  - { name: m, targets: ${order} }
tenants: [{ name: acme, storeResponses: true }]
`)
  const key = await running.key('acme')
  const post = async (body: Members, headers: Members = {}) => {
    const answer = await fetch(`${running.url}/v1/responses`, { method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers }, body: JSON.stringify({ model: 'm', ...body }) })
    return { status: answer.status, headers: answer.headers, text: await answer.text() }
  }
  return { ...running, script, key, post, sent: () => script.asked.at(-1)! }
}

test('a call passes as it is, and its answer byte by byte', async t => {
  const { post, sent, records } = await start(t)
  const tools = [{ type: 'web_search', filters: { allowed_domains: ['x.org'] } }]
  const ask = { input: [{ role: 'user', content: 'Hi.' }], tools, store: false, truncation: 'auto', include: ['web_search_call.action.sources'], unheard: [1] }
  const whole = await post(ask)
  t.equal(whole.text, `${JSON.stringify(done)} `)
  const { stream, ...body } = sent().body
  t.equal(stream, false)
  t.strictSame(body, { ...ask, model: 'far', input: [{ type: 'message', role: 'user', content: 'Hi.' }] })
  const streamed = await post({ ...ask, stream: true })
  t.equal(streamed.text, bytesOf(EVENTS))
  t.match(streamed.headers.get('content-type'), /^text\/event-stream/)
  t.equal(streamed.headers.get('x-torchgate-warning'), null)
  const usage = { input_tokens: 11, output_tokens: 5, cached_input_tokens: 4, reasoning_tokens: 2 }
  t.match(await records(2), [{ endpoint: 'responses', outcome: 'ok', attempts: [{ target: 'far/far' }], usage }, { outcome: 'ok', usage }], 'and what it used is known, whatever its text says')
})

test('what is kept is the gateway\'s: the backend keeps nothing, and is told everything', async t => {
  const { client, sent } = await start(t)
  const openai = await client('acme')
  const first = await openai.responses.create({ model: 'm', input: 'One.' })
  t.match(sent().body, { store: false, include: ['reasoning.encrypted_content'] })
  t.match(first, { store: true, previous_response_id: null, obscure: { kept: true } })
  t.not(first.id, 'resp_upstream')
  t.equal((await openai.responses.retrieve(first.id)).id, first.id)
  const stream = await openai.responses.create({ model: 'm', input: 'Two.', previous_response_id: first.id, stream: true })
  const types: string[] = []
  for await (const event of stream as AsyncIterable<{ type: string }>) types.push(event.type)
  t.strictSame(types, EVENTS.map(({ type }) => type))
  t.notOk('previous_response_id' in sent().body)
  t.match(sent().body['input'], [{ role: 'user' }, { type: 'web_search_call' }, { type: 'message', role: 'assistant' }, { role: 'user' }])
  t.notOk(sent().body['input'].some((item: Members) => 'id' in item), 'ids would be looked up there')
  const items = await openai.responses.inputItems.list((await openai.responses.create({ model: 'm', input: 'Three.', previous_response_id: first.id })).id)
  t.equal(items.data.length, 4)
})

test('hosted tools stay where the call has to stay', async t => {
  const { post, sent } = await start(t, native, 'domain')
  const tools = [{ type: 'web_search' }, { type: 'function', name: 'look', parameters: {} }, { type: 'mcp', server_url: 'https://evil.example', server_label: 'x' }]
  const kept = await post({ input: 'x', tools }, { 'x-torchgate-class': 'confidential' })
  t.equal(kept.status, 200)
  t.strictSame(sent().body['tools'].map(({ type }: Members) => type), ['function'])
  t.match(kept.headers.get('x-torchgate-warning'), /tools\[0\]: web_search would leave the boundary.*tools\[2\]: mcp/)
  await post({ input: 'x', tools: [...tools, { type: 'file_search', vector_store_ids: ['vs'] }] }, { 'x-torchgate-class': 'public' })
  t.strictSame(sent().body['tools'].map(({ type }: Members) => type), ['web_search', 'function', 'mcp'], 'what belongs to the account stays the operator\'s')
})

test('hosted tools that come within others, or with an item, stay there too', async t => {
  const { post, sent } = await start(t, native, 'domain')
  const [evil, mine] = [{ type: 'mcp', server_url: 'https://evil.example', server_label: 'x' }, { type: 'function', name: 'look', parameters: {} }]
  const listed = { type: 'mcp_list_tools', server_label: 'x', tools: [{ name: 'find', input_schema: {} }] }
  const body = {
    tools: [{ type: 'namespace', name: 'n', description: 'N', tools: [evil, mine] }],
    input: [{ type: 'message', role: 'user', content: 'x' }, { type: 'additional_tools', role: 'developer', tools: [{ type: 'web_search' }, mine] }, { type: 'tool_search_output', call_id: 'c', tools: [evil, mine] }, listed]
  }
  const kept = await post(body, { 'x-torchgate-class': 'confidential' })
  t.equal(kept.status, 200)
  t.match(kept.headers.get('x-torchgate-warning'), /tools\[0\]\.tools\[0\]: mcp would leave.*input\[1\]\.tools\[0\]: web_search.*input\[2\]\.tools\[0\]: mcp/)
  t.notMatch(JSON.stringify(sent().body), /evil|web_search/)
  t.match(sent().body, { tools: [{ name: 'n', tools: [mine] }], input: [{}, { tools: [mine] }, { tools: [mine] }, listed] })
  await post(body, { 'x-torchgate-class': 'public' })
  t.match(sent().body, body, 'and go with a call that may go anywhere')
})

test('state, the background and the operator\'s own parameters are refused there too', async t => {
  const { post, script } = await start(t)
  for (const [body, param] of [
    [{ background: true }, 'background'], [{ conversation: 'conv_1' }, 'conversation'], [{ prompt: { id: 'p' } }, 'prompt'], [{ base_url: 'http://x' }, 'base_url'],
    [{ input: [{ role: 'user', content: [{ type: 'input_image', file_id: 'f' }] }] }, 'input[0].content[0].file_id'], [{ temperature: 9 }, 'temperature'],
    [{ input: [{ role: 'user', content: [{ type: 'input_file', file_url: 'http://x' }] }] }, 'input[0].content[0].file_url'],
    [{ input: [{ type: 'computer_call_output', call_id: 'c', output: { type: 'computer_screenshot', image_url: 'http://10.0.0.1/x' } }] }, 'input[0].output.image_url'],
    [{ tools: [{ type: 'code_interpreter', container: 'cntr_1' }] }, 'tools[0].container'],
    [{ tools: [{ type: 'code_interpreter', container: { type: 'auto', file_ids: ['file-1'] } }] }, 'tools[0].container.file_ids'],
    [{ tools: [{ type: 'image_generation', input_image_mask: { image_url: 'http://10.0.0.1/x' } }] }, 'tools[0].input_image_mask.image_url'],
    [{ previous_response_id: 'resp_x' }, 'previous_response_id'], [{ input: [{ type: 'item_reference', id: 'msg_x' }] }, 'input[0].id']
  ] as [Members, string][]) {
    const { status, text } = await post({ input: 'x', ...body })
    t.equal(status, 400, param)
    t.equal(JSON.parse(text).error.param, param)
  }
  t.equal(script.asked.length, 0)
  const mine = { type: 'function', name: 'look', parameters: { type: 'object', properties: { file_ids: { type: 'array' }, container: { type: 'string' } } } }
  t.equal((await post({ input: 'x', tools: [mine, { type: 'code_interpreter', container: { type: 'auto' } }] })).status, 200)
})

test('images are bounded also where nobody else could read the input', async t => {
  const { post, script, records } = await start(t)
  const shot = (url: string) => ({ type: 'computer_call_output', call_id: 'c', output: { type: 'computer_screenshot', image_url: url } })
  const seen = (url: string) => ({ role: 'user', content: [{ type: 'input_image', image_url: url }] })
  const [good, large] = [dataUrl('png', png(100, 100)), dataUrl('jpeg', jpeg(101, 100))]
  for (const [input, param, says] of [
    [[shot(good), shot(large)], 'input[1].output.image_url', /101 x 100 pixels/],
    [[shot(good), seen(large)], 'input[1].content[0].image_url', /101 x 100 pixels/],
    [[shot(good), seen(good), shot(good)], 'input', /at most 2 images/]
  ] as [Members[], string, RegExp][]) {
    const { status, text } = await post({ input })
    t.equal(status, 400)
    t.match(JSON.parse(text).error, { param, message: says })
  }
  t.equal(script.asked.length, 0)
  t.equal((await post({ input: [shot(good), seen(good)] })).status, 200)
  t.match((await records(4)).map(({ outcome }) => outcome).at(-1), 'ok')
})

test('where the first target fails the next one answers, in chat completions if it has to', async t => {
  const { post, script } = await start(t, (_body, answer) => { answer.writeHead(503).end() }, 'cloud', '[{ backend: far, model: far }, { backend: plain, model: near }]')
  const { status, text, headers } = await post({ input: 'x', tools: [{ type: 'web_search' }], stream: true })
  t.equal(status, 200, text)
  t.strictSame(script.asked.map(({ path }) => path), ['/v1/responses', '/v1/chat/completions'])
  t.match(text, /^event: response\.created\ndata: .*By chat\..*event: response\.completed/s)
  t.match(headers.get('x-torchgate-warning'), /web_search is not served/)
  const only = await post({ input: [{ type: 'web_search_call', id: 'ws' }, { role: 'user', content: 'x' }] })
  t.equal(only.status, 502, 'what only the first can read is not tried at the other')
  t.strictSame(script.asked.map(({ path }) => path), ['/v1/responses', '/v1/chat/completions', '/v1/responses'])
})

test('a stream that breaks off, or fails, ends as one and is recorded as one', async t => {
  let bytes = bytesOf(EVENTS.slice(0, 3))
  const { post, records, script } = await start(t, (body, answer) => { native(body, answer, bytes) })
  const cut = await post({ input: 'x', stream: true, store: false })
  t.ok(cut.text.startsWith(bytes))
  t.match(cut.text.slice(bytes.length), /^event: error\ndata: \{"type":"error","sequence_number":3,.*backend_interrupted.*\n\nevent: response\.failed\ndata: .*"sequence_number":4.*"obscure".*\n\n$/)
  bytes = bytesOf([EVENTS[0]!, { type: 'response.failed', sequence_number: 1, response: { ...response, status: 'failed', error: { code: 'server_error', message: 'No.' } } }])
  const failed = await post({ input: 'x', stream: true, store: false })
  t.equal(failed.text, bytes, 'the backend has said so itself')
  bytes = bytesOf([EVENTS[0]!, { type: 'error', sequence_number: 1, error: { type: 'server_error', code: null, message: 'Broken.', param: null } }])
  const errored = await post({ input: 'x', stream: true, store: false })
  t.match(errored.text, /"type":"response\.created".*"code":"backend_interrupted".*response\.failed/s)
  t.equal(errored.text.match(/^event: error$/gm)?.length, 1)
  t.match(await records(3), [{ outcome: 'upstream_error', error: 'backend_interrupted' }, { outcome: 'upstream_error', error: 'backend_failed' }, { outcome: 'upstream_error' }])
  t.equal(script.asked.length, 3)
})

test('over a WebSocket too', async t => {
  const { url, key, sent } = await start(t)
  const { say } = await converse(t, url, key)
  const { events, last } = await say({ type: 'response.create', model: 'm', store: false, input: 'One.' })
  t.strictSame(events.map(({ type }) => type), EVENTS.map(({ type }) => type))
  await say({ type: 'response.create', model: 'm', store: false, input: 'Two.', previous_response_id: last['response'].id })
  t.equal(sent().body['input'].length, 4)
})

test('over a WebSocket too, from a backend that writes no blank after data:', async t => {
  const terse = bytesOf(EVENTS).replaceAll('\ndata:  ', '\ndata:')
  const { url, key } = await start(t, (body, answer) => { native(body, answer, terse) })
  const { events } = await (await converse(t, url, key)).say({ type: 'response.create', model: 'm', store: false, input: 'One.' })
  t.strictSame(events.map(({ type }) => type), EVENTS.map(({ type }) => type))
})
