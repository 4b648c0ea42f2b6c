/** Tokens through a whole gateway. */
import { test } from 'tap'
import { pilotPool, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

test('a local model tells its tokens, and no provider is asked for them', { timeout: 60_000 }, async t => {
  const cloud = await startProvider(t)
  const running = await startGateway(t, `
backends:${pilotPool(1)}
  - { name: cloud, kind: openai, baseUrl: '${cloud.url}', locality: cloud }
models:
  - { name: chat, targets: [{ backend: cloud, model: big }, { backend: pool, model: pilot }] }
  - { name: far, targets: [{ backend: cloud, model: big }] }
tenants:
  - { name: open, class: public, models: ['*'] }
`)
  const authorization = `Bearer ${await running.key('open')}`
  const post = async (path: string, body: unknown) => {
    const response = await fetch(running.url + path, { method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body: JSON.stringify(body) })
    return { status: response.status, body: await response.json() as Record<string, unknown> }
  }
  const { status, body } = await post('/tokenize', { model: 'chat', content: 'Hello there' })
  t.equal(status, 200)
  t.equal((body['tokens'] as number[]).length, body['count'])
  t.match(await post('/detokenize', { model: 'chat', tokens: body['tokens'] }), { status: 200, body: { content: 'Hello there' } })
  t.match(await post('/tokenize', { model: 'far', content: 'Hello' }), { status: 400, body: { error: { code: 'unsupported_value', message: /cloud serves no tokens/ } } })
  t.match(await post('/tokenize', { model: 'chat' }), { status: 400, body: { error: { param: 'content' } } })
  t.match(await post('/detokenize', { model: 'chat', tokens: ['a'] }), { status: 400, body: { error: { param: 'tokens[0]' } } })
  t.match(await post('/detokenize', { model: 'chat', tokens: [2048] }), { status: 400, body: { error: { param: 'tokens[0]' } } })
  t.equal(cloud.seen.connections, 0)
  const rows = await running.records(6)
  t.match(rows[0], { endpoint: 'tokens', outcome: 'ok', usage: { input_tokens: 0, output_tokens: 0 } })
})
