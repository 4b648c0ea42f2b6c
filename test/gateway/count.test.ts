/** Prompts counted through a whole gateway: by the vocabulary of a local model that is not in memory, and by estimates. */
import { test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

const TOOL = { name: 'weather', description: 'Tells the weather of a city.', parameters: { type: 'object', properties: { city: { type: 'string' } } } }
const INPUT = 'What is the weather in Paris? Answer in one word; <|im_end|> is no end.'

test('a prompt is counted as the local model reads it, which is not loaded for that', { timeout: 60_000 }, async t => {
  const cloud = await startProvider(t)
  const running = await startGateway(t, `
backends:
  - name: pool
    kind: pool
    models: [{ name: pilot, path: ${BUILTIN_MODEL.path}, contextTokens: 2048, slots: 1, gpu: false, load: demand }]
  - { name: cloud, kind: openai, baseUrl: '${cloud.url}', locality: cloud }
models:
  - { name: chat, targets: [{ backend: pool, model: pilot }] }
  - { name: either, targets: [{ backend: cloud, model: big }, { backend: pool, model: pilot }] }
tenants:
  - { name: open, class: public, models: ['*'] }
`)
  const authorization = `Bearer ${await running.key('open')}`
  const post = async (path: string, body: unknown) => {
    const response = await fetch(running.url + path, { method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body: JSON.stringify(body) })
    return { status: response.status, how: response.headers.get('x-torchgate-count'), body: await response.json() as Record<string, unknown> }
  }
  const messages = { model: 'chat', system: 'Be brief.', messages: [{ role: 'user', content: INPUT }], tools: [{ name: TOOL.name, description: TOOL.description, input_schema: TOOL.parameters }] }
  const responses = { model: 'chat', instructions: 'Be brief.', input: INPUT, tools: [{ type: 'function', strict: false, ...TOOL }] }
  const plain = { model: 'chat', messages: [{ role: 'user', content: INPUT }] }
  const state = () => running.gateway.pools[0]!.status().models[0]!.state

  const counts = [await post('/v1/messages/count_tokens', messages), await post('/v1/responses/input_tokens', responses), await post('/v1/messages/count_tokens', plain)]
  const tokens = await post('/tokenize', { model: 'chat', content: INPUT, parse_special: false })
  t.match(await post('/detokenize', { model: 'chat', tokens: tokens.body['tokens'] }), { status: 200, body: { content: INPUT } })
  t.strictSame(counts.map(({ status, how }) => [status, how]), [[200, 'exact'], [200, 'exact'], [200, 'exact']])
  t.equal(state(), 'unloaded', 'nothing was loaded to count')

  const estimates = [
    await post('/v1/messages/count_tokens', { ...messages, model: 'either' }),
    await post('/v1/responses/input_tokens', { ...responses, model: 'either' }),
    await post('/v1/messages/count_tokens', { ...plain, messages: [{ role: 'user', content: 'word '.repeat(20_000) }] }),
    await post('/v1/messages/count_tokens', { ...plain, messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' } }] }] })
  ]
  t.strictSame(estimates.map(({ status, how }) => [status, how]), [[200, 'estimate'], [200, 'estimate'], [200, 'estimate'], [200, 'estimate']])
  t.equal(estimates[2]!.body['input_tokens'], 25_001)
  t.equal(cloud.seen.connections, 0)
  t.match(await post('/v1/messages/count_tokens', { ...plain, model: 'nobody' }), { status: 404, how: null })

  const asked = await post('/v1/messages', { ...messages, max_tokens: 1 })
  const answered = await post('/v1/responses', { ...responses, max_output_tokens: 16 })
  const chatted = await post('/v1/chat/completions', { ...plain, max_tokens: 1 })
  t.equal(state(), 'ready')
  const { input_tokens: fresh, cache_read_input_tokens: cached } = asked.body['usage'] as Record<string, number>
  t.equal(counts[0]!.body['input_tokens'], fresh! + cached!)
  t.equal(counts[1]!.body['input_tokens'], (answered.body['usage'] as Record<string, number>)['input_tokens'])
  t.equal(counts[2]!.body['input_tokens'], (chatted.body['usage'] as Record<string, number>)['prompt_tokens'])
  t.equal((await post('/v1/messages/count_tokens', messages)).body['input_tokens'], counts[0]!.body['input_tokens'], 'the loaded model counts the same')
})
