/** Rerank through a whole gateway: by a provider that serves it, and by a pool. */
import { createServer } from 'node:http'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import tap, { test } from 'tap'
import { writeBert } from '../worker/tiny.ts'
import { pilotPool, startGateway } from './harness.ts'

test('rerank is sent to whoever serves it, under the policy of the tenant', { timeout: 60_000 }, async t => {
  const seen = { connections: 0, paths: [] as string[], bodies: [] as Record<string, unknown>[] }
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    seen.paths.push(request.url ?? '')
    seen.bodies.push(JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>)
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ model: 'ranker', results: [{ index: 1, relevance_score: 0.9 }, { index: 0, relevance_score: 0.1 }], usage: { total_tokens: 9 } }))
  })
  server.on('connection', () => { seen.connections++ })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const running = await startGateway(t, `
backends:${pilotPool(1)}
  - { name: cloud, kind: openai, baseUrl: 'http://127.0.0.1:${(server.address() as AddressInfo).port}/v1', locality: cloud }
models:
  - { name: ranks, targets: [{ backend: pool, model: pilot }, { backend: cloud, model: ranker }] }
tenants:
  - { name: open, class: public, models: ['*'] }
  - { name: closed, class: restricted, models: ['*'] }
`)
  const ask = async (tenant: string, body: Record<string, unknown>) => {
    const headers = { authorization: `Bearer ${await running.key(tenant)}`, 'content-type': 'application/json' }
    const response = await fetch(`${running.url}/v1/rerank`, { method: 'POST', headers, body: JSON.stringify({ model: 'ranks', query: 'q', documents: ['a', { text: 'b' }], ...body }) })
    return { status: response.status, body: await response.json() as Record<string, unknown> }
  }
  t.match(await ask('closed', {}), { status: 400, body: { error: { code: 'unsupported_value', param: 'model', message: /ranks no documents/ } } })
  t.equal(seen.connections, 0, 'nothing of a restricted tenant reaches the cloud')
  t.match(await ask('open', { top_n: 2 }), { status: 200, body: { results: [{ index: 1, relevance_score: 0.9 }, { index: 0 }] } })
  t.match(seen, { paths: ['/v1/rerank'], bodies: [{ model: 'ranker', query: 'q', documents: ['a', { text: 'b' }], top_n: 2 }] })
  for (const [change, param] of [[{ query: 1 }, 'query'], [{ documents: [] }, 'documents'], [{ documents: [1] }, 'documents[0]'], [{ top_n: 0 }, 'top_n']] as const) {
    t.match(await ask('open', change), { status: 400, body: { error: { param } } })
  }
  const rows = await running.records(6)
  t.match(rows.find(({ outcome }) => outcome === 'ok'), { endpoint: 'rerank', usage: { input_tokens: 9, output_tokens: 0 } })
})

test('a local model ranks, and its tokens are counted', { timeout: 60_000 }, async t => {
  const file = join(tap.testdir(), 'rank.gguf')
  writeBert(file, { ranks: true })
  const running = await startGateway(t, `
backends:
  - name: pool
    kind: pool
    models: [{ name: rank, path: ${file}, contextTokens: 512, slots: 2, gpu: false, load: demand }]
models:
  - { name: ranks, targets: [{ backend: pool, model: rank }] }
tenants:
  - { name: closed, class: restricted, models: ['*'] }
`)
  const headers = { authorization: `Bearer ${await running.key('closed')}`, 'content-type': 'application/json' }
  const ask = async (body: Record<string, unknown>) => {
    const response = await fetch(`${running.url}/v1/rerank`, { method: 'POST', headers, body: JSON.stringify({ model: 'ranks', query: 'dog', ...body }) })
    return { status: response.status, body: await response.json() as Record<string, unknown> }
  }
  t.match(await ask({ documents: ['cat', 'dog'], top_n: 1 }), { status: 200, body: { model: 'rank', results: [{ relevance_score: Number }], usage: { prompt_tokens: 10 } } })
  t.match(await ask({ documents: ['cat', 'cat '.repeat(600)] }), { status: 400, body: { error: { code: 'context_length_exceeded', param: 'documents[1]' } } })
  const [row] = await running.records(2)
  t.match(row, { endpoint: 'rerank', usage: { input_tokens: 10, output_tokens: 0 }, outcome: 'ok' })
})
