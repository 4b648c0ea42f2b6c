import { Buffer } from 'node:buffer'
import type OpenAI from 'openai'
import tap, { test } from 'tap'
import { TokenLog, type TokenLogprob } from '../../src/worker/logprobs.ts'
import { chat, completion, events, user, workerOnPort } from './spawned.ts'

const { url } = await workerOnPort(tap, '--slots', '4', '--context-tokens', '2048')
interface Choice { message: { content: string | null }, logprobs: { content: TokenLogprob[], refusal: null } | null }
interface Answer { choices: Choice[], usage: { completion_tokens: number } }

const ask = async (body: Record<string, unknown>): Promise<Answer> =>
  await completion(url, { messages: user('Tell me a joke'), logprobs: true, ...body }) as unknown as Answer
const textOf = (tokens: readonly TokenLogprob[]): string => Buffer.from(tokens.flatMap(({ bytes }) => bytes)).toString()
const probability = (tokens: readonly { logprob: number }[]): number => tokens.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0)

/** The pilot hesitates. */
const UNSURE = { messages: user('Tell me a story about a fox'), temperature: 2, max_tokens: 40, logit_bias: { 2043: -100, 2041: -100 }, seed: 3 }

test('bytes spell the content, one entry to a token, and the likeliest come first', async t => {
  const { choices: [choice], usage } = await ask({ top_logprobs: 5 })
  const { content } = choice!.logprobs!
  t.equal(textOf(content), choice!.message.content)
  t.equal(content.map(({ token }) => token).join(''), choice!.message.content)
  t.equal(content.length, usage.completion_tokens)
  t.equal(choice!.logprobs!.refusal, null)
  for (const { token, logprob, top_logprobs: top } of content) {
    t.equal(top.length, 5)
    t.strictSame(top.map(one => one.logprob), top.map(one => one.logprob).toSorted((a, b) => b - a))
    t.strictSame([token, logprob], [top[0]!.token, top[0]!.logprob], 'greedy takes the likeliest')
    t.ok(logprob <= 0 && probability(top) <= 1.0001)
  }
})

test('scores are those of the model alone, whatever is set', async t => {
  const plain = (await ask({ top_logprobs: 20, max_tokens: 1 })).choices[0]!.logprobs!.content[0]!
  const settings: Record<string, unknown>[] = [
    { temperature: 2, seed: 1 }, { temperature: 0.3 }, { temperature: 1, top_p: 0.1 }, { temperature: 1, top_k: 1 }, { temperature: 1, min_p: 0.9 },
    { presence_penalty: 2, frequency_penalty: 2 }
  ]
  for (const body of settings) {
    const token = (await ask({ top_logprobs: 20, max_tokens: 1, ...body })).choices[0]!.logprobs!.content[0]!
    for (const [i, one] of token.top_logprobs.entries()) t.ok(Math.abs(one.logprob - plain.top_logprobs[i]!.logprob) < 1e-3, JSON.stringify(body))
  }
  const biased = (await ask({ top_logprobs: 1, max_tokens: 1, logit_bias: { 1232: 100 } })).choices[0]!.logprobs!.content[0]!
  t.equal(biased.token, ' Paris')
  t.ok(biased.logprob < -5, 'what was forced was not likely')
  t.equal(biased.top_logprobs[0]!.token, plain.top_logprobs[0]!.token)
})

test('a token that was drawn has its own score, also far from the likeliest', async t => {
  const { content } = (await ask({ ...UNSURE, top_logprobs: 20 })).choices[0]!.logprobs!
  for (const { token, logprob, bytes, top_logprobs: top } of content) {
    const same = top.find(one => one.token === token && one.bytes.join() === bytes.join())
    t.ok(same === undefined ? logprob <= top.at(-1)!.logprob : same.logprob === logprob)
  }
  t.ok(content.some(({ logprob, top_logprobs: top }) => logprob < top[0]!.logprob), 'not always the likeliest')
})

