import type OpenAI from 'openai'
import { test } from 'tap'
import { GatewayError } from '../../../src/errors.ts'
import type { ChatChunk, ChatCompletion } from '../../../src/wire/chat.ts'
import { ResponseAnswer } from '../../../src/wire/responses/answer.ts'
import { readRequest } from '../../../src/wire/responses/request.ts'

type Body = Record<string, unknown>
type Event = { type: string, sequence_number: number, [member: string]: unknown }

const TOOLS = [
  { type: 'function', name: 'look', parameters: { type: 'object' } },
  { type: 'custom', name: 'patch' },
  { type: 'namespace', name: 'files', tools: [{ type: 'function', name: 'read' }] }
]

function answering (more: Body = {}): ResponseAnswer {
  return new ResponseAnswer({ request: readRequest({ model: 'm', input: 'hi', ...more }), stored: false })
}

const head = { id: 'chatcmpl-1', created: 1, model: 'x' }
const usage = { prompt_tokens: 7, completion_tokens: 5, total_tokens: 12, prompt_tokens_details: { cached_tokens: 2 }, completion_tokens_details: { reasoning_tokens: 1 } }
const chunk = (delta: Body, finish: string | null = null, logprobs: unknown = null): ChatChunk =>
  ({ ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta, logprobs, finish_reason: finish }] }) as unknown as ChatChunk
const counted = { ...head, object: 'chat.completion.chunk', choices: [], usage } as unknown as ChatChunk

/** What is written is whole events, each named as its data says. */
function eventsOf (text: string): Event[] {
  return text.split('\n\n').filter(part => part !== '').map(part => {
    const [name, data, ...rest] = part.split('\n')
    const event = JSON.parse(data!.slice('data: '.length)) as Event
    if (rest.length > 0 || name !== `event: ${event.type}`) throw new Error(`not an event: ${part}`)
    return event
  })
}

function streamed (chunks: ChatChunk[], more: Body = {}): Event[] {
  const answer = answering({ stream: true, ...more })
  return eventsOf(chunks.map(one => answer.chunk(one)).join('') + answer.end())
}

const responseOf = (events: Event[]) => events.at(-1)!['response'] as OpenAI.Responses.Response
const typesOf = (events: Event[]) => events.map(({ type }) => type.replace(/^response\./, ''))
/** Ids and times are new each time. */
const plain = (value: unknown) => JSON.parse(JSON.stringify(value).replaceAll(/"(?:rs|msg|fc|ctc|resp)_[0-9a-f]{48,52}"/g, '"id"').replaceAll(/"(created_at|completed_at)":\d+/g, '"$1":1')) as Body

function completion (message: Body, finish = 'stop', more: Body = {}): ChatCompletion {
  return { ...head, object: 'chat.completion', choices: [{ index: 0, message: { role: 'assistant', content: null, refusal: null, ...message }, logprobs: null, finish_reason: finish, ...more }], usage } as unknown as ChatCompletion
}

test('a plain answer: names, order and numbers are the official ones', async t => {
  const events = streamed([chunk({ role: 'assistant', content: '' }), chunk({ content: 'Hel' }), chunk({ content: 'lo' }), chunk({}, 'stop'), counted])
  t.strictSame(typesOf(events), ['created', 'in_progress', 'output_item.added', 'content_part.added', 'output_text.delta', 'output_text.delta', 'output_text.done', 'content_part.done', 'output_item.done', 'completed'])
  t.strictSame(events.map(event => event.sequence_number), events.map((_, index) => index))
  const [created, , added, part, delta, , done, partDone, itemDone] = events
  const response = responseOf(events)
  const item = response.output[0] as OpenAI.Responses.ResponseOutputMessage
  t.match(created!['response'], { id: response.id, object: 'response', status: 'in_progress', model: 'm', output: [], usage: null, completed_at: null, created_at: response.created_at })
  t.strictSame(added!['item'], { id: item.id, type: 'message', status: 'in_progress', role: 'assistant', content: [] })
  t.strictSame(part!['part'], { type: 'output_text', text: '', annotations: [], logprobs: [] })
  t.strictSame(delta, { type: 'response.output_text.delta', sequence_number: 4, item_id: item.id, output_index: 0, content_index: 0, delta: 'Hel', logprobs: [] })
  t.match(done, { item_id: item.id, output_index: 0, content_index: 0, text: 'Hello', logprobs: [] })
  t.strictSame(partDone!['part'], { type: 'output_text', text: 'Hello', annotations: [], logprobs: [] })
  t.strictSame(itemDone!['item'], item)
  t.strictSame(item, { id: item.id, type: 'message', status: 'completed', role: 'assistant', content: [{ type: 'output_text', text: 'Hello', annotations: [], logprobs: [] }] })
  t.strictSame(response.usage, { input_tokens: 7, input_tokens_details: { cached_tokens: 2 }, output_tokens: 5, output_tokens_details: { reasoning_tokens: 1 }, total_tokens: 12 })
  t.match(response.id, /^resp_[0-9a-f]{48}$/)
  t.type(response.completed_at, 'number')
})

