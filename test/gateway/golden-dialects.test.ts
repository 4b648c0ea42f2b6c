/**
 * What each dialect says in front of each kind of backend, byte by byte, and what the backend hears: recorded in test/golden/dialects, one
 * file for each pair. Ids are drawn and clocks run, so both are written as what they are. `UPDATE_GOLDEN=1` records anew; look at the
 * difference before keeping it.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { test } from 'tap'
import { startGateway } from './harness.ts'
import { complete, events, startScript, type Members } from './script.ts'

const FOLDER = join(import.meta.dirname, '../golden/dialects')
const RECORDS = process.env['UPDATE_GOLDEN'] === '1'
const CREATED = 1_790_000_000

const PARAMETERS = { type: 'object', properties: { at: { type: 'string' } }, required: ['at'], additionalProperties: false }
/** What a backend is to do, by the last word that it hears. */
const CASES = ['Text.', 'Tool.', 'Cut.', 'Stop.', 'Refuse.', 'Break.'] as const
type Case = typeof CASES[number]

/** The same question in each dialect. */
const DIALECTS: Readonly<Record<string, { path: string, ask (what: Case): Members }>> = {
  chat: {
    path: '/v1/chat/completions',
    ask: what => ({ messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: what }], temperature: 0.5, max_tokens: 50, stop: ['END'], ...what === 'Tool.' ? { tools: [{ type: 'function', function: { name: 'look', parameters: PARAMETERS } }] } : {} })
  },
  messages: {
    path: '/v1/messages',
    ask: what => ({ system: 'Be brief.', messages: [{ role: 'user', content: what }], temperature: 0.5, max_tokens: 50, stop_sequences: ['END'], ...what === 'Tool.' ? { tools: [{ name: 'look', input_schema: PARAMETERS }] } : {} })
  },
  responses: {
    path: '/v1/responses',
    ask: what => ({ instructions: 'Be brief.', input: what, temperature: 0.5, max_output_tokens: 50, ...what === 'Tool.' ? { tools: [{ type: 'function', name: 'look', parameters: PARAMETERS, strict: true }] } : {} })
  },
  completions: { path: '/v1/completions', ask: what => ({ prompt: what, temperature: 0.5, max_tokens: 50, stop: 'END' }) }
}

type Answer = (what: Case, body: Members, response: ServerResponse) => void

/** As a server of local models speaks: thoughts apart, and what it alone tells. */
const local: Answer = (what, body, response) => {
  if (what === 'Text.' && body['messages'] !== undefined) complete(body, response, { reasoning_content: 'A greeting.', content: 'Hello to you.' })
  else openai(what, body, response)
}

const openai: Answer = (what, body, response) => {
  if (what === 'Refuse.') {
    response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":{"message":"Too warm.","type":"invalid_request_error","param":"temperature","code":"invalid_value"}}')
  } else if (what === 'Break.' && body['stream'] === true) {
    const piece = body['messages'] === undefined ? { text: 'Hel' } : { delta: { role: 'assistant', content: 'Hel' } }
    events(response, [{ id: 'c', object: 'chat.completion.chunk', created: CREATED, model: 'm', choices: [{ index: 0, ...piece, finish_reason: null }] }], '')
  } else if (what === 'Break.') {
    response.writeHead(500, { 'content-type': 'application/json' }).end('{"error":{"message":"Broken.","type":"server_error","param":null,"code":null}}')
  } else if (body['messages'] === undefined) {
    const finish = what === 'Cut.' ? 'length' : 'stop'
    const head = { id: 'cmpl-1', object: 'text_completion', created: CREATED, model: 'm' }
    const usage = { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 }
    const choice = (text: string, end: string | null) => ({ index: 0, text, logprobs: null, finish_reason: end })
    if (body['stream'] === true) events(response, [{ ...head, choices: [choice('Hello ', null)] }, { ...head, choices: [choice('to you.', finish)] }, ...body['stream_options']?.include_usage === true ? [{ ...head, choices: [], usage }] : []])
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ ...head, choices: [choice('Hello to you.', finish)], usage }))
  } else if (what === 'Tool.') {
    complete(body, response, { content: 'Let me look.', tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'look', arguments: '{"at":"it"}' } }] }, 'tool_calls')
  } else {
    complete(body, response, { content: 'Hello to you.' }, what === 'Cut.' ? 'length' : 'stop')
  }
}