test('asking for scores does not change what is said', async t => {
  const [scored, plain] = await Promise.all([ask(UNSURE), ask({ ...UNSURE, logprobs: false })])
  t.equal(scored.choices[0]!.message.content, plain.choices[0]!.message.content)
  t.equal(plain.choices[0]!.logprobs, null)
  t.ok(scored.choices[0]!.logprobs!.content.every(({ top_logprobs: top }) => top.length === 0), 'without top_logprobs there are none')
})

test('a stream has each token with its score, and the same ones', async t => {
  const body = { messages: user('Tell me a joke'), logprobs: true, top_logprobs: 2 }
  const whole = await ask(body)
  const seen = await events(await chat(url, { ...body, stream: true })) as OpenAI.Chat.ChatCompletionChunk[]
  const chunks = seen.slice(0, -1).map(chunk => chunk.choices[0]!)
  const tokens = chunks.flatMap(({ logprobs }) => logprobs?.content ?? [])
  t.equal(tokens.length, whole.usage.completion_tokens)
  t.strictSame(tokens.map(({ token }) => token), whole.choices[0]!.logprobs!.content.map(({ token }) => token))
  for (const { delta, logprobs } of chunks.slice(1, -1)) t.equal(textOf(logprobs!.content as TokenLogprob[]), delta.content)
  const first = chunks.find(({ logprobs }) => logprobs !== null)
  t.equal(first?.logprobs?.refusal, null)
})

test('what a stop string or a limit cuts off has no entries', async t => {
  const { choices: [choice] } = await ask({ stop: ' go to' })
  t.equal(choice!.message.content, 'Why did the lamp')
  t.equal(textOf(choice!.logprobs!.content), 'Why did the lamp')
})

test('several choices have scores each, together with calls that have none', async t => {
  const [several, plain] = await Promise.all([ask({ ...UNSURE, n: 3, top_logprobs: 1 }), completion(url, { messages: user('Hello!') })])
  for (const { message, logprobs } of several.choices) t.equal(textOf(logprobs!.content), message.content)
  t.notOk('logprobs' in plain.choices[0]! && plain.choices[0].logprobs)
})

test('a required call is held to its schema with scores too', async t => {
  const parameters = { type: 'object', properties: { n: { enum: [1, 2] } }, required: ['n'], additionalProperties: false }
  const tools = [{ type: 'function', function: { name: 'pick', parameters } }]
  const { choices: [choice] } = await ask({ tools, tool_choice: 'required', parallel_tool_calls: false, temperature: 1.5, seed: 1 }) as unknown as OpenAI.Chat.ChatCompletion
  t.match(choice!.message.tool_calls, [{ function: { name: 'pick', arguments: /^\{"n": ?[12]\}$/ } }])
  t.strictSame(choice!.logprobs?.content, [], 'markers and calls are no content')
})

test('tokens that make a character together are shown with it, and what is skipped is forgotten', async t => {
  const log = new TokenLog(token => ({ token: String(token), bytes: [token] }))
  const add = (token: number): void => { log.add(token, { logprob: -1, top: [] }) }
  add(1)
  log.settle(5)
  add(2)
  add(3)
  t.strictSame(log.take(0, 5).map(({ token }) => token), ['1'])
  t.strictSame(log.take(5, 9), [], 'not whole yet')
  log.settle(6)
  t.strictSame(log.take(5, 6).map(({ token }) => token), ['2', '3'])
  add(4)
  log.settle(10)
  add(5)
  log.settle(12)
  t.strictSame(log.take(10, 12).map(({ token }) => token), ['5'], '4 was a marker')
  add(6)
  log.add(7, { logprob: -Infinity, top: [[8, -Infinity]] })
  log.settle(13)
  t.match(log.take(12, 13), [{ token: '6' }, { token: '7', logprob: -9999, top_logprobs: [{ token: '8', logprob: -9999 }] }])
})
