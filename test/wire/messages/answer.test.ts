import { test } from 'tap'
import { GatewayError } from '../../../src/errors.ts'
import { MessageStream, toMessage, type AnswerFacts } from '../../../src/wire/messages/answer.ts'
import { errorBody, errorStatus } from '../../../src/wire/messages/errors.ts'
import type { ChatChunk, ChatCompletion } from '../../../src/wire/chat.ts'
import { messageOf, parsed, type Message } from './events.ts'

type Members = Record<string, unknown>
interface Call { id: string, type: string, function: { name: string, arguments: string } }
interface Said { reasoning_content?: string, content?: string | null, refusal?: string, tool_calls?: Call[] }

const FACTS: AnswerFacts = { id: 'req_0123', model: 'mine', stopSequences: ['END'], showsThoughts: true, counted: () => ({ input: 5, output: 6 }) }
const USAGE = { prompt_tokens: 20, completion_tokens: 9, total_tokens: 29, prompt_tokens_details: { cached_tokens: 15 }, completion_tokens_details: { reasoning_tokens: 4 } }

const completion = (message: Said, finish = 'stop', more: Members = {}, usage: unknown = USAGE) => ({
  id: 'c', object: 'chat.completion', created: 1, model: 'theirs', choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: finish, ...more }], usage
}) as unknown as ChatCompletion
const message = (given: ChatCompletion, facts = FACTS) => toMessage(given, facts) as Message
const call = (id: string, name: string, json: string) => ({ id, type: 'function', function: { name, arguments: json } })

/** The stream of a completion, its texts cut into pieces of so many characters. */
function chunksOf ({ choices: [choice], usage }: ChatCompletion, size: number): ChatChunk[] {
  const { message: said, finish_reason: finish, ...more } = choice as unknown as { message: Said, finish_reason: string }
  const chunk = (delta: Members, reason: string | null = null, rest: Members = {}) => ({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'theirs', choices: [{ index: 0, delta, finish_reason: reason, ...rest }] })
  const cut = (text: string | null = '') => (text ?? '').match(new RegExp(`[^]{1,${size}}`, 'gu')) ?? []
  const calls = said.tool_calls ?? []
  return [
    chunk({ role: 'assistant', content: '' }),
    ...cut(said.reasoning_content).map(text => chunk({ reasoning_content: text })),
    ...cut(said.content).map(content => chunk({ content })),
    ...cut(said.refusal).map(refusal => chunk({ refusal })),
    ...calls.flatMap(({ id, type, function: { name, arguments: json } }, index) => [
      chunk({ tool_calls: [{ index, id, type, function: { name, arguments: '' } }] }),
      ...cut(json).map(piece => chunk({ tool_calls: [{ index, function: { arguments: piece } }] }))
    ]),
    chunk({}, finish, more),
    { ...chunk({}), choices: [], usage }
  ] as unknown as ChatChunk[]
}

const streamed = (chunks: readonly ChatChunk[], facts = FACTS) => {
  const stream = new MessageStream(facts)
  return chunks.map(chunk => stream.chunk(chunk)).join('') + stream.end()
}

