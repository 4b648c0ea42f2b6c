/**
 * What OpenAI's contract promises a client and no other test holds. The checks of test/contract say most of it of any server;
 * the rest stands here:
 *
 * - refusals: a bad parameter of chat has status, code, param and wording in test/wire/validate.test.ts; of responses and messages
 *   in test/wire/{responses,messages}/request.test.ts; of raw bodies in hostile.test.ts and http.test.ts; of the others here.
 * - what a client is told of trying again; faults.test.ts has when another target is asked.
 * - streams: each event when it comes, whatever the client accepts; what was abandoned costs nobody anything.
 * - a stream and a whole answer: of every dialect in golden.test.ts; where answers are drawn, here.
 */
import OpenAI from 'openai'
import { test, type Test } from 'tap'
import type { ErrorBody } from '../../src/errors.ts'
import { ask, eventually, pilotPool, startGateway, type Running } from './harness.ts'
import { startProvider, type Provider } from './provider.ts'

type Body = Record<string, unknown>

const MEGABYTE = 1_000_000

async function start (t: Test, tenants = '- { name: acme }'): Promise<{ provider: Provider, running: Running, client: OpenAI }> {
  const provider = await startProvider(t)
  const running = await startGateway(t, `
backends: [{ name: far, kind: openai, baseUrl: '${provider.url}', locality: cloud }]
models:
  - { name: m, targets: [{ backend: far, model: big }] }
  - { name: meta/llama, targets: [{ backend: far, model: big }] }
tenants:
  ${tenants}
`)
  return { provider, running, client: await running.client('acme') }
}