test('every member of a response is there, and repeats the request', async t => {
  const response = answering().whole(completion({ content: 'Hello' }))
  t.strictSame(plain(response), {
    id: 'id', object: 'response', created_at: 1, completed_at: 1, status: 'completed', error: null, incomplete_details: null,
    output: [{ id: 'id', type: 'message', status: 'completed', role: 'assistant', content: [{ type: 'output_text', text: 'Hello', annotations: [], logprobs: [] }] }],
    usage: { input_tokens: 7, input_tokens_details: { cached_tokens: 2 }, output_tokens: 5, output_tokens_details: { reasoning_tokens: 1 }, total_tokens: 12 },
    background: false, instructions: null, max_output_tokens: null, max_tool_calls: null, model: 'm', parallel_tool_calls: true, previous_response_id: null,
    prompt_cache_key: null, reasoning: { effort: null, summary: null }, safety_identifier: null, service_tier: 'default', temperature: 1, top_p: 1,
    presence_penalty: 0, frequency_penalty: 0, top_logprobs: 0, text: { format: { type: 'text' } }, tool_choice: 'auto', tools: [], truncation: 'disabled',
    user: null, metadata: {}, store: false
  })
  const given = {
    instructions: 'be', max_output_tokens: 20, temperature: 0.5, top_p: 0.5, metadata: { a: 'b' }, parallel_tool_calls: false, tool_choice: 'required',
    text: { format: { type: 'json_object' }, verbosity: 'low' }, reasoning: { effort: 'low', summary: 'auto' }, top_logprobs: 2, user: 'u', tools: [...TOOLS, { type: 'web_search' }]
  }
  const repeated = answering(given).whole(completion({ content: 'Hello' })) as Body
  t.match(repeated, { ...given, tools: TOOLS })
  t.equal((repeated['tools'] as unknown[]).length, TOOLS.length, 'a tool that is not offered is not named')
})

const LOGPROB = { token: 'H', logprob: -0.5, bytes: [72], top_logprobs: [] }
const CASES: Record<string, { message: Body, finish?: string, logprobs?: unknown, request?: Body, types: string[] }> = {
  'reasoning and text': {
    message: { reasoning_content: 'hm, so', content: 'Hello there' },
    types: ['output_item.added', 'content_part.added', 'reasoning_text.delta', 'reasoning_text.done', 'content_part.done', 'output_item.done', 'output_item.added', 'content_part.added', 'output_text.delta', 'output_text.done', 'content_part.done', 'output_item.done', 'completed']
  },
  'reasoning as a summary': {
    message: { reasoning: 'hm, so', content: 'Hello there' },
    request: { reasoning: { summary: 'auto' } },
    types: ['output_item.added', 'reasoning_summary_part.added', 'reasoning_summary_text.delta', 'reasoning_summary_text.done', 'reasoning_summary_part.done', 'output_item.done', 'output_item.added', 'content_part.added', 'output_text.delta', 'output_text.done', 'content_part.done', 'output_item.done', 'completed']
  },
  'a refusal': {
    message: { refusal: 'I will not' },
    types: ['output_item.added', 'content_part.added', 'refusal.delta', 'refusal.done', 'content_part.done', 'output_item.done', 'completed']
  },
  'text and two calls': {
    message: { content: 'Let me look', tool_calls: [{ id: 'c1', type: 'function', function: { name: 'look', arguments: '{"at":1}' } }, { id: 'c2', type: 'function', function: { name: 'files__read', arguments: '{}' } }] },
    finish: 'tool_calls',
    types: ['output_item.added', 'content_part.added', 'output_text.delta', 'output_text.done', 'content_part.done', 'output_item.done', 'output_item.added', 'function_call_arguments.delta', 'output_item.added', 'function_call_arguments.delta', 'function_call_arguments.done', 'output_item.done', 'function_call_arguments.done', 'output_item.done', 'completed']
  },
  'a call of a custom tool': {
    message: { tool_calls: [{ id: 'c1', type: 'function', function: { name: 'patch', arguments: '{"input":"*** a\\n\\"b\\""}' } }] },
    finish: 'tool_calls',
    types: ['output_item.added', 'custom_tool_call_input.delta', 'custom_tool_call_input.done', 'output_item.done', 'completed']
  },
  'an answer cut off': {
    message: { content: 'Hello the' },
    finish: 'length',
    types: ['output_item.added', 'content_part.added', 'output_text.delta', 'output_text.done', 'content_part.done', 'output_item.done', 'incomplete']
  },
  'an answer with likelihoods': {
    message: { content: 'H' },
    logprobs: { content: [LOGPROB], refusal: null },
    request: { top_logprobs: 1 },
    types: ['output_item.added', 'content_part.added', 'output_text.delta', 'output_text.done', 'content_part.done', 'output_item.done', 'completed']
  },
  'no words at all': { message: { content: '' }, types: ['completed'] }
}