const ANSWERS: Record<string, { given: ChatCompletion, wanted: Members & { content?: Members[] }, facts?: Partial<AnswerFacts> }> = {
  text: { given: completion({ content: 'Hello, 世界 🙂.' }), wanted: { content: [{ type: 'text', text: 'Hello, 世界 🙂.' }], stop_reason: 'end_turn', stop_sequence: null } },
  nothing: { given: completion({ content: '' }), wanted: { content: [], stop_reason: 'end_turn' } },
  'cut off': { given: completion({ content: 'Hel' }, 'length'), wanted: { stop_reason: 'max_tokens' } },
  filtered: { given: completion({ content: '' }, 'content_filter'), wanted: { content: [], stop_reason: 'refusal' } },
  'a refusal': { given: completion({ content: null, refusal: 'No.' }), wanted: { content: [{ type: 'text', text: 'No.' }], stop_reason: 'refusal' } },
  'text and a refusal': { given: completion({ content: 'Well.', refusal: 'No.' }), wanted: { content: [{ text: 'Well.' }, { text: 'No.' }], stop_reason: 'refusal' } },
  'a sequence of vLLM': { given: completion({ content: 'a' }, 'stop', { stop_reason: 'END' }), wanted: { stop_reason: 'stop_sequence', stop_sequence: 'END' } },
  'a sequence of SGLang': { given: completion({ content: 'a' }, 'stop', { matched_stop: 'END' }), wanted: { stop_reason: 'stop_sequence', stop_sequence: 'END' } },
  'a sequence of llama-server': { given: completion({ content: 'a' }, 'stop', { stopping_word: 'END' }), wanted: { stop_reason: 'stop_sequence', stop_sequence: 'END' } },
  'the number of a token is no sequence': { given: completion({ content: 'a' }, 'stop', { stop_reason: 128_009 }), wanted: { stop_reason: 'end_turn', stop_sequence: null } },
  'a sequence nobody asked for': { given: completion({ content: 'a' }, 'stop', { stop_reason: 'OTHER' }), wanted: { stop_reason: 'end_turn', stop_sequence: null } },
  'thoughts': {
    given: completion({ content: 'Yes.', reasoning_content: 'Let me see.' }),
    wanted: { content: [{ type: 'thinking', thinking: 'Let me see.', signature: '' }, { type: 'text', text: 'Yes.' }] }
  },
  'thoughts that nobody asked for': {
    given: completion({ content: 'Yes.', reasoning_content: 'Let me see.' }),
    facts: { showsThoughts: false },
    wanted: { content: [{ type: 'text', text: 'Yes.' }], usage: { output_tokens: 9 } }
  },
  'two calls': {
    given: completion({ content: 'Wait.', tool_calls: [call('a', 'add', '{"x":"é\\n","y":[1,2]}'), call('b', 'now', '')] }, 'tool_calls'),
    wanted: {
      content: [{ type: 'text', text: 'Wait.' }, { type: 'tool_use', id: 'a', name: 'add', input: { x: 'é\n', y: [1, 2] } }, { type: 'tool_use', id: 'b', name: 'now', input: {} }],
      stop_reason: 'tool_use'
    }
  },
  'a call that ends with stop': { given: completion({ content: null, tool_calls: [call('a', 'add', '{}')] }, 'stop'), wanted: { stop_reason: 'tool_use' } },
  'a call without an id': { given: completion({ content: null, tool_calls: [call('', 'add', '{}')] }, 'tool_calls'), wanted: { content: [{ id: 'toolu_0123_0' }] } }
}

for (const [name, { given, wanted, facts }] of Object.entries(ANSWERS)) {
  test(`answers: ${name}; whole and streamed in pieces of every size`, async t => {
    const whole = message(given, { ...FACTS, ...facts })
    t.match(whole, { id: 'msg_0123', type: 'message', role: 'assistant', model: 'mine', usage: { input_tokens: 5, cache_read_input_tokens: 15, cache_creation_input_tokens: 0 }, ...wanted })
    t.equal(whole.content.length, wanted.content?.length ?? 1)
    for (let size = 1; size <= 24; size++) t.strictSame(messageOf(parsed(streamed(chunksOf(given, size), { ...FACTS, ...facts }))), whole, `${size} characters a chunk`)
  })
}

test('the first event tells what the gateway has counted, the last what the backend says', async t => {
  const events = parsed(streamed(chunksOf(completion({ content: 'Hi' }), 9)))
  t.same(events.map(({ type }) => type), ['message_start', 'ping', 'content_block_start', 'content_block_delta', 'content_block_stop', 'message_delta', 'message_stop'])
  t.match(events[0], { message: { content: [], stop_reason: null, usage: { input_tokens: 5, output_tokens: 0 } } })
  t.strictSame(events.at(-2), {
    type: 'message_delta',
    delta: { stop_reason: 'end_turn', stop_sequence: null },
    usage: { input_tokens: 5, cache_creation_input_tokens: 0, cache_read_input_tokens: 15, output_tokens: 9, output_tokens_details: { thinking_tokens: 4 } }
  })
})

test('a backend that does not count: the gateway does', async t => {
  const given = completion({ content: 'Hi' }, 'stop', {}, null)
  const usage = { input_tokens: 5, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 6 }
  t.strictSame(message(given).usage, usage)
  t.strictSame(messageOf(parsed(streamed(chunksOf(given, 1)))).usage, usage)
})

