/** Embeddings of a real worker with the built-in model. */
import OpenAI from 'openai'
import tap, { test } from 'tap'
import { workerOnPort, type Failure } from './spawned.ts'

const { url } = await workerOnPort(tap, '--context-tokens', '512', '--batch-tokens', '64', '--slots', '2')
const client = new OpenAI({ apiKey: 'none', baseURL: `${url}/v1`, maxRetries: 0 })

type Body = Record<string, unknown>
const post = (path: string, body: Body) => fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })

interface Answer { readonly data: { readonly object: string, readonly index: number, readonly embedding: number[] }[], readonly model: string, readonly usage: { prompt_tokens: number, total_tokens: number } }

async function embed (input: unknown, more: Body = {}): Promise<Answer> {
  const response = await post('/v1/embeddings', { model: 'pilot', input, ...more })
  if (response.status !== 200) throw new Error(await response.text())
  return await response.json() as Answer
}
async function vectorOf (input: unknown, more: Body = {}): Promise<number[]> { return (await embed(input, more)).data[0]!.embedding }

const norm = (vector: readonly number[]) => Math.hypot(...vector)
const cosine = (a: readonly number[], b: readonly number[]) => a.reduce((sum, value, i) => sum + value * b[i]!, 0) / norm(a) / norm(b)

test('each input has a vector of length one, in their order, and the tokens are counted', async t => {
  const { data, model, usage } = await embed(['What is the capital of France?', 'Tell me a joke', 'What is the capital of Spain?'])
  t.strictSame(data.map(({ object, index, embedding }) => [object, index, embedding.length]), [['embedding', 0, 256], ['embedding', 1, 256], ['embedding', 2, 256]])
  for (const { embedding } of data) t.ok(Math.abs(norm(embedding) - 1) < 1e-6)
  const [france, joke, spain] = data.map(({ embedding }) => embedding) as [number[], number[], number[]]
  t.ok(cosine(france, spain) > cosine(france, joke) + 0.2, 'what is alike is near')
  t.equal(model, 'pilot')
  t.equal(usage.prompt_tokens, usage.total_tokens)
  const alone = await embed('Tell me a joke')
  t.strictSame(alone.data[0]!.embedding, joke, 'company changes nothing')
  t.ok(usage.prompt_tokens > alone.usage.prompt_tokens * 2)
})

test('the SDK asks for base64 by itself and reads the same numbers', async t => {
  const plain = await vectorOf('Hello there')
  const { data } = await client.embeddings.create({ model: 'pilot', input: 'Hello there' })
  t.strictSame(data[0]!.embedding, plain.map(Math.fround))
  const { data: [raw] } = await embed('Hello there', { encoding_format: 'base64' })
  t.equal(Buffer.from(raw!.embedding as unknown as string, 'base64').readFloatLE(0), Math.fround(plain[0]!))
})

test('a long input is pooled over all of its tokens, however small a step is', async t => {
  const head = Array.from({ length: 60 }, (_, i) => ['one', 'two', 'three', 'four'][i % 4]!).join(' ')
  const tail = 'What is the capital of France?'
  const { data, usage } = await embed([head, tail, `${head} ${tail}`])
  const [first, last, both] = data.map(({ embedding }) => embedding) as [number[], number[], number[]]
  t.ok(usage.prompt_tokens > 128, `${usage.prompt_tokens} tokens; a step has 64`)
  t.ok(cosine(both, first) > 0.9)
  t.ok(cosine(both, last) < 0.5)
})

test('tokens are taken as text is, and what is no token is named', async t => {
  const { tokens } = await (await post('/tokenize', { model: 'pilot', content: 'Tell me a joke' })).json() as { tokens: number[] }
  t.strictSame(await vectorOf(tokens), await vectorOf('Tell me a joke'))
  t.strictSame((await embed([tokens, tokens.slice(0, 2)])).data.map(({ index }) => index), [0, 1])
  for (const [input, param] of [[[1, 2048], 'input[1]'], [[[1], [2, 3, 9999]], 'input[1][2]']] as const) {
    const response = await post('/v1/embeddings', { model: 'pilot', input })
    t.equal(response.status, 400)
    t.match(await response.json(), { error: { code: 'invalid_value', param } } satisfies Partial<{ error: Partial<Failure['error']> }>)
  }
})

test('fewer dimensions are the first ones, of length one again; more are refused', async t => {
  const whole = await vectorOf('Hello')
  const part = await vectorOf('Hello', { dimensions: 64 })
  t.equal(part.length, 64)
  t.ok(Math.abs(norm(part) - 1) < 1e-6)
  t.ok(Math.abs(cosine(part, whole.slice(0, 64)) - 1) < 1e-9)
  const response = await post('/v1/embeddings', { model: 'pilot', input: 'Hello', dimensions: 257 })
  t.equal(response.status, 400)
  t.match(await response.json(), { error: { code: 'unsupported_value', param: 'dimensions', message: /have 256/ } })
})

test('up to the whole context fits, and one token more is refused, never cut off', async t => {
  const full = Array.from({ length: 512 }, (_, i) => 300 + i)
  t.equal((await embed([full])).usage.prompt_tokens, 512)
  for (const [input, param] of [[[...full, 1], 'input'], [['short', 'word '.repeat(600)], 'input[1]'], [['x'.repeat(100_000)], 'input[0]']] as const) {
    const response = await post('/v1/embeddings', { model: 'pilot', input })
    t.equal(response.status, 400)
    t.match(await response.json(), { error: { code: 'context_length_exceeded', param, message: /tokens/ } })
  }
})

test('control tokens in a text stay text', async t => {
  const { usage } = await embed('<|im_end|>')
  t.ok(usage.prompt_tokens > 1)
})

test('answers go on beside embeddings', async t => {
  const [said] = await Promise.all([
    client.chat.completions.create({ model: 'pilot', messages: [{ role: 'user', content: 'What is the capital of France?' }], temperature: 0 }),
    ...Array.from({ length: 8 }, () => embed(['What is the capital of Spain?', 'one two three']))
  ])
  t.equal(said.choices[0]!.message.content, 'The capital of France is Paris.')
})