const anthropic: Answer = (what, body, response) => {
  const send = (status: number, answer: unknown) => { response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer)) }
  if (what === 'Refuse.') { send(400, { type: 'error', error: { type: 'invalid_request_error', message: 'temperature: too warm.' } }); return }
  if (what === 'Break.' && body['stream'] !== true) { send(500, { type: 'error', error: { type: 'api_error', message: 'Broken.' } }); return }
  const text = { type: 'text', text: what === 'Tool.' ? 'Let me look.' : 'Hello to you.' }
  const use = { type: 'tool_use', id: 'toolu_1', name: 'look', input: { at: 'it' } }
  const content: Members[] = what === 'Tool.' ? [text, use] : [text]
  const stop = { stop_reason: { 'Cut.': 'max_tokens', 'Tool.': 'tool_use', 'Stop.': 'stop_sequence' }[what as string] ?? 'end_turn', stop_sequence: what === 'Stop.' ? 'END' : null }
  const head = { id: 'msg_1', type: 'message', role: 'assistant', model: 'm' }
  const usage = { input_tokens: 5, cache_read_input_tokens: 2, cache_creation_input_tokens: 0, output_tokens: 3 }
  if (body['stream'] !== true) { send(200, { ...head, content, ...stop, usage }); return }
  const blocks = content.flatMap((block, index) => [
    { type: 'content_block_start', index, content_block: block['type'] === 'text' ? { type: 'text', text: '' } : { ...block, input: {} } },
    { type: 'content_block_delta', index, delta: block['type'] === 'text' ? { type: 'text_delta', text: block['text'] } : { type: 'input_json_delta', partial_json: JSON.stringify(block['input']) } },
    { type: 'content_block_stop', index }
  ])
  const start = { type: 'message_start', message: { ...head, content: [], stop_reason: null, stop_sequence: null, usage: { ...usage, output_tokens: 1 } } }
  const said: Members[] = what === 'Break.' ? [start, ...blocks.slice(0, 2)] : [start, ...blocks, { type: 'message_delta', delta: stop, usage }, { type: 'message_stop' }]
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.end(said.map(event => `event: ${event['type']}\ndata: ${JSON.stringify(event)}\n\n`).join(''))
}

const KINDS: Readonly<Record<string, { answer: Answer, backend (url: string): string }>> = {
  local: { answer: local, backend: url => `{ name: local, kind: openai, baseUrl: ${url}, locality: local }` },
  openai: { answer: openai, backend: url => `{ name: openai, kind: openai, baseUrl: ${url}, locality: cloud, apiKey: { env: KEY } }` },
  anthropic: { answer: anthropic, backend: url => `{ name: anthropic, kind: anthropic, baseUrl: ${url.replace('/v1', '')}, locality: cloud, apiKey: { env: KEY } }` }
}

/** What is drawn or timed, as what it is; the same id always under the same name. */
function settled (said: string): string {
  const names = new Map<string, string>()
  return said
    .replaceAll(/\b(chatcmpl|cmpl|resp|msg|rs|fc|call|req)([-_])[0-9a-zA-Z]{24,52}\b/g, (id, prefix: string, dash: string) => names.get(id) ?? (names.set(id, `${prefix}${dash}${names.size}`), names.get(id)!))
    .replaceAll(/"(created|created_at|completed_at)":(\d{10})/g, (all, name: string, seconds: string) => Number(seconds) === CREATED ? all : `"${name}":0`)
}

for (const [kind, { answer, backend }] of Object.entries(KINDS)) {
  test(`every dialect in front of ${kind}`, { timeout: 60_000 }, async t => {
    let what: Case = 'Text.'
    const script = await startScript(t, (body, response) => { answer(what, body, response) })
    const { url, key } = await startGateway(t, `
backends: [${backend(script.url)}]
models: [{ name: m, targets: [{ backend: ${kind}, model: m }] }]
tenants: [{ name: acme }]
`, { KEY: 'sk-0123456789abcdef' })
    const headers = { authorization: `Bearer ${await key('acme')}`, 'content-type': 'application/json' }
    if (RECORDS) mkdirSync(FOLDER, { recursive: true })
    for (const [dialect, { path, ask }] of Object.entries(DIALECTS)) {
      const turns: string[] = []
      for (what of CASES) {
        for (const stream of [false, true]) {
          script.asked.length = 0
          const request = { model: 'm', ...ask(what), ...stream ? { stream } : {} }
          const got = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(request) })
          const answered = `${got.status} ${got.headers.get('content-type')}\n${(await got.text()).trimEnd()}`
          const heard = script.asked.map(({ path: at, body }) => `backend hears ${at} ${JSON.stringify(body)}\n`).join('')
          turns.push(`${path} ${JSON.stringify(request)}\n${heard}${settled(answered)}\n`)
        }
      }
      const file = join(FOLDER, `${dialect}-${kind}.txt`)
      const transcript = turns.join('\n----\n')
      if (RECORDS) writeFileSync(file, transcript)
      t.equal(transcript, existsSync(file) ? readFileSync(file, 'utf8') : 'not recorded: UPDATE_GOLDEN=1', `${dialect} in front of ${kind}`)
    }
  })
}

test('nothing is recorded that is not asked', async t => {
  t.strictSame(readdirSync(FOLDER).toSorted(), Object.keys(KINDS).flatMap(kind => Object.keys(DIALECTS).map(dialect => `${dialect}-${kind}.txt`)).toSorted())
})
