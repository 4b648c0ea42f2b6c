/** Embeddings through a whole gateway: the real model, the real SDK, and a provider that counts what reaches it. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { pilotPool, startGateway } from './harness.ts'

interface Upstream { readonly url: string, readonly seen: { connections: number, bodies: Record<string, unknown>[], paths: string[] }, answer: (body: Record<string, unknown>) => unknown }

/** A provider of embeddings. */
async function startUpstream (t: Test): Promise<Upstream> {
  const upstream: Upstream = { url: '', seen: { connections: 0, bodies: [], paths: [] }, answer: () => floats([[0.6, 0.8]]) }
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const body = JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>
    upstream.seen.bodies.push(body)
    upstream.seen.paths.push(request.url ?? '')
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(upstream.answer(body)))
  })
  server.on('connection', () => { upstream.seen.connections++ })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return Object.assign(upstream, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1` })
}

const floats = (vectors: number[][], usage: unknown = { prompt_tokens: 5, total_tokens: 5 }) => ({
  object: 'list', model: 'embedder', data: vectors.map((embedding, index) => ({ object: 'embedding', index, embedding })), usage
})

const grid = (url: string) => `
backends:${pilotPool(2)}
  - { name: cloud, kind: openai, baseUrl: '${url}', locality: cloud }
models:
  - { name: vectors, targets: [{ backend: cloud, model: embedder }, { backend: pool, model: pilot }] }
  - { name: only-cloud, targets: [{ backend: cloud, model: embedder }] }
tenants:
  - { name: open, class: public, models: ['*'] }
  - { name: closed, class: restricted, models: ['*'] }
  - { name: small, class: restricted, models: ['*'], limits: { tokensPerMinute: 40 } }
`

const refusal = (answer: Promise<unknown>): Promise<unknown> => answer.then(() => 'answered', (error: unknown) => error)

test('embeddings', { timeout: 60_000 }, async t => {
  const cloud = await startUpstream(t)
  const running = await startGateway(t, grid(cloud.url))
  const [open, closed] = [await running.client('open'), await running.client('closed')]

  await t.test("a restricted tenant's texts never reach the cloud", async t => {
    const { data, response } = await closed.embeddings.create({ model: 'vectors', input: ['What is the capital of France?', 'Hello'] }).withResponse()
    t.strictSame(data.data.map(({ index, embedding }) => [index, embedding.length]), [[0, 256], [1, 256]])
    t.ok(Math.abs(Math.hypot(...data.data[0]!.embedding) - 1) < 1e-5)
    t.equal(response.headers.get('x-torchgate-target'), 'pool/pilot')
    t.match(response.headers.get('x-torchgate-why'), /class=restricted;boundary=local;.*skip=cloud\/embedder:data_class/)
    await t.rejects(closed.embeddings.create({ model: 'only-cloud', input: 'Hello' }), { status: 503, code: 'no_eligible_target' })
    t.equal(cloud.seen.connections, 0)
  })

  await t.test('an open one reaches the provider, and floats become the base64 that the SDK asked for', async t => {
    const { data } = await open.embeddings.create({ model: 'vectors', input: 'Hello' })
    t.strictSame(data[0]!.embedding, [0.6, 0.8].map(Math.fround))
    t.match(cloud.seen, { paths: ['/v1/embeddings'], bodies: [{ model: 'embedder', input: 'Hello', encoding_format: 'base64' }] })
    const plain = await open.embeddings.create({ model: 'vectors', input: 'Hello', encoding_format: 'float' })
    t.strictSame(plain.data[0]!.embedding, [0.6, 0.8])
  })

  await t.test('an answer with too few vectors is none, and the next target is asked', async t => {
    const { data, response } = await open.embeddings.create({ model: 'vectors', input: ['one', 'two'] }).withResponse()
    t.equal(data.data.length, 2)
    t.equal(response.headers.get('x-torchgate-target'), 'pool/pilot')
    t.equal(response.headers.get('x-torchgate-attempts'), '2')
  })

  await t.test('bad input is refused by name', async t => {
    const cases: [Record<string, unknown>, string][] = [
      [{ input: '' }, 'input'], [{ input: [] }, 'input'], [{ input: ['a', 1] }, 'input[1]'], [{ input: [[1], 'a'] }, 'input[1]'], [{ input: [1, -1] }, 'input[1]'],
      [{ input: { text: 'a' } }, 'input'], [{}, 'input'], [{ input: 'a', encoding_format: 'hex' }, 'encoding_format'], [{ input: 'a', dimensions: 0 }, 'dimensions'],
      [{ input: 'a', api_base: 'http://elsewhere' }, 'api_base'], [{ input: Array.from({ length: 2049 }, () => 'a') }, 'input']
    ]
    for (const [body, param] of cases) {
      t.match(await refusal(open.embeddings.create({ model: 'vectors', ...body } as never)), { status: 400, param })
    }
    t.match(await refusal(closed.embeddings.create({ model: 'vectors', input: ['a', 'word '.repeat(9000)] })), { status: 400, code: 'context_length_exceeded', param: 'input[1]' })
    t.match(await refusal(closed.embeddings.create({ model: 'vectors', input: 'a', dimensions: 300 })), { status: 400, param: 'dimensions' })
  })

  await t.test('limits and the account know them', async t => {
    const small = await running.client('small')
    await small.embeddings.create({ model: 'vectors', input: 'What is the capital of France?' })
    t.match(await refusal(small.embeddings.create({ model: 'vectors', input: 'word '.repeat(60) })), { status: 429 })
    const rows = await running.records(10)
    t.match(rows[0], { endpoint: 'embeddings', tenant: 'closed', outcome: 'ok', class: 'restricted' })
    t.match(rows.find(({ tenant }) => tenant === 'open'), { endpoint: 'embeddings', usage: { input_tokens: 5, output_tokens: 0 }, usage_estimated: false })
    t.equal(rows.at(-1)!.outcome, 'rate_limited')
  })

  await t.test('a provider that does not count is charged for by an estimate', async t => {
    cloud.answer = () => floats([[1, 0]], null)
    await open.embeddings.create({ model: 'vectors', input: 'x'.repeat(400) })
    const rows = await running.records(21)
    t.match(rows.findLast(({ tenant, outcome }) => tenant === 'open' && outcome === 'ok'), { usage: { input_tokens: 100, output_tokens: 0 }, usage_estimated: true })
  })
})