/** Path -> a sound body, and what a change to it is refused with. */
const REFUSED: Readonly<Record<string, readonly [sound: Body, cases: ReadonlyArray<readonly [change: Body, code: string, param: string]>]>> = {
  '/v1/completions': [{ model: 'm', prompt: 'a' }, [
    [{ model: undefined }, 'missing_required_parameter', 'model'],
    [{ model: 5 }, 'invalid_type', 'model'],
    [{ prompt: undefined }, 'missing_required_parameter', 'prompt'],
    [{ prompt: 5 }, 'invalid_type', 'prompt'],
    [{ prompt: {} }, 'invalid_type', 'prompt'],
    [{ prompt: [] }, 'invalid_value', 'prompt'],
    [{ prompt: ['a', 5] }, 'invalid_type', 'prompt[1]'],
    [{ prompt: [1, 'a'] }, 'invalid_type', 'prompt[1]'],
    [{ prompt: [1, -1] }, 'invalid_value', 'prompt[1]'],
    [{ prompt: [[1], ['a']] }, 'invalid_type', 'prompt[1][0]'],
    [{ max_tokens: -1 }, 'invalid_value', 'max_tokens'],
    [{ max_tokens: '16' }, 'invalid_type', 'max_tokens'],
    [{ temperature: 2.1 }, 'invalid_value', 'temperature'],
    [{ temperature: '1' }, 'invalid_type', 'temperature'],
    [{ top_p: -0.1 }, 'invalid_value', 'top_p'],
    [{ presence_penalty: 3 }, 'invalid_value', 'presence_penalty'],
    [{ frequency_penalty: -3 }, 'invalid_value', 'frequency_penalty'],
    [{ n: 0 }, 'invalid_value', 'n'],
    [{ n: 129 }, 'invalid_value', 'n'],
    [{ best_of: 21 }, 'invalid_value', 'best_of'],
    [{ n: 3, best_of: 2 }, 'invalid_value', 'best_of'],
    [{ best_of: 2, stream: true }, 'invalid_value', 'best_of'],
    [{ logprobs: 6 }, 'invalid_value', 'logprobs'],
    [{ logprobs: true }, 'invalid_type', 'logprobs'],
    [{ echo: 'yes' }, 'invalid_type', 'echo'],
    [{ suffix: 1 }, 'invalid_type', 'suffix'],
    [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'invalid_value', 'stop'],
    [{ stop: 5 }, 'invalid_type', 'stop'],
    [{ seed: 0.5 }, 'invalid_type', 'seed'],
    [{ logit_bias: { 1: 101 } }, 'invalid_value', 'logit_bias.1'],
    [{ logit_bias: { word: 1 } }, 'invalid_value', 'logit_bias'],
    [{ stream: 'true' }, 'invalid_type', 'stream'],
    [{ stream_options: { include_usage: true } }, 'invalid_value', 'stream_options'],
    [{ user: 1 }, 'invalid_type', 'user'],
    [{ base_url: 'http://x' }, 'unsupported_parameter', 'base_url']
  ]],
  '/v1/embeddings': [{ model: 'm', input: 'a' }, [
    [{ model: undefined }, 'missing_required_parameter', 'model'],
    [{ input: undefined }, 'missing_required_parameter', 'input'],
    [{ input: 5 }, 'invalid_type', 'input'],
    [{ input: '' }, 'invalid_value', 'input'],
    [{ input: [] }, 'invalid_value', 'input'],
    [{ input: ['a', ''] }, 'invalid_value', 'input[1]'],
    [{ input: ['a', 5] }, 'invalid_type', 'input[1]'],
    [{ input: [[1], []] }, 'invalid_value', 'input[1]'],
    [{ input: [1, 1.5] }, 'invalid_type', 'input[1]'],
    [{ input: Array.from({ length: 2049 }, () => 'a') }, 'invalid_value', 'input'],
    [{ encoding_format: 'int8' }, 'invalid_value', 'encoding_format'],
    [{ encoding_format: 5 }, 'invalid_type', 'encoding_format'],
    [{ dimensions: 0 }, 'invalid_value', 'dimensions'],
    [{ dimensions: '256' }, 'invalid_type', 'dimensions'],
    [{ user: 1 }, 'invalid_type', 'user'],
    [{ api_key: 'x' }, 'unsupported_parameter', 'api_key']
  ]],
  '/v1/rerank': [{ model: 'm', query: 'q', documents: ['a'] }, [
    [{ model: undefined }, 'missing_required_parameter', 'model'],
    [{ query: undefined }, 'missing_required_parameter', 'query'],
    [{ query: '' }, 'invalid_value', 'query'],
    [{ query: 5 }, 'invalid_type', 'query'],
    [{ documents: undefined }, 'missing_required_parameter', 'documents'],
    [{ documents: 'a' }, 'invalid_type', 'documents'],
    [{ documents: [] }, 'invalid_value', 'documents'],
    [{ documents: ['a', 5] }, 'invalid_type', 'documents[1]'],
    [{ top_n: 0 }, 'invalid_value', 'top_n'],
    [{ top_n: '1' }, 'invalid_type', 'top_n'],
    [{ return_documents: 'yes' }, 'invalid_type', 'return_documents'],
    [{ max_tokens_per_doc: 0 }, 'invalid_value', 'max_tokens_per_doc']
  ]],
  '/v1/responses': [{ model: 'm', input: 'a' }, [
    [{ model: undefined }, 'missing_required_parameter', 'model'],
    [{ input: 5 }, 'invalid_type', 'input'],
    [{ input: [] }, 'invalid_value', 'input'],
    [{ max_output_tokens: 15 }, 'invalid_value', 'max_output_tokens'],
    [{ max_output_tokens: '16' }, 'invalid_type', 'max_output_tokens'],
    [{ temperature: 2.1 }, 'invalid_value', 'temperature'],
    [{ top_p: 1.1 }, 'invalid_value', 'top_p'],
    [{ top_logprobs: 21 }, 'invalid_value', 'top_logprobs'],
    [{ reasoning: { effort: 'huge' } }, 'invalid_value', 'reasoning.effort'],
    [{ text: { verbosity: 'loud' } }, 'invalid_value', 'text.verbosity'],
    [{ include: ['everything'] }, 'invalid_value', 'include[0]'],
    [{ tool_choice: 'sometimes' }, 'invalid_value', 'tool_choice'],
    [{ stream: 'true' }, 'invalid_type', 'stream'],
    [{ metadata: { a: 1 } }, 'invalid_type', 'metadata.a']
  ]],
  '/v1/chat/completions': [{ model: 'm', messages: [{ role: 'user', content: 'a' }] }, [
    [{ model: '' }, 'invalid_value', 'model'],
    [{ messages: undefined }, 'missing_required_parameter', 'messages'],
    [{ max_completion_tokens: 0 }, 'invalid_value', 'max_completion_tokens'],
    [{ max_tokens: 0 }, 'invalid_value', 'max_tokens'],
    [{ top_p: 1.1 }, 'invalid_value', 'top_p'],
    [{ presence_penalty: -2.1 }, 'invalid_value', 'presence_penalty'],
    [{ n: 129 }, 'invalid_value', 'n'],
    [{ top_logprobs: 1 }, 'invalid_value', 'top_logprobs'],
    [{ response_format: { type: 'json_schema', json_schema: { schema: {} } } }, 'missing_required_parameter', 'response_format.json_schema.name'],
    [{ tools: [{ type: 'function', function: { name: 'a b' } }] }, 'invalid_value', 'tools[0].function.name'],
    [{ reasoning_effort: 'huge' }, 'invalid_value', 'reasoning_effort'],
    [{ verbosity: 'loud' }, 'invalid_value', 'verbosity'],
    [{ service_tier: 'first' }, 'invalid_value', 'service_tier'],
    [{ metadata: { a: 1 } }, 'invalid_type', 'metadata.a'],
    [{ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, index) => [index, 'a'])) }, 'invalid_value', 'metadata']
  ]]
}