/** The chunks of a message, its texts cut after `at` characters. */
function chunksOf (message: Body, finish: string, logprobs: unknown, at: number): ChatChunk[] {
  const chunks: ChatChunk[] = [chunk({ role: 'assistant', content: '' })]
  const push = (name: string) => {
    const value = message[name]
    if (typeof value !== 'string') return
    for (const piece of [value.slice(0, at), value.slice(at)]) if (piece !== '') chunks.push(chunk({ [name]: piece }, null, logprobs))
  }
  for (const name of ['reasoning_content', 'reasoning', 'content', 'refusal']) push(name)
  const calls = (message['tool_calls'] ?? []) as { id: string, function: { name: string, arguments: string } }[]
  for (const [index, call] of calls.entries()) chunks.push(chunk({ tool_calls: [{ index, id: call.id, type: 'function', function: { name: call.function.name, arguments: '' } }] }))
  for (const [index, call] of calls.entries()) {
    for (const piece of [call.function.arguments.slice(0, at), call.function.arguments.slice(at)]) chunks.push(chunk({ tool_calls: [{ index, function: { arguments: piece } }] }))
  }
  return [...chunks, chunk({}, finish), counted]
}

for (const [name, { message, finish = 'stop', logprobs = null, request = {}, types }] of Object.entries(CASES)) {
  test(`${name}: a stream says what a body says, wherever it is cut`, async t => {
    const asked = { tools: TOOLS, ...request }
    const whole = plain(answering(asked).whole(completion(message, finish, { logprobs })))
    for (let at = 1; at <= 24; at++) {
      const events = streamed(chunksOf(message, finish, logprobs, at), asked)
      t.strictSame(plain(responseOf(events)), whole, `cut after ${at}`)
      t.strictSame(events.map(event => event.sequence_number), events.map((_, index) => index))
      const open = new Set<unknown>()
      for (const event of events) {
        if (event.type === 'response.output_item.added') open.add((event['item'] as Body)['id'])
        else if (event.type === 'response.output_item.done') open.delete((event['item'] as Body)['id'])
        else if ('item_id' in event && !open.has(event['item_id'])) t.fail(`${event.type} outside its item`)
      }
      t.equal(open.size, 0)
    }
    t.strictSame(new Set(typesOf(streamed(chunksOf(message, finish, logprobs, 1000), asked))), new Set(['created', 'in_progress', ...types]))
    const body = typesOf(eventsOf(wholeEvents(message, finish, logprobs, asked)))
    t.strictSame(body, ['created', 'in_progress', ...types])
  })
}

/** The events of a message that comes in one chunk. */
function wholeEvents (message: Body, finish: string, logprobs: unknown, asked: Body): string {
  const answer = answering({ stream: true, ...asked })
  const calls = message['tool_calls'] as Body[] | undefined
  const delta = { ...message, ...calls !== undefined && { tool_calls: calls.map((call, index) => ({ index, ...call })) } }
  return answer.chunk(chunk(delta, finish, logprobs)) + answer.chunk(counted) + answer.end()
}

