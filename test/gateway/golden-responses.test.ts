/** What /v1/responses says, byte by byte: requests and answers as they are recorded in test/golden/responses. */
import { test } from 'tap'
import { compare, heard } from './golden.ts'
import { startGateway } from './harness.ts'
import { complete, converse, events, startScript, type Members } from './script.ts'

const TOOL = { type: 'function', name: 'look', description: 'Looks.', parameters: { type: 'object', properties: { at: { type: 'string' } } }, strict: true }
const CALL = { id: 'call_1', type: 'function', function: { name: 'look', arguments: '{"at":"it"}' } }
const chunk = (delta: Members, finish: string | null = null, more: Members = {}) =>
  ({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: finish, ...more }] })

interface Case { readonly body: Members, readonly answer: Parameters<typeof startScript>[1], readonly path?: string, readonly isSocket?: boolean }

const text: Case['answer'] = (body, response) => { complete(body, response, { content: 'Hello to you.' }) }
const calls: Case['answer'] = (body, response) => { complete(body, response, { content: 'Let me look.', tool_calls: [CALL, { ...CALL, id: 'call_2' }] }, 'tool_calls') }

const CASES: Readonly<Record<string, Case>> = {
  text: { body: { input: 'Hi.' }, answer: text },
  'text-stream': { body: { input: 'Hi.', stream: true }, answer: text },
  'everything-asked': {
    body: {
      input: 'Hi.', instructions: 'Be brief.', temperature: 0.5, top_p: 0.9, max_output_tokens: 64, metadata: { a: 'b' }, parallel_tool_calls: false, service_tier: 'flex',
      text: { verbosity: 'low', format: { type: 'json_schema', name: 'x', schema: { type: 'object' }, strict: true } }, reasoning: { effort: 'low', summary: 'auto' },
      tools: [TOOL], tool_choice: { type: 'function', name: 'look' }, truncation: 'disabled', prompt_cache_key: 'k', safety_identifier: 's', user: 'u', max_tool_calls: 3
    },
    answer: calls
  },
  'calls-stream': { body: { input: 'Hi.', stream: true, tools: [TOOL] }, answer: calls },
  'reasoning-stream': { body: { input: 'Hi.', stream: true }, answer: (body, response) => { complete(body, response, { reasoning_content: 'First this, then that.', content: 'Done.' }) } },
  'reasoning-summary-stream': { body: { input: 'Hi.', stream: true, reasoning: { summary: 'auto' } }, answer: (body, response) => { complete(body, response, { reasoning: 'First this.', content: 'Done.' }) } },
  'custom-tool-stream': {
    body: { input: 'Hi.', stream: true, tools: [{ type: 'custom', name: 'patch' }] },
    answer: (body, response) => { complete(body, response, { tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'patch', arguments: '{"input":"a\\nb"}' } }] }, 'tool_calls') }
  },
  'namespace-stream': {
    body: { input: 'Hi.', stream: true, tools: [{ type: 'namespace', name: 'team', tools: [TOOL] }, { type: 'web_search' }] },
    answer: (body, response) => { complete(body, response, { tool_calls: [{ ...CALL, function: { ...CALL.function, name: 'team__look' } }] }, 'tool_calls') }
  },
  'refusal-stream': { body: { input: 'Hi.', stream: true }, answer: (body, response) => { complete(body, response, { refusal: 'I will not.' }) } },
  'logprobs-stream': {
    body: { input: 'Hi.', stream: true, top_logprobs: 1, include: ['message.output_text.logprobs'] },
    answer: (_body, response) => { events(response, [chunk({ content: 'a' }, null, { logprobs: { content: [{ token: 'a', logprob: -0.5, bytes: [97], top_logprobs: [{ token: 'a', logprob: -0.5, bytes: [97] }] }] } }), chunk({}, 'stop')]) }
  },
  'cut-off': { body: { input: 'Hi.' }, answer: (body, response) => { complete(body, response, { content: 'Hel' }, 'length') } },
  'cut-off-stream': { body: { input: 'Hi.', stream: true }, answer: (body, response) => { complete(body, response, { content: 'Hel' }, 'length') } },
  'filtered-stream': { body: { input: 'Hi.', stream: true }, answer: (body, response) => { complete(body, response, { content: 'Hel' }, 'content_filter') } },
  'broken-stream': { body: { input: 'Hi.', stream: true }, answer: (_body, response) => { events(response, [chunk({ content: 'Hel' })], '') } },
  'failed-stream': { body: { input: 'Hi.', stream: true }, answer: (_body, response) => { events(response, [chunk({ content: 'Hel' }), { error: { message: 'Broken.', type: 'server_error', code: null, param: null } }], '') } },
  refused: { body: { input: 'Hi.', background: true }, answer: text },
  'backend-refuses': { body: { input: 'Hi.', stream: true }, answer: (_body, response) => { response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":{"message":"Too warm.","type":"invalid_request_error","param":"temperature","code":"invalid_value"}}') } },
  compact: { path: '/compact', body: { input: [{ role: 'user', content: 'We launch.' }, { role: 'assistant', content: 'Yes.' }] }, answer: text },
  'socket-text': { body: { input: 'Hi.', store: false, stream_id: 'one', tools: [{ type: 'web_search' }] }, answer: text, isSocket: true },
  'socket-broken': { body: { input: 'Hi.', store: false }, answer: (_body, response) => { events(response, [chunk({ content: 'Hel' })], '') }, isSocket: true },
  'socket-refused': { body: { input: 'Hi.', previous_response_id: 'resp_none' }, answer: text, isSocket: true }
}

test('every recorded answer is given again, byte by byte', async t => {
  let answer: Case['answer'] = text
  const script = await startScript(t, (body, response, path) => { answer(body, response, path) })
  const { url, key } = await startGateway(t, `
backends: [{ name: far, kind: openai, baseUrl: ${script.url}, locality: local }]
models: [{ name: m, targets: [{ backend: far, model: m }] }]
tenants: [{ name: acme }]
`)
  const apiKey = await key('acme')
  const transcripts = new Map<string, string>()
  for (const [name, { body, path = '', isSocket = false, ...one }] of Object.entries(CASES)) {
    answer = one.answer
    const request = isSocket ? { type: 'response.create', model: 'm', ...body } : { model: 'm', ...body }
    let said = ''
    if (isSocket) {
      const { say, socket } = await converse(t, url, apiKey)
      said = (await say(request)).events.map(event => JSON.stringify(event)).join('\n')
      socket.close()
    } else {
      said = await heard(await fetch(`${url}/v1/responses${path}`, { method: 'POST', headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' }, body: JSON.stringify(request) }))
    }
    transcripts.set(name, `${JSON.stringify(request)}\n--\n${said}\n`)
  }
  compare(t, 'responses', transcripts)
})
