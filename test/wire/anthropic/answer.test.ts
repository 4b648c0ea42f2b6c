import { readFileSync } from 'node:fs'
import OpenAI from 'openai'
import { test } from 'tap'
import { finished, finishReason, toCompletion, toUsage } from '../../../src/wire/anthropic/answer.ts'
import { ChunkCutter } from '../../../src/wire/anthropic/events.ts'
import { usageOfChunk } from '../../../src/wire/observe.ts'

type Body = Record<string, unknown>

const recorded = (name: string) => readFileSync(new URL(`../../backends/recorded/${name}.sse`, import.meta.url))
const cutter = (hasUsage = false) => new ChunkCutter({ source: 'claude', createdS: 7, hasUsage })
const event = (value: unknown) => Buffer.from(`event: x\ndata: ${JSON.stringify(value)}\n\n`)
const START = { type: 'message_start', message: { id: 'msg_1', model: 'm', usage: { input_tokens: 3, output_tokens: 1 } } }
const begin = (block: unknown, index = 0) => ({ type: 'content_block_start', index, content_block: block })
const pieceOf = (more: unknown, index = 0) => ({ type: 'content_block_delta', index, delta: more })
const end = (stop_reason: unknown = 'end_turn') => ({ type: 'message_delta', delta: { stop_reason }, usage: { output_tokens: 5 } })

/** What comes out when the bytes come in pieces of `size`. */
function translated (bytes: Buffer, size = Infinity, hasUsage = false): string {
  const one = cutter(hasUsage)
  const frames: Buffer[] = []
  const step = Math.min(size, bytes.length)
  for (let at = 0; at < bytes.length; at += step) frames.push(one.push(Buffer.from(bytes.subarray(at, at + step))) ?? Buffer.alloc(0))
  frames.push(one.end() ?? Buffer.alloc(0))
  return Buffer.concat(frames).toString('utf8')
}

const chunksOf = (text: string): OpenAI.Chat.ChatCompletionChunk[] =>
  text.split('\n\n').filter(line => line !== '' && line !== 'data: [DONE]').map(line => JSON.parse(line.slice(6)))

/** The message as OpenAI's own client puts it together. */
async function assembled (text: string): Promise<Body> {
  const client = new OpenAI({ apiKey: 'x', fetch: async () => new Response(text, { headers: { 'content-type': 'text/event-stream' } }) })
  const completion = await client.chat.completions.stream({ model: 'm', messages: [] }).finalChatCompletion()
  return { ...completion.choices[0]!.message, finish_reason: completion.choices[0]!.finish_reason }
}

test('a stream in OpenAI\'s order: role, content, finish reason, usage, [DONE]', async t => {
  const text = translated(recorded('anthropic'))
  t.ok(text.endsWith('data: [DONE]\n\n'))
  const chunks = chunksOf(text)
  const head = { id: 'chatcmpl-01XFDUDYJgAACzvnptvVoYEL', object: 'chat.completion.chunk', created: 7, model: 'claude-sonnet-5' }
  const said = (delta: Body, finish_reason: string | null = null) => ({ ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason }] })
  t.strictSame(chunks, [
    said({ role: 'assistant', content: '', refusal: null }),
    said({ content: 'The capital of' }),
    said({ content: ' France is "Paris".' }),
    said({}, 'stop'),
    { ...head, choices: [], usage: { prompt_tokens: 25, completion_tokens: 15, total_tokens: 40, prompt_tokens_details: { cached_tokens: 0, cache_creation_tokens: 0 }, completion_tokens_details: { reasoning_tokens: 0 } } }
  ])
})

test('who asked for usage sees in every other chunk that there is none yet', async t => {
  const chunks = chunksOf(translated(recorded('anthropic'), Infinity, true))
  t.same(chunks.map(({ usage }) => usage === null), [true, true, true, true, false])
})

