import { readFileSync } from 'node:fs'
import OpenAI from 'openai'
import { test } from 'tap'
import { finishReason, toCompletion, toUsage } from '../../../src/wire/gemini/answer.ts'
import { ChunkCutter } from '../../../src/wire/gemini/events.ts'

type Body = Record<string, unknown>

const recorded = (name: string) => readFileSync(new URL(`../../backends/recorded/${name}.sse`, import.meta.url))
const cutter = (choices = 1, hasUsage = false) => new ChunkCutter({ source: 'gemini', createdS: 7, id: 'own', choices, hasUsage })
const event = (value: unknown) => Buffer.from(`data: ${JSON.stringify(value)}\n\n`)
const say = (text: string, reason?: string, index = 0) => ({ candidates: [{ index, content: { parts: [{ text }] }, ...reason !== undefined && { finishReason: reason } }] })

/** What comes out when the bytes come in pieces of `size`. */
function translated (bytes: Buffer, { size = Infinity, choices = 1, hasUsage = false } = {}): string {
  const one = cutter(choices, hasUsage)
  const frames: Buffer[] = []
  const step = Math.min(size, bytes.length)
  for (let at = 0; at < bytes.length; at += step) frames.push(one.push(Buffer.from(bytes.subarray(at, at + step))) ?? Buffer.alloc(0))
  frames.push(one.end() ?? Buffer.alloc(0))
  return Buffer.concat(frames).toString('utf8')
}

const chunksOf = (text: string): OpenAI.Chat.ChatCompletionChunk[] =>
  text.split('\n\n').filter(line => line !== '' && line !== 'data: [DONE]').map(line => JSON.parse(line.slice(6)))

async function assembled (text: string) {
  const client = new OpenAI({ apiKey: 'x', fetch: async () => new Response(text, { headers: { 'content-type': 'text/event-stream' } }) })
  return client.chat.completions.stream({ model: 'm', messages: [] }).finalChatCompletion()
}

test('a stream in OpenAI\'s order: role, content, finish reason, usage, [DONE]', async t => {
  const text = translated(recorded('gemini'))
  t.ok(text.endsWith('data: [DONE]\n\n'))
  const head = { id: 'chatcmpl-mAitaLmkHPPlz7IPvtfUqQ4', object: 'chat.completion.chunk', created: 7, model: 'gemini-2.5-flash' }
  const said = (delta: Body, finish_reason: string | null = null) => ({ ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason }] })
  t.strictSame(chunksOf(text), [
    said({ role: 'assistant', content: '', refusal: null }),
    said({ content: 'The capital of' }),
    said({ content: ' France is' }),
    said({ content: ' "Paris".' }),
    said({}, 'stop'),
    { ...head, choices: [], usage: { prompt_tokens: 8, completion_tokens: 8, total_tokens: 16, prompt_tokens_details: { cached_tokens: 0 }, completion_tokens_details: { reasoning_tokens: 0 } } }
  ])
  t.same(chunksOf(translated(recorded('gemini'), { hasUsage: true })).map(({ usage }) => usage === null), [true, true, true, true, true, false])
})

for (const name of ['gemini', 'gemini-thinking-tools', 'gemini-error']) {
  test(`${name}: the same at every split`, async t => {
    const bytes = recorded(name)
    const whole = translated(bytes)
    for (let size = 1; size <= bytes.length; size++) {
      if (translated(bytes, { size }) !== whole) t.fail(`in pieces of ${size}`)
    }
    t.pass()
  })
}

test('thoughts, text and calls are what OpenAI\'s own client makes of them, with their tokens', async t => {
  const text = translated(recorded('gemini-thinking-tools'))
  const { choices: [choice], usage } = await assembled(text)
  t.match(choice, { finish_reason: 'tool_calls', message: { content: 'Grüezi, let me check.', tool_calls: [
    { id: 'fc_1', function: { name: 'get_weather', arguments: '{"city":"Zürich","unit":"c"}' } },
    { id: 'call_q1itaN_KBZXdz7IP_0_0', function: { name: 'now', arguments: '{}' } }
  ] } })
  t.match(usage, { prompt_tokens: 120, completion_tokens: 61, total_tokens: 181, prompt_tokens_details: { cached_tokens: 100 }, completion_tokens_details: { reasoning_tokens: 30 } })
  t.equal(chunksOf(text).map(({ choices: [one] }) => (one?.delta as Body | undefined)?.['reasoning_content'] ?? '').join(''), '**Weather**\n\nI need the tool, twice. 🌤')
  t.match(text, /"extra_content":\{"google":\{"thought_signature":"EtgBCtUBAXLI2nyVmA=="\}\}/)
})

test('a stream that ends before each choice has its reason is not made whole', async t => {
  t.notMatch(translated(event(say('half'))), /DONE/)
  t.notMatch(translated(Buffer.concat([event(say('a', 'STOP', 0)), event(say('b', undefined, 1))]), { choices: 2 }), /DONE/)
  t.notMatch(translated(Buffer.alloc(0)), /DONE/)
  t.notMatch(translated(recorded('gemini-error')), /DONE/)
  t.match(translated(Buffer.concat([event(say('a', 'STOP')), event(say('b', 'MAX_TOKENS'))])), /"finish_reason":"length".*DONE/s, 'the last reason counts')
})

