/** Keys, presets and Gemini behind whole gateways, with OpenAI's client in front. */
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readFileSync } from 'node:fs'
import { test, type Test } from 'tap'
import { ask, readAll, startGateway } from './harness.ts'

type Body = Record<string, unknown>
interface Answer { readonly status?: number, readonly headers?: Record<string, string>, readonly body: string | Buffer, readonly type?: string }

async function startServer (t: Test, answer: (request: IncomingMessage, body: Body) => Answer) {
  const seen: Array<{ url: string | undefined, headers: IncomingMessage['headers'], body: Body }> = []
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const sent = JSON.parse(Buffer.concat(parts).toString()) as Body
    seen.push({ url: request.url, headers: request.headers, body: sent })
    const { status = 200, headers = {}, body, type = 'application/json' } = answer(request, sent)
    response.writeHead(status, { 'content-type': type, ...headers }).end(body)
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

const COMPLETION = JSON.stringify({ id: 'c', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message: { role: 'assistant', content: 'ok' }, finish_reason: 'stop' }], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } })
const chat = (backend: string, more = '') => `models: [{ name: chat, targets: [{ backend: ${backend}, model: gemini-2.5-flash }] }]\ntenants: [{ name: acme }]\n${more}`

test('a throttled key is not the caller\'s to see; the status tells which rests, and nobody tells its secret', async t => {
  const provider = await startServer(t, ({ headers }) => headers.authorization === 'Bearer sk-west-0123456789'
    ? { status: 429, headers: { 'retry-after': '9' }, body: '{"error":{"message":"slow down, sk-west-0123456789"}}' }
    : { body: COMPLETION })
  const running = await startGateway(t, `
backends:
  - name: cloud-a
    kind: openai
    preset: mistral
    baseUrl: ${provider.url}/v1
    allowInsecure: true
    apiKeys: [{ name: west, key: { env: WEST } }, { name: east, key: { command: ["${process.execPath}", "-p", "process.env.EAST"] } }]
${chat('cloud-a')}`, { WEST: 'sk-west-0123456789', EAST: 'sk-east-0123456789' })
  const client = await running.client('acme')
  for (let call = 0; call < 2; call++) t.equal((await client.chat.completions.create({ ...ask('hi', 'chat'), max_completion_tokens: 5, seed: 3 })).choices[0]?.message.content, 'ok')
  t.same(provider.seen.map(({ headers }) => headers.authorization), ['Bearer sk-west-0123456789', 'Bearer sk-east-0123456789', 'Bearer sk-east-0123456789'])
  t.match(provider.seen[0]?.body, { max_tokens: 5, random_seed: 3 }, 'in the words of the preset')
  const status = await running.admin<{ backends: Array<{ locality: string, models: Array<{ state: string, keys: unknown }> }> }>('/admin/v1/status')
  t.match(status.backends[0], { locality: 'cloud', models: [{ state: 'ready', keys: [{ name: 'west', state: 'down', reason: 'rate_limited' }, { name: 'east', state: 'ready' }] }] })
  const records = await running.records(2)
  t.match(records, [{ attempts: [{ key: 'east' }] }, { attempts: [{ key: 'east' }] }])
  t.notMatch(JSON.stringify([status, records]), /0123456789/)
})

test('Gemini behind OpenAI\'s client: streamed and whole, and what it has no words for', async t => {
  const stream = readFileSync(new URL('../backends/recorded/gemini.sse', import.meta.url))
  const whole = JSON.stringify({ responseId: 'r1', modelVersion: 'g', candidates: [{ index: 0, content: { role: 'model', parts: [{ text: 'from Gemini' }] }, finishReason: 'STOP' }], usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 4, cachedContentTokenCount: 6 } })
  const provider = await startServer(t, ({ url = '' }) => url.includes('alt=sse') ? { body: stream, type: 'text/event-stream' } : { body: whole })
  const running = await startGateway(t, `
backends: [{ name: google, kind: gemini, baseUrl: "${provider.url}", locality: cloud, allowInsecure: true, apiKey: { env: GOOGLE } }]
${chat('google')}`, { GOOGLE: 'AIza0123456789abcdef' })
  const client = await running.client('acme')
  t.same(await readAll(await client.chat.completions.create({ ...ask('capital?', 'chat'), stream: true })), { text: 'The capital of France is "Paris".', finish: 'stop' })
  t.match(await client.chat.completions.create(ask('hi', 'chat')), { choices: [{ message: { content: 'from Gemini' } }] })
  t.match((await running.records(2)).at(-1), { outcome: 'ok', usage: { input_tokens: 10, output_tokens: 4, cached_input_tokens: 6 }, usage_estimated: false })
  await t.rejects(client.chat.completions.create({ ...ask('hi', 'chat'), logit_bias: { 1: 2 } }), { status: 400, code: 'unsupported_value', param: 'logit_bias' })
  t.same(provider.seen.map(({ headers }) => headers['x-goog-api-key']), ['AIza0123456789abcdef', 'AIza0123456789abcdef'])
})