for (const name of ['anthropic', 'anthropic-thinking-tools', 'anthropic-error']) {
  test(`${name}: the same at every split`, async t => {
    const bytes = recorded(name)
    const whole = translated(bytes)
    const different = Array.from({ length: bytes.length }, (_, at) => at + 1).filter(size => translated(bytes, size) !== whole)
    t.same(different, [])
    t.equal(translated(Buffer.from(bytes.toString('utf8').replaceAll('\n', '\r\n')), 3), whole, 'with CRLF')
  })
}

test('thoughts, calls and tokens arrive as OpenAI\'s client reads them', async t => {
  const text = translated(recorded('anthropic-thinking-tools'))
  t.match(await assembled(text), {
    content: 'Grüezi, let me check.',
    finish_reason: 'tool_calls',
    tool_calls: [
      { id: 'toolu_01T1x1fJ34qAmk2tNTrN7Up6', type: 'function', function: { name: 'get_weather', arguments: '{"location": "Zürich"}' } },
      { id: 'toolu_02', type: 'function', function: { name: 'get_time', arguments: '{}' } }
    ]
  })
  const chunks = chunksOf(text)
  const deltas = chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta as Body))
  t.equal(deltas.map(delta => delta['reasoning_content'] ?? '').join(''), 'Two cities, two calls.')
  t.same(deltas.flatMap(delta => delta['thinking_blocks'] ?? []), [
    { type: 'thinking', thinking: '', signature: 'EqQBCgIYAhIM1gbcDa9GJwZA2b3h' },
    { type: 'redacted_thinking', data: 'EmwKAhgBEgy3va3pzix' }
  ])
  t.same(usageOfChunk(chunks.at(-1)), { input: 72 + 1500 + 800, output: 89, cachedInput: 800, reasoning: 30 })
})

test('an error passes as it came, and nothing is made up after it', async t => {
  const text = translated(recorded('anthropic-error'))
  t.ok(text.includes('data: {"error":{"details":null,"type":"overloaded_error","message":"Overloaded"}}\n\n'))
  t.notOk(text.includes('[DONE]'))
})

test('a stream that breaks off before its reason to stop has no end', async t => {
  const bytes = recorded('anthropic')
  for (const marker of ['event: message_delta', 'event: content_block_stop', ' France']) {
    t.notOk(translated(bytes.subarray(0, bytes.indexOf(marker))).includes('[DONE]'), marker)
  }
  const stopped = translated(bytes.subarray(0, bytes.indexOf('event: message_stop')))
  t.equal(stopped, translated(bytes), 'with its reason it is whole')
})

test('nothing after the last event is read', async t => {
  t.equal(translated(Buffer.concat([recorded('anthropic'), recorded('anthropic')])), translated(recorded('anthropic')))
})

test('text and arguments that come with the beginning of a part are not lost; unknown events and deltas are passed over', async t => {
  const text = translated(Buffer.concat([
    START, { type: 'news' }, begin({ type: 'text', text: 'He' }), pieceOf({ type: 'citations_delta', citation: {} }), pieceOf({ type: 'text_delta', text: 'llo' }), { type: 'content_block_stop', index: 0 },
    begin({ type: 'tool_use', id: 'c', name: 'f', input: { a: 1 } }, 1), { type: 'content_block_stop', index: 1 }, end('something_new'), { type: 'message_stop' }
  ].map(event)))
  t.match(await assembled(text), { content: 'Hello', tool_calls: [{ function: { arguments: '{"a":1}' } }], finish_reason: 'stop' })
})

const BROKEN: Array<[string, unknown[]]> = [
  ['content before the message', [begin({ type: 'text', text: 'a' })]],
  ['an end before the message', [end()]],
  ['a message inside a message', [START, START]],
  ['a part inside a part', [START, begin({ type: 'text', text: '' }), begin({ type: 'text', text: '' }, 1)]],
  ['a piece of no part', [START, pieceOf({ type: 'text_delta', text: 'a' })]],
  ['a message that is none', [{ type: 'message_start' }]]
]

