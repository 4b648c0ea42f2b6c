/** Real clients against the real gateway and the real model. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, streamText } from 'ai'
import type OpenAI from 'openai'
import { test } from 'tap'
import { ask, pilotPool, readAll, startGateway } from './harness.ts'

const PILOT = `
backends:${pilotPool()}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: default }, { name: other, models: [nothing-*] }]
`

test('clients', { timeout: 60_000 }, async t => {
  const running = await startGateway(t, PILOT)
  const client = await running.client('default')

  await t.test('the OpenAI SDK: an answer, with usage', async t => {
    const { data: answer, response } = await client.chat.completions.create(ask('What is the capital of France?')).withResponse()
    t.equal(answer.choices[0]!.message.content, 'The capital of France is Paris.')
    t.equal(answer.choices[0]!.finish_reason, 'stop')
    t.equal(answer.usage!.total_tokens, answer.usage!.prompt_tokens + answer.usage!.completion_tokens)
    t.match(answer.id, /^chatcmpl-/)
    t.match(response.headers.get('x-request-id')!, /^req_[0-9a-f]{24}$/)
    t.match(response.headers.get('openai-processing-ms')!, /^\d+$/)
    t.equal(response.headers.get('x-torchgate-target'), 'pool/pilot')
    t.equal(response.headers.get('x-torchgate-attempts'), '1')
    t.equal(response.headers.get('x-torchgate-why'), 'class=internal;boundary=cloud;order=listed;eligible=1/1')
  })

  await t.test('the OpenAI SDK: a stream gives the same text, and usage only to who asks', async t => {
    const whole = await client.chat.completions.create(ask('Count from 1 to 10'))
    const chunks: OpenAI.Chat.ChatCompletionChunk[] = []
    for await (const chunk of await client.chat.completions.create({ ...ask('Count from 1 to 10'), stream: true })) chunks.push(chunk)
    t.equal(chunks.map(({ choices }) => choices[0]!.delta.content ?? '').join(''), whole.choices[0]!.message.content)
    t.equal(chunks[0]!.choices[0]!.delta.role, 'assistant')
    t.equal(chunks.at(-1)!.choices[0]!.finish_reason, 'stop')
    t.ok(chunks.length > 5, 'it came in pieces')

    const counted: OpenAI.Chat.ChatCompletionChunk[] = []
    const stream = await client.chat.completions.create({ ...ask('Count from 1 to 10'), stream: true, stream_options: { include_usage: true } })
    for await (const chunk of stream) counted.push(chunk)
    t.same(counted.at(-1)!.choices, [])
    t.equal(counted.at(-1)!.usage!.completion_tokens, whole.usage!.completion_tokens)
  })

  await t.test('the Vercel AI SDK, whole and streamed', async t => {
    const provider = createOpenAICompatible({ name: 'torchgate', baseURL: `${running.url}/v1`, apiKey: await running.key('default') })
    const { text, usage } = await generateText({ model: provider('pilot'), prompt: 'What is the capital of France?', temperature: 0 })
    t.equal(text, 'The capital of France is Paris.')
    t.ok(usage.totalTokens! > 0)
    let streamed = ''
    for await (const part of streamText({ model: provider('pilot'), prompt: 'What is the capital of France?', temperature: 0 }).textStream) streamed += part
    t.equal(streamed, 'The capital of France is Paris.')
  })

  await t.test('curl', async t => {
    const { stdout } = await promisify(execFile)('curl', ['-sS', `${running.url}/v1/chat/completions`,
      '-H', `Authorization: bearer ${await running.key('default')}`, '-H', 'Content-Type: application/json',
      '-d', JSON.stringify(ask('What is the capital of France?'))])
    t.equal(JSON.parse(stdout).choices[0].message.content, 'The capital of France is Paris.')
  })

  await t.test('models are listed as this key may call them', async t => {
    const models = await client.models.list()
    t.same(models.data.map(({ id }) => id), ['pilot'])
    t.equal((await client.models.retrieve('pilot')).id, 'pilot')
    t.same((await (await running.client('other')).models.list()).data, [])
    await t.rejects(client.models.retrieve('no/such'), { status: 404, code: 'model_not_found' })
    await t.rejects((await running.client('other')).chat.completions.create(ask('Hello')), { status: 403, code: 'model_not_allowed' })
  })

  await t.test('stop, max_tokens, seed', async t => {
    const stopped = await client.chat.completions.create({ ...ask('Count from 1 to 10'), stop: ' 5' })
    t.equal(stopped.choices[0]!.message.content, '1, 2, 3, 4,')
    t.equal(stopped.choices[0]!.finish_reason, 'stop')
    const short = await client.chat.completions.create({ ...ask('Count from 1 to 10'), max_completion_tokens: 3 })
    t.equal(short.usage!.completion_tokens, 3)
    t.equal(short.choices[0]!.finish_reason, 'length')
    const seeded = () => client.chat.completions.create({ ...ask('Tell me a story about a cat'), temperature: 1.5, seed: 7 })
    t.equal((await seeded()).choices[0]!.message.content, (await seeded()).choices[0]!.message.content)
  })

  await t.test('a prompt that does not fit is an error, never cut off', async t => {
    await t.rejects(client.chat.completions.create(ask('word '.repeat(4000))), { status: 400, code: 'context_length_exceeded' })
  })

  await t.test('50 streams at once over 4 slots all answer', async t => {
    const answers = await Promise.all(Array.from({ length: 50 }, async () => readAll(await client.chat.completions.create({ ...ask('Count from 1 to 10'), stream: true }))))
    t.same([...new Set(answers.map(({ finish }) => finish))], ['stop'])
    t.equal(new Set(answers.map(({ text }) => text)).size, 1)
    t.equal(await running.metric('torchgate_worker_slots', { state: 'busy' }), 0)
    t.equal(await running.metric('torchgate_requests_in_flight'), 0)
  })
})