test('usage holds, wherever in the stream it was told', async t => {
  const chunks = chunksOf(completion({ content: 'Hi' }), 1)
  t.match(messageOf(parsed(streamed([chunks.at(-1)!, ...chunks.slice(0, -1)]))).usage, { input_tokens: 5, cache_read_input_tokens: 15, output_tokens: 9 })
})

test('calls whose pieces have no index are told apart by their ids', async t => {
  const chunk = (calls: unknown[]) => ({ choices: [{ index: 0, delta: { tool_calls: calls }, finish_reason: null }] }) as unknown as ChatChunk
  const whole = messageOf(parsed(streamed([chunk([call('a', 'add', '{"x"')]), chunk([{ function: { arguments: ':1}' } }]), chunk([call('b', 'now', '{}')])])))
  t.match(whole.content, [{ id: 'a', input: { x: 1 } }, { id: 'b', name: 'now', input: {} }])
})

test('text may follow a call', async t => {
  const chunk = (delta: Members) => ({ choices: [{ index: 0, delta, finish_reason: null }] }) as unknown as ChatChunk
  const whole = messageOf(parsed(streamed([chunk({ tool_calls: [{ index: 0, ...call('a', 'add', '{}') }] }), chunk({ content: 'So.' })])))
  t.match(whole.content, [{ type: 'tool_use' }, { type: 'text', text: 'So.' }])
})

test('a backend that goes back to an earlier call has broken off', async t => {
  const chunk = (index: number) => ({ choices: [{ index: 0, delta: { tool_calls: [{ index, function: { arguments: '{' } }] }, finish_reason: null }] }) as unknown as ChatChunk
  t.throws(() => streamed([chunk(0), chunk(1), chunk(0)]), { code: 'backend_invalid_answer' })
})

test('arguments that are no object: an error, unless the answer was cut off within them', async t => {
  for (const json of ['{"x":', '[1]', 'null', 'no']) {
    t.throws(() => message(completion({ content: null, tool_calls: [call('a', 'add', json)] }, 'tool_calls')), { code: 'backend_invalid_answer' }, json)
  }
  t.match(message(completion({ content: null, tool_calls: [call('a', 'add', '{"x":')] }, 'length')), { stop_reason: 'max_tokens', content: [{ input: {} }] })
})

test('chunks of unknown shape say nothing', async t => {
  const odd = [{ choices: [] }, { choices: [{}] }, { choices: [{ delta: null, finish_reason: null }] }, { choices: [{ delta: { content: 7, tool_calls: 'x' } }] }]
  t.same(messageOf(parsed(streamed(odd as unknown as ChatChunk[]))).content, [])
})

test('a failure within a stream is the last event', async t => {
  const [event] = parsed(new MessageStream(FACTS).failed(new GatewayError('backend_interrupted', 'It broke off.')))
  t.strictSame(event, { type: 'error', error: { type: 'api_error', message: 'It broke off.' }, request_id: 'req_0123' })
})

test('errors have the types that Anthropic\'s clients know', async t => {
  const table = {
    invalid_type: [400, 'invalid_request_error'], missing_api_key: [401, 'authentication_error'], permission_denied: [403, 'permission_error'],
    model_not_allowed: [403, 'permission_error'], model_not_found: [404, 'not_found_error'], method_not_allowed: [405, 'invalid_request_error'],
    request_too_large: [413, 'request_too_large'], unsupported_media_type: [415, 'invalid_request_error'], rate_limit_exceeded: [429, 'rate_limit_error'],
    internal_error: [500, 'api_error'], backend_failed: [502, 'api_error'], backend_unavailable: [503, 'api_error'], draining: [503, 'api_error'],
    backend_timeout: [504, 'timeout_error'], backend_overloaded: [529, 'overloaded_error']
  } as const
  for (const [code, [status, type]] of Object.entries(table)) {
    const error = new GatewayError(code as keyof typeof table, 'No.')
    t.strictSame([errorStatus(error), errorBody(error, 'req_1')], [status, { type: 'error', error: { type, message: 'No.' }, request_id: 'req_1' }], code)
  }
})