for (const [name, events] of BROKEN) {
  test(`no stream of messages: ${name}`, async t => {
    t.throws(() => cutter().push(Buffer.concat(events.map(event))), { code: 'backend_invalid_answer', message: /^claude (began|sent) / })
  })
}

test('what is no JSON object is no event', async t => {
  for (const data of ['[1]', '{"a"', 'x']) t.throws(() => cutter().push(Buffer.from(`event: x\ndata: ${data}\n\n`)), { code: 'backend_invalid_answer' })
  t.throws(() => cutter().push(Buffer.from('data: {"a"}\n\n')), { code: 'backend_invalid_answer' })
})

const REASONS = { end_turn: 'stop', stop_sequence: 'stop', pause_turn: 'stop', max_tokens: 'length', model_context_window_exceeded: 'length', tool_use: 'tool_calls', refusal: 'content_filter', what_may_come: 'stop', constructor: 'stop' }
test('every reason to stop has its finish reason', async t => {
  for (const [stop, finish] of Object.entries(REASONS)) t.equal(finishReason(stop), finish, stop)
})

test('tokens: all of the input is prompt, what was read from the cache is a part of it', async t => {
  t.same(toUsage({ input_tokens: 10, output_tokens: 5, cache_read_input_tokens: 100, cache_creation_input_tokens: 20, output_tokens_details: { thinking_tokens: 4 } }), {
    prompt_tokens: 130, completion_tokens: 5, total_tokens: 135, prompt_tokens_details: { cached_tokens: 100, cache_creation_tokens: 20 }, completion_tokens_details: { reasoning_tokens: 4 }
  })
  t.match(toUsage({ input_tokens: 1, output_tokens: 2, cache_read_input_tokens: null }), { prompt_tokens: 1 })
  for (const usage of [null, undefined, {}, { input_tokens: 1 }]) t.equal(toUsage(usage), null)
})

const MESSAGE = { type: 'message', id: 'msg_1', role: 'assistant', model: 'm', stop_reason: 'end_turn', stop_sequence: null, usage: { input_tokens: 1, output_tokens: 2 } }

test('a whole message is a completion', async t => {
  t.strictSame(toCompletion({ ...MESSAGE, content: [{ type: 'text', text: 'Hel' }, { type: 'text', text: 'lo' }] }, 7), {
    id: 'chatcmpl-1', object: 'chat.completion', created: 7, model: 'm',
    choices: [{ index: 0, message: { role: 'assistant', content: 'Hello', refusal: null }, logprobs: null, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3, prompt_tokens_details: { cached_tokens: 0, cache_creation_tokens: 0 }, completion_tokens_details: { reasoning_tokens: 0 } }
  })
  const thought = { type: 'thinking', thinking: 'Hm.', signature: 's' }
  const completion = toCompletion({ ...MESSAGE, stop_reason: 'tool_use', content: [thought, { type: 'tool_use', id: 'c', name: 'f', input: { a: 'ü' } }] }, 7)
  t.match(completion, { choices: [{ finish_reason: 'tool_calls', message: {
    content: null, reasoning_content: 'Hm.', thinking_blocks: [thought], tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{"a":"ü"}' } }]
  } }] })
  t.match(toCompletion({ ...MESSAGE, content: [] }, 7), { choices: [{ message: { content: '' } }] })
})

test('what is no message is no completion', async t => {
  for (const value of [null, 'x', [], {}, { ...MESSAGE }, { ...MESSAGE, content: 'x' }, { ...MESSAGE, content: [], stop_reason: null }, { ...MESSAGE, type: 'completion', content: [] }]) t.equal(toCompletion(value, 7), null)
})

test('the stop sequence that ended an answer is told beside the reason', async t => {
  t.strictSame(finished('stop_sequence', 'END'), { finish_reason: 'stop', stop_reason: 'END' })
  t.strictSame(finished('end_turn', null), { finish_reason: 'stop' })
  t.strictSame(finished('max_tokens', 'END'), { finish_reason: 'length' })
})
