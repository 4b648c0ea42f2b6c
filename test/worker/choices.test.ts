import OpenAI from 'openai'
import tap, { test } from 'tap'
import type { BatchStats } from '../../src/worker/batch.ts'
import { chat, completion, events, user, workerOnPort, type Completion, type Failure } from './spawned.ts'

const { url } = await workerOnPort(tap, '--slots', '4', '--context-tokens', '2048')
const stats = async (): Promise<BatchStats> => await (await fetch(`${url}/stats`)).json() as BatchStats
const textsOf = ({ choices }: Completion): string[] => choices.map(({ message }) => message.content)
const STORY = { messages: user('Tell me a story about a fox. It should be a long one, please.'), temperature: 2, max_tokens: 30, logit_bias: { 2043: -100, 2041: -100 } }

test('the choices of a greedy call are all what one call says', async t => {
  const body = { messages: user('Tell me a joke') }
  const [one] = textsOf(await completion(url, body))
  t.strictSame(textsOf(await completion(url, { ...body, n: 4 })), [one, one, one, one])
})

test('each choice is what a call with its own seed says, so the copy of the prompt is exact', async t => {
  const several = await completion(url, { ...STORY, n: 3, seed: 7 })
  const alone = await Promise.all([7, 8, 9].map(async seed => textsOf(await completion(url, { ...STORY, seed }))[0]!))
  t.strictSame(textsOf(several), alone)
  t.equal(new Set(alone).size, 3)
})

test('the prompt is counted and computed once, the answers are summed', async t => {
  const body = { messages: user(`Please say this again: ${'one two three '.repeat(100)}`), max_tokens: 5, logit_bias: { 2043: -100, 2041: -100 } }
  const before = await stats()
  const { usage, choices } = await completion(url, { ...body, n: 4 })
  const after = await stats()
  t.strictSame([choices.length, usage.completion_tokens], [4, 20])
  t.equal(usage.total_tokens, usage.prompt_tokens + 20)
  t.equal(after.promptTokens - before.promptTokens, usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens + 3)
})

test('a stream tells its choices apart, and each ends once', async t => {
  const body = { ...STORY, n: 3, seed: 7 }
  const whole = await completion(url, body)
  const seen = await events(await chat(url, { ...body, stream: true, stream_options: { include_usage: true } })) as OpenAI.Chat.ChatCompletionChunk[]
  t.equal(seen.pop() as unknown, '[DONE]')
  t.equal(seen.at(-1)?.usage?.completion_tokens, whole.usage.completion_tokens)
  for (const [index, expected] of textsOf(whole).entries()) {
    const own = seen.flatMap(chunk => chunk.choices.filter(choice => choice.index === index))
    t.equal(own.map(({ delta }) => delta.content ?? '').join(''), expected)
    t.equal(own.filter(({ delta }) => delta.role === 'assistant').length, 1)
    t.equal(own.filter(choice => choice.finish_reason !== null).length, 1)
    t.equal(own.at(-1)?.finish_reason, whole.choices[index]?.finish_reason)
  }
})

test('the official client takes the choices of a stream', async t => {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })
  const stream = client.chat.completions.stream({ model: 'pilot', n: 2, messages: [{ role: 'user', content: 'Tell me a joke' }], temperature: 0 })
  t.equal((await stream.finalChatCompletion()).choices.length, 2)
})

test('more choices than slots are refused with the number that is there', async t => {
  const response = await chat(url, { messages: user('Hi'), n: 5 })
  t.equal(response.status, 400)
  t.match(await response.json() as Failure, { error: { code: 'unsupported_value', param: 'n', message: /at most 4/ } })
})

test('choices of calls that come together are all answered, and every slot is free at the end', async t => {
  const counts = [1, 4, 2, 3, 1, 2]
  const answers = await Promise.all(counts.map((n, i) => completion(url, { messages: user(`Say the word number ${i}`), n, max_tokens: 8 })))
  t.strictSame(answers.map(({ choices }) => choices.length), counts)
  t.ok((await (await fetch(`${url}/slots`)).json() as { busy: boolean }[]).every(({ busy }) => !busy))
})