test('several choices are told apart, each with its end', async t => {
  const { choices } = await assembled(translated(Buffer.concat([event(say('a', undefined, 1)), event(say('b', 'STOP', 0)), event(say('c', 'MAX_TOKENS', 1))]), { choices: 2 }))
  t.same(choices.map(({ message, finish_reason }) => [message.content, finish_reason]), [['b', 'stop'], ['ac', 'length']])
})

test('calls in later events go on counting', async t => {
  const call = (name: string, reason?: string) => event({ candidates: [{ content: { parts: [{ functionCall: { name } }] }, ...reason !== undefined && { finishReason: reason } }], responseId: 'r' })
  const { choices: [choice] } = await assembled(translated(Buffer.concat([call('f'), call('g', 'STOP')])))
  t.match(choice?.message.tool_calls, [{ id: 'call_r_0_0', function: { name: 'f' } }, { id: 'call_r_0_1', function: { name: 'g' } }])
})

test('an error behind the last reason is an error, and no end', async t => {
  t.notMatch(translated(Buffer.concat([event(say('a', 'STOP')), event({ error: { code: 500 } })])), /DONE|"finish_reason":"/)
})

test('what is no stream of answers is refused', async t => {
  const push = (bytes: Buffer) => () => cutter().push(bytes)
  const invalid = (message: string) => ({ code: 'backend_invalid_answer' as const, message })
  t.throws(push(Buffer.from('data: [1]\n\n')), { code: 'backend_invalid_answer' })
  t.throws(push(event({ candidates: 1 })), invalid('gemini sent an event that is no part of an answer.'))
  t.throws(push(event({ candidates: [1] })), invalid('gemini sent an event that is no part of an answer.'))
  t.throws(push(event(say('x', 'STOP', 1))), invalid('gemini sent a choice that nobody asked for.'))
  t.throws(push(event({ candidates: [{ finishReason: 'MALFORMED_FUNCTION_CALL' }] })), invalid('gemini ended its answer with MALFORMED_FUNCTION_CALL.'))
})

test('a prompt that is blocked is an answer that the filter ended, streamed and not', async t => {
  const value = { promptFeedback: { blockReason: 'PROHIBITED_CONTENT' }, usageMetadata: { promptTokenCount: 4, totalTokenCount: 4 }, modelVersion: 'm' }
  const { choices, usage } = await assembled(translated(event(value), { choices: 2 }))
  t.same(choices.map(({ message, finish_reason }) => [message.content, finish_reason]), [['', 'content_filter'], ['', 'content_filter']])
  t.equal(usage?.prompt_tokens, 4)
  t.match(toCompletion(value, { createdS: 7, id: 'own', choices: 1 }), { id: 'chatcmpl-own', choices: [{ message: { content: '' }, finish_reason: 'content_filter' }] })
})

test('a whole answer, with calls, thoughts and logprobs', async t => {
  const value = {
    responseId: 'r1', modelVersion: 'gemini-2.5-pro', usageMetadata: { promptTokenCount: 5, candidatesTokenCount: 2, thoughtsTokenCount: 3, toolUsePromptTokenCount: 1 },
    candidates: [{
      content: { role: 'model', parts: [{ text: 'Hm.', thought: true }, { text: 'Hi' }, { functionCall: { name: 'f' } }] }, finishReason: 'STOP',
      logprobsResult: { chosenCandidates: [{ token: 'é', tokenId: 1, logProbability: -0.5 }], topCandidates: [{ candidates: [{ token: 'é', logProbability: -0.5 }, { token: 'e', logProbability: -1 }] }] }
    }]
  }
  const token = { token: 'é', logprob: -0.5, bytes: [195, 169] }
  t.strictSame(toCompletion(value, { createdS: 7, id: 'own', choices: 1 }), {
    id: 'chatcmpl-r1', object: 'chat.completion', created: 7, model: 'gemini-2.5-pro',
    choices: [{
      index: 0,
      message: { role: 'assistant', content: 'Hi', refusal: null, reasoning_content: 'Hm.', tool_calls: [{ id: 'call_r1_0_0', type: 'function', function: { name: 'f', arguments: '{}' } }] },
      logprobs: { content: [{ ...token, top_logprobs: [token, { token: 'e', logprob: -1, bytes: [101] }] }], refusal: null },
      finish_reason: 'tool_calls'
    }],
    usage: { prompt_tokens: 6, completion_tokens: 5, total_tokens: 11, prompt_tokens_details: { cached_tokens: 0 }, completion_tokens_details: { reasoning_tokens: 3 } }
  })
})

test('what is no answer is none', async t => {
  for (const value of [null, 1, {}, { candidates: [] }, { candidates: [1] }, { candidates: [{ content: {} }] }, { candidates: [{ finishReason: 'UNEXPECTED_TOOL_CALL' }] }]) {
    t.equal(toCompletion(value, { createdS: 7, id: 'own', choices: 1 }), null, JSON.stringify(value))
  }
  t.equal(toUsage({}), null)
})

test('reasons to stop', async t => {
  for (const [reason, said] of Object.entries({ STOP: 'stop', MAX_TOKENS: 'length', SAFETY: 'content_filter', RECITATION: 'content_filter', SPII: 'content_filter', OTHER: 'stop', toString: 'stop' })) t.equal(finishReason(reason, false), said, reason)
  t.equal(finishReason('STOP', true), 'tool_calls')
  t.equal(finishReason('MAX_TOKENS', true), 'length')
})
