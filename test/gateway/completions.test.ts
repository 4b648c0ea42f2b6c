/** Legacy completions through a whole gateway: the real model, the real SDK, and a provider. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { pilotPool, startGateway } from './harness.ts'

interface Seen { connections: number, paths: string[], bodies: Record<string, unknown>[] }

/** A provider of text completions. */
async function startUpstream (t: Test): Promise<{ url: string, seen: Seen }> {
  const seen: Seen = { connections: 0, paths: [], bodies: [] }
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const body = JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>
    seen.paths.push(request.url ?? '')
    seen.bodies.push(body)
    const head = { id: 'cmpl-1', object: 'text_completion', created: 1_790_000_000, model: 'instruct' }
    const usage = { prompt_tokens: 4, completion_tokens: 2, total_tokens: 6 }
    if (body['stream'] !== true) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ ...head, choices: [{ text: 'from the cloud', index: 0, logprobs: null, finish_reason: 'stop' }], usage }))
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const [text, reason] of [['from ', null], ['the cloud', null], ['', 'stop']]) response.write(`data: ${JSON.stringify({ ...head, choices: [{ text, index: 0, logprobs: null, finish_reason: reason }] })}\n\n`)
    response.end(`data: ${JSON.stringify({ ...head, choices: [], usage })}\n\ndata: [DONE]\n\n`)
  })
  server.on('connection', () => { seen.connections++ })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, seen }
}

const RAW = '<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n'
const ask = { model: 'text', prompt: RAW, temperature: 0, max_tokens: 40 }

test('completions', { timeout: 60_000 }, async t => {
  const { url, seen } = await startUpstream(t)
  const running = await startGateway(t, `
backends:${pilotPool(2)}
  - { name: cloud, kind: openai, baseUrl: '${url}', locality: cloud }
models:
  - { name: text, targets: [{ backend: cloud, model: instruct }, { backend: pool, model: pilot }] }
tenants:
  - { name: open, class: public, models: ['*'] }
  - { name: closed, class: restricted, models: ['*'] }
`)
  const [open, closed] = [await running.client('open'), await running.client('closed')]

  await t.test("a restricted tenant's prompt is continued here, and never reaches the cloud", async t => {
    const { data, response } = await closed.completions.create(ask).withResponse()
    t.equal(data.choices[0]!.text, 'The capital of France is Paris.')
    t.equal(response.headers.get('x-torchgate-target'), 'pool/pilot')
    let text = ''
    for await (const { choices, usage } of await closed.completions.create({ ...ask, stream: true })) {
      text += choices[0]?.text ?? ''
      t.notOk(usage, 'which was not asked for')
    }
    t.equal(text, 'The capital of France is Paris.')
    t.equal(seen.connections, 0)
  })

  await t.test("an open one's is sent on, whole and streamed", async t => {
    t.equal((await open.completions.create(ask)).choices[0]!.text, 'from the cloud')
    let text = ''
    for await (const { choices } of await open.completions.create({ ...ask, stream: true })) text += choices[0]?.text ?? ''
    t.equal(text, 'from the cloud')
    t.match(seen, { paths: ['/v1/completions', '/v1/completions'], bodies: [{ model: 'instruct', prompt: RAW }, { stream_options: { include_usage: true } }] })
  })

  await t.test('every call is in the account', async t => {
    const rows = await running.records(4)
    t.match(rows.map(({ endpoint, tenant, outcome, stream }) => [endpoint, tenant, outcome, stream]), [
      ['completions', 'closed', 'ok', false], ['completions', 'closed', 'ok', true], ['completions', 'open', 'ok', false], ['completions', 'open', 'ok', true]
    ])
    t.strictSame(rows.slice(2).map(({ usage }) => usage), [0, 1].map(() => ({ input_tokens: 4, output_tokens: 2, cached_input_tokens: 0, reasoning_tokens: 0 })))
    t.ok((rows[1]!['usage'] as { output_tokens: number }).output_tokens > 3)
  })
})