test('bad input: 400, the code and the parameter, and no backend hears of it', { timeout: 60_000 }, async t => {
  const { provider, running } = await start(t)
  const headers = { authorization: `Bearer ${await running.key('acme')}`, 'content-type': 'application/json' }
  for (const [path, [sound, cases]] of Object.entries(REFUSED)) {
    const post = async (body: Body) => {
      const answer = await fetch(running.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
      return { status: answer.status, error: (await answer.json() as ErrorBody).error }
    }
    for (const [change, code, param] of cases) {
      const { status, error } = await post({ ...sound, ...change })
      t.same([status, error.type, error.code, error.param], [400, 'invalid_request_error', code, param], `${path} ${JSON.stringify(change).slice(0, 80)}: ${error.message}`)
    }
    const { status, error } = await post({ ...sound, model: 'none' })
    t.same([status, error.code, error.param], [404, 'model_not_found', 'model'], path)
  }
  t.equal(provider.seen.bytes, 0)
})

test('names of models with a slash, as clients write them in a path', async t => {
  const { client, running } = await start(t)
  t.match(await client.models.retrieve('meta/llama'), { id: 'meta/llama', object: 'model', created: Number, owned_by: String })
  const get = async (path: string) => (await fetch(running.url + path, { headers: { authorization: `Bearer ${client.apiKey}` } })).json() as Promise<{ id: string }>
  for (const path of ['/v1/models/meta/llama', '/v1/models/meta%2Fllama', '/v1/models/meta%2fllama?beta=true']) t.equal((await get(path)).id, 'meta/llama', path)
})

test('clients that try again by themselves are told when that helps', async t => {
  const { provider, running } = await start(t, `- { name: acme }
  - { name: poor, limits: { requestsPerMinute: 1 } }
  - { name: small, limits: { tokensPerMinute: 50 } }`)
  const eager = async (tenant: string) => new OpenAI({ apiKey: await running.key(tenant), baseURL: `${running.url}/v1` })
  const refusal = async (client: OpenAI, body = ask('Hi', 'm')) => client.chat.completions.create(body).then(() => t.fail('answered'), (error: unknown) => error as InstanceType<typeof OpenAI.APIError>)
  const client = await eager('acme')

  await refusal(client, { ...ask('Hi', 'm'), temperature: 5 })
  t.equal(provider.seen.requests.length, 0, 'what is wrong is wrong again')
  for (const [status, code] of [[400, 'invalid_value'], [429, 'insufficient_quota'], [500, null]] as const) {
    provider.seen.requests.length = 0
    provider.behave = { do: 'status', status, body: { error: { message: 'No.', type: 'x', code, param: null } } }
    const error = await refusal(client) as { status: number }
    t.equal(provider.seen.requests.length, 1, `${status}: the client has asked once (${error.status})`)
  }
  provider.behave = { do: 'answer' }

  const poor = await running.client('poor')
  await poor.chat.completions.create(ask('Hi', 'm'))
  const limited = await refusal(poor) as { status: number, code: string, headers: Headers }
  t.match(limited, { status: 429, code: 'rate_limit_exceeded' })
  t.match(limited.headers.get('retry-after'), /^[1-9]\d?$/)
  t.match(limited.headers.get('retry-after-ms'), /^\d+$/)
  t.equal(limited.headers.get('x-should-retry'), null)
  t.match(limited.headers.get('x-ratelimit-limit-requests'), '1')
  t.match(limited.headers.get('x-ratelimit-reset-requests'), /^(?:\d+m)?[\d.]+s$/)

  const never = await refusal(await eager('small'), ask('word '.repeat(500), 'm')) as { status: number, headers: Headers }
  t.same([never.status, never.headers.get('x-should-retry'), never.headers.get('retry-after')], [429, 'false', null], 'what never fits is not to be tried again')
})

test('a body of tens of megabytes is served', { timeout: 60_000 }, async t => {
  const { provider, client } = await start(t)
  const content = 'word '.repeat(4 * MEGABYTE)
  t.match(await client.chat.completions.create(ask(content, 'm')), { choices: [{ finish_reason: 'stop' }] })
  t.equal((provider.seen.requests[0]!.body as { messages: { content: string }[] }).messages[0]!.content.length, content.length)
})

test('each event comes when it is said, and not compressed, whatever the client accepts', async t => {
  const { provider, running, client } = await start(t)
  provider.behave = { do: 'answer', words: ['a', 'b', 'c', 'd'], gapMs: 150 }
  const answer = await fetch(`${running.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${client.apiKey}`, 'content-type': 'application/json', 'accept-encoding': 'gzip, deflate, br' },
    body: JSON.stringify({ ...ask('Hi', 'm'), stream: true })
  })
  t.same([answer.headers.get('content-encoding'), answer.headers.get('cache-control')], [null, 'no-cache'])
  t.match(answer.headers.get('x-request-id'), /^req_/)
  t.match(answer.headers.get('openai-processing-ms'), /^\d+$/)
  const came = new Map<string, number>()
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for await (const bytes of answer.body!) {
    // Fails where a character is cut in two.
    for (const [, word] of decoder.decode(bytes).matchAll(/"content":"(\w)"/g)) came.set(word!, performance.now())
  }
  t.same([...came.keys()], ['a', 'b', 'c', 'd'])
  t.ok(came.get('d')! - came.get('a')! > 300, `a came ${came.get('d')! - came.get('a')!} ms before d`)
})

