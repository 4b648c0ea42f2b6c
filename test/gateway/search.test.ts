import { test } from 'tap'
import { ask, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

test('a web search goes with a call that may go to the cloud, and with no other', { timeout: 60_000 }, async t => {
  const [rack, cloud] = [await startProvider(t), await startProvider(t)]
  const running = await startGateway(t, `
backends:
  - { name: rack, kind: openai, baseUrl: '${rack.url}', locality: domain }
  - { name: cloud, kind: openai, baseUrl: '${cloud.url}', locality: cloud }
models: [{ name: chat, targets: [{ backend: rack, model: m }, { backend: cloud, model: m }] }]
tenants: [{ name: open, class: public }, { name: careful, class: confidential }]
`)
  const [open, careful] = [await running.client('open'), await running.client('careful')]
  const searching = { ...ask('What is new?', 'chat'), web_search_options: {} }
  const { response } = await open.chat.completions.create(searching).withResponse()
  t.equal(response.headers.get('x-torchgate-target'), 'cloud/m')
  t.same(cloud.seen.requests[0]!.body['web_search_options'], {})
  await t.rejects(careful.chat.completions.create(searching), { status: 503, code: 'no_eligible_target' })
  t.same([rack.seen.bytes, cloud.seen.requests.length], [0, 1], 'not one byte of it')
  t.equal((await careful.chat.completions.create(ask('Hi', 'chat')).withResponse()).response.headers.get('x-torchgate-target'), 'rack/m')
})
