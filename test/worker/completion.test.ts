/** Raw prompts at a real worker with the built-in model. */
import OpenAI from 'openai'
import tap, { test } from 'tap'
import { workerOnPort } from './spawned.ts'

const { url } = await workerOnPort(tap, '--context-tokens', '512', '--slots', '4')
const client = new OpenAI({ apiKey: 'none', baseURL: `${url}/v1`, maxRetries: 0 })

/** What the chat template makes of a question. */
const RAW = '<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n'
const SAYS = 'The capital of France is Paris.'
const ask = { model: 'pilot', prompt: RAW, temperature: 0, max_tokens: 40 }
const refusal = (answer: Promise<unknown>): Promise<unknown> => answer.then(() => 'answered', (error: unknown) => error)

test('a raw prompt is continued, without a chat template, and streamed the same', async t => {
  const { choices: [choice], object, id, usage } = await client.completions.create(ask)
  t.match(choice, { text: SAYS, index: 0, logprobs: null, finish_reason: 'stop' })
  t.match({ object, id }, { object: 'text_completion', id: /^cmpl-/ })
  t.equal(usage!.total_tokens, usage!.prompt_tokens + usage!.completion_tokens)
  let text = ''
  let reason: string | null = null
  let counted: unknown = null
  for await (const chunk of await client.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
    t.equal(chunk.object, 'text_completion')
    text += chunk.choices[0]?.text ?? ''
    reason = chunk.choices[0]?.finish_reason ?? reason
    counted = chunk.usage ?? counted
  }
  t.equal(text, SAYS)
  t.equal(reason, 'stop')
  t.match(counted, { prompt_tokens: usage!.prompt_tokens, completion_tokens: usage!.completion_tokens })
})

test('sixteen tokens unless more are asked for', async t => {
  const { choices, usage } = await client.completions.create({ model: 'pilot', prompt: 'one two three', logit_bias: { 2043: -100, 2041: -100 } })
  t.equal(usage!.completion_tokens, 16)
  t.equal(choices[0]!.finish_reason, 'length')
})

test('several prompts, each with several choices, as texts and as tokens', async t => {
  const { tokens } = await (await fetch(`${url}/tokenize`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model: 'pilot', content: RAW }) })).json() as { tokens: number[] }
  const two = await client.completions.create({ ...ask, prompt: [tokens, tokens], n: 2 })
  t.strictSame(two.choices.map(({ index, text }) => [index, text]), [0, 1, 2, 3].map(index => [index, SAYS]))
  const one = await client.completions.create({ ...ask, prompt: tokens })
  t.equal(one.choices[0]!.text, SAYS)
  t.equal(two.usage!.prompt_tokens, one.usage!.prompt_tokens * 2)
  const seen = new Set<number>()
  for await (const { choices } of await client.completions.create({ ...ask, prompt: [RAW, RAW], n: 2, stream: true })) {
    for (const { index } of choices) seen.add(index)
  }
  t.strictSame([...seen].toSorted(), [0, 1, 2, 3])
})

test('echo says the prompt first, and nothing else when no token is asked for', async t => {
  t.equal((await client.completions.create({ ...ask, echo: true })).choices[0]!.text, RAW + SAYS)
  const silent = await client.completions.create({ ...ask, echo: true, max_tokens: 0 })
  t.match(silent.choices[0], { text: RAW, finish_reason: 'length' })
  t.equal(silent.usage!.completion_tokens, 0)
  let text = ''
  for await (const { choices } of await client.completions.create({ ...ask, echo: true, stream: true })) text += choices[0]?.text ?? ''
  t.equal(text, RAW + SAYS)
})

test('stop strings end it, and are not shown', async t => {
  t.match((await client.completions.create({ ...ask, stop: [' France'] })).choices[0], { text: 'The capital of', finish_reason: 'stop' })
})

test('logprobs stand in four lists, and their texts make up the answer', async t => {
  const { choices: [choice] } = await client.completions.create({ ...ask, logprobs: 2 })
  const { tokens, token_logprobs: scores, top_logprobs: top, text_offset: offsets } = choice!.logprobs!
  t.equal(tokens!.join(''), SAYS)
  t.ok(scores!.every(score => score <= 0))
  t.ok(top!.every(likely => Object.keys(likely).length >= 1 && Object.keys(likely).length <= 2))
  for (const [at, token] of tokens!.entries()) t.equal(SAYS.slice(offsets![at]!, offsets![at]! + token.length), token)
})

test('what cannot be honoured is refused by name', async t => {
  const cases: [Record<string, unknown>, string, string][] = [
    [{ suffix: 'x' }, 'suffix', 'unsupported_value'],
    [{ best_of: 3 }, 'best_of', 'unsupported_value'],
    [{ n: 3, best_of: 2 }, 'best_of', 'invalid_value'],
    [{ echo: true, logprobs: 1 }, 'logprobs', 'unsupported_value'],
    [{ logprobs: 6 }, 'logprobs', 'invalid_value'],
    [{ prompt: '' }, 'prompt', 'invalid_value'],
    [{ prompt: [[1], [2048]] }, 'prompt[1][0]', 'invalid_value'],
    [{ prompt: ['a', 'word '.repeat(600)] }, 'prompt[1]', 'context_length_exceeded'],
    [{ prompt: undefined }, 'prompt', 'missing_required_parameter'],
    [{ max_tokens: -1 }, 'max_tokens', 'invalid_value']
  ]
  for (const [change, param, code] of cases) t.match(await refusal(client.completions.create({ ...ask, ...change } as never)), { status: 400, param, code })
})

test('tokens become text again', async t => {
  const post = async (path: string, body: unknown) => await (await fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })).json() as Record<string, unknown>
  for (const content of [RAW, '', 'naïve 日本 🙂']) {
    const { tokens, count } = await post('/tokenize', { model: 'pilot', content })
    t.equal((tokens as number[]).length, count)
    t.match(await post('/detokenize', { model: 'pilot', tokens: (tokens as number[]).length === 0 ? [0] : tokens }), { content: content === '' ? String : content })
  }
  t.equal((await post('/tokenize', { model: 'pilot', content: '<|im_end|>' }))['count'], 1)
  t.ok((await post('/tokenize', { model: 'pilot', content: '<|im_end|>', parse_special: false }))['count'] as number > 1)
})