test('sixteen abandoned streams free their upstream at once and cost the next caller nothing', { timeout: 60_000 }, async t => {
  const { provider, running, client } = await start(t)
  provider.behave = { do: 'answer', words: Array.from({ length: 200 }, () => 'word '), gapMs: 50 }
  await Promise.all(Array.from({ length: 16 }, async () => {
    const stream = await client.chat.completions.create({ ...ask('Hi', 'm'), stream: true })
    for await (const _ of stream) break
  }))
  const began = performance.now()
  provider.behave = { do: 'answer' }
  t.match(await client.chat.completions.create(ask('Hi', 'm')), { choices: [{ finish_reason: 'stop' }] })
  t.ok(performance.now() - began < 2000, `${performance.now() - began} ms`)
  t.ok(await eventually(async () => await running.metric('torchgate_requests_in_flight') === 0, 2000), 'none of them is still under way')
  const records = await running.records(17)
  t.equal(records.filter(({ outcome }) => outcome === 'cancelled').length, 16)
})

test('the local model', { timeout: 60_000 }, async t => {
  const running = await startGateway(t, `
backends:${pilotPool(4)}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: acme }]
`)
  const client = await running.client('acme')

  await t.test('what is drawn with a seed is the same in a stream, in the text and in the count', async t => {
    const drawn = { ...ask('Tell me a story about a fox'), temperature: 1.5, seed: 11, max_tokens: 40 }
    const whole = await client.chat.completions.create(drawn)
    const streamed = await client.chat.completions.stream({ ...drawn, stream_options: { include_usage: true } }).finalChatCompletion()
    t.equal(streamed.choices[0]!.message.content, whole.choices[0]!.message.content)
    t.equal(streamed.choices[0]!.finish_reason, whole.choices[0]!.finish_reason)
    t.same([streamed.usage!.prompt_tokens, streamed.usage!.completion_tokens], [whole.usage!.prompt_tokens, whole.usage!.completion_tokens])
  })

  await t.test('several choices: the prompt counts once, the answers all, and the client takes their stream', async t => {
    const several = { ...ask('Tell me a joke'), temperature: 1, seed: 3, n: 3, max_tokens: 12 }
    const one = await client.chat.completions.create({ ...several, n: 1 })
    const whole = await client.chat.completions.create(several)
    const streamed = await client.chat.completions.stream({ ...several, stream_options: { include_usage: true } }).finalChatCompletion()
    t.same(whole.choices.map(({ index }) => index), [0, 1, 2])
    t.equal(whole.usage!.prompt_tokens, one.usage!.prompt_tokens)
    t.ok(whole.usage!.completion_tokens > one.usage!.completion_tokens && whole.usage!.completion_tokens <= 36)
    t.same(streamed.choices.map(({ message }) => message.content), whole.choices.map(({ message }) => message.content))
    t.equal(streamed.usage!.completion_tokens, whole.usage!.completion_tokens)
  })

  await t.test('agents ask for 32,000 tokens of any context, and get what fits', async t => {
    t.match(await client.chat.completions.create({ ...ask('What is the capital of France?'), max_completion_tokens: 32_000 }), { choices: [{ finish_reason: 'stop', message: { content: /Paris/ } }] })
  })

  await t.test('a caller that leaves a stream frees its slot, and what it used is in the account', async t => {
    const before = (await running.records(0)).length
    const stream = await client.chat.completions.create({ ...ask('Count from 1 to 20'), stream: true, max_tokens: 500 })
    for await (const { choices } of stream) if (choices[0]?.delta.content) break
    t.ok(await eventually(async () => await running.metric('torchgate_worker_slots', { state: 'busy' }) === 0), 'no slot is busy')
    const left = (await running.records(before + 1)).at(-1)!
    t.match(left, { outcome: 'cancelled', usage: { input_tokens: Number, output_tokens: Number } })
    t.ok((left['usage'] as { output_tokens: number }).output_tokens > 0)
  })
})