test('calls come back under the names the caller gave', async t => {
  const { output } = answering({ tools: TOOLS }).whole(completion({ tool_calls: [
    { id: 'c1', type: 'function', function: { name: 'look', arguments: '{}' } },
    { id: 'c2', type: 'function', function: { name: 'files__read', arguments: '{"a":1}' } },
    { id: 'c3', type: 'function', function: { name: 'patch', arguments: '{"input":"a\\nb"}' } },
    { id: 'c4', type: 'function', function: { name: 'patch', arguments: 'bare' } }
  ] }, 'tool_calls')) as { output: Body[] }
  t.match(output, [
    { type: 'function_call', status: 'completed', call_id: 'c1', name: 'look', arguments: '{}' },
    { type: 'function_call', call_id: 'c2', name: 'read', namespace: 'files', arguments: '{"a":1}' },
    { type: 'custom_tool_call', call_id: 'c3', name: 'patch', input: 'a\nb' },
    { type: 'custom_tool_call', call_id: 'c4', name: 'patch', input: 'bare' }
  ])
  t.notOk('namespace' in output[0]!)
})

test('what was cut off is incomplete and says why', async t => {
  const cut = answering().whole(completion({ content: 'Hel' }, 'length'))
  t.match(cut, { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }, completed_at: null, error: null, output: [{ status: 'incomplete' }] })
  t.match(answering().whole(completion({ content: 'Hel' }, 'content_filter')), { status: 'incomplete', incomplete_details: { reason: 'content_filter' } })
})

test('an answer that breaks off says so twice: as the error that SDKs raise, and as a failed response', async t => {
  const answer = answering({ stream: true })
  const before = answer.chunk(chunk({ content: 'Hel' }))
  const events = eventsOf(before + answer.failed(new GatewayError('backend_interrupted', 'It broke.')))
  t.strictSame(typesOf(events).slice(-2), ['error', 'failed'])
  t.match(events.at(-2), { code: 'backend_interrupted', message: 'It broke.', param: null, error: { type: 'server_error', code: 'backend_interrupted' } })
  t.match(events.at(-1), { response: { status: 'failed', error: { code: 'server_error', message: 'It broke.' }, output: [{ type: 'message', status: 'incomplete', content: [{ text: 'Hel' }] }] } })
  t.strictSame(events.map(event => event.sequence_number), events.map((_, index) => index))
  t.equal(answer.end(), '', 'and nothing after it')
  t.equal(answer.failed(new GatewayError('backend_interrupted', 'Again.')), '')
})

test('an answer without bound is broken off, and so are calls without names', async t => {
  const long = answering()
  const piece = chunk({ content: 'x'.repeat(1024 * 1024) })
  t.throws(() => { for (let count = 0; count < 20; count++) long.chunk(piece) }, { code: 'backend_invalid_answer' })
  t.throws(() => answering().chunk(chunk({ tool_calls: [{ index: 0, function: { arguments: '{}' } }] })), { code: 'backend_invalid_answer' })
  t.throws(() => answering().chunk(chunk({ tool_calls: Array.from({ length: 129 }, (_, index) => ({ index, id: `c${index}`, function: { name: 'look', arguments: '' } })) })), { code: 'backend_invalid_answer' })
})

test('a backend that counts nothing leaves usage null', async t => {
  const { usage: _, ...uncounted } = completion({ content: 'x' })
  t.equal((answering().whole(uncounted as ChatCompletion) as Body)['usage'], null)
})

test('whoever keeps the response is told of it once, when it is whole', async t => {
  const kept: Body[] = []
  const facts = { request: readRequest({ model: 'm', input: 'hi', stream: true }), stored: true, onEnd: (response: Body) => { kept.push(response) } }
  const answer = new ResponseAnswer(facts)
  answer.chunk(chunk({ content: 'a' }, 'stop'))
  t.equal(kept.length, 0)
  answer.end()
  answer.end()
  t.match(kept, [{ status: 'completed', store: true, id: answer.id }])
  t.equal(kept.length, 1)
  const broken = new ResponseAnswer(facts)
  broken.failed(new GatewayError('backend_interrupted', 'x'))
  t.equal(kept.length, 1, 'and not of one that failed')
})
