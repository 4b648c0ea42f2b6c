/** Parameters that OpenAI does not define, at backends of every kind. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import type { ErrorBody } from '../../src/errors.ts'
import { ask, pilotPool, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

/** Answers every message, and keeps what it was asked. */
async function startAnthropic (t: Test) {
  const bodies: Record<string, unknown>[] = []
  const server = createServer(async (message, response) => {
    const parts: Buffer[] = []
    for await (const part of message) parts.push(part as Buffer)
    bodies.push(JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>)
    const usage = { input_tokens: 1, output_tokens: 1 }
    const answer = { id: 'msg_1', type: 'message', role: 'assistant', model: 'c', content: [{ type: 'text', text: 'Hi' }], stop_reason: 'end_turn', stop_sequence: null, usage }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, bodies }
}

test('a backend that knows them gets them, one that does not is spared them, and the caller is told', { timeout: 60_000 }, async t => {
  const [cloud, anthropic] = await Promise.all([startProvider(t), startAnthropic(t)])
  const running = await startGateway(t, `
backends:
  ${pilotPool(1)}
  - { name: cloud, kind: openai, baseUrl: '${cloud.url}', locality: cloud }
  - { name: claude, kind: anthropic, baseUrl: '${anthropic.url}', locality: cloud }
models:
  - { name: pilot, targets: [{ backend: pool, model: pilot }] }
  - { name: big, targets: [{ backend: cloud, model: big }] }
  - { name: claude, targets: [{ backend: claude, model: c }] }
  - { name: either, targets: [{ backend: pool, model: pilot }, { backend: cloud, model: big }] }
tenants: [{ name: default }, { name: strict, unknownFields: refuse }]
`)
  const keys = { default: await running.key('default'), strict: await running.key('strict') }
  const call = async (model: string, more: object, tenant: keyof typeof keys = 'default') => {
    const response = await fetch(`${running.url}/v1/chat/completions`, {
      method: 'POST', headers: { authorization: `Bearer ${keys[tenant]}`, 'content-type': 'application/json' }, body: JSON.stringify({ ...ask('Hi', model), max_tokens: 4, ...more })
    })
    const text = await response.text()
    return { status: response.status, warning: response.headers.get('x-torchgate-warning'), target: response.headers.get('x-torchgate-target'), error: () => (JSON.parse(text) as ErrorBody).error }
  }
  const unknown = { repetition_penalty: 1.1, 'my secret plan': 1, nothing: null, top_k: 5 }

  t.match(await call('big', unknown), { status: 200, warning: null })
  t.match(cloud.seen.requests.at(-1)!.body, unknown)

  for (const stream of [false, true]) {
    t.match(await call('pilot', { ...unknown, stream }), { status: 200, warning: 'left out, unknown to pool: repetition_penalty, ?' })
  }
  t.match(await call('pilot', { top_k: 5, min_p: 0.1, nothing: null }), { status: 200, warning: null })

  t.match(await call('claude', unknown), { status: 200, warning: 'left out, unknown to claude: repetition_penalty, ?' })
  t.equal(anthropic.bodies.at(-1)!['top_k'], 5)
  t.notOk('repetition_penalty' in anthropic.bodies.at(-1)!)
  t.match((await call('claude', { seed: 1 })).error(), { code: 'unsupported_value', param: 'seed' }, 'what OpenAI defines is never left out')

  t.match(await call('either', unknown), { status: 200, target: 'pool/pilot' })
  for (const [model, more, tenant] of [['pilot', { guided_json: {} }, 'default'], ['claude', { grammar: 'root ::= "a"' }, 'default'], ['pilot', unknown, 'strict']] as const) {
    const { status, error } = await call(model, more, tenant)
    t.same([status, error().code, error().param], [400, 'unsupported_value', Object.keys(more)[0]])
  }
  for (const [more, tenant] of [[{ guided_json: {} }, 'default'], [unknown, 'strict']] as const) {
    t.match(await call('either', more, tenant), { status: 200, target: 'cloud/big', warning: null }, 'the next target knows it')
    t.match(cloud.seen.requests.at(-1)!.body, more)
  }
})
