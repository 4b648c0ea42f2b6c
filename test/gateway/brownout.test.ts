/** One of two providers fails now and then and dawdles: callers notice little, and it is asked again once it is well. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'tap'
import { seeded } from '../seeded.ts'
import { ask, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

const WELL_MS = 5
const ILL_MS = 60

test('brown-out: one call in five fails and all take ten times as long', { timeout: 90_000 }, async t => {
  const random = seeded(1)
  const ill = { isIll: false, asked: 0 }
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      ill.asked++
      const fails = ill.isIll && random() < 0.2
      setTimeout(() => {
        response.writeHead(fails ? 500 : 200, { 'content-type': 'application/json' })
        response.end(JSON.stringify(fails
          ? { error: { message: 'No.' } }
          : { id: 'x', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message: { role: 'assistant', content: 'first' }, finish_reason: 'stop' }] }))
      }, ill.isIll ? ILL_MS : WELL_MS)
    })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const well = await startProvider(t)
  const running = await startGateway(t, `
backends:
  - { name: first, kind: openai, baseUrl: 'http://127.0.0.1:${(server.address() as AddressInfo).port}/v1', locality: cloud }
  - { name: second, kind: openai, baseUrl: '${well.url}', locality: cloud }
models: [{ name: chat, targets: [{ backend: first, model: m }, { backend: second, model: m }] }]
tenants: [{ name: open, class: public }]
`)
  const client = await running.client('open')
  const targets: (string | null)[] = []
  /** @returns how many calls were answered */
  const calls = async (count: number) => {
    let answered = 0
    for (let call = 0; call < count; call += 4) {
      await Promise.all(Array.from({ length: 4 }, async () => {
        const { response } = await client.chat.completions.create(ask('Hi', 'chat')).withResponse()
        targets.push(response.headers.get('x-torchgate-target'))
        if (response.status === 200) answered++
      }))
    }
    return answered
  }
  await calls(40)
  t.same([...new Set(targets)], ['first/m'])

  ill.isIll = true
  const before = ill.asked
  t.equal(await calls(400), 400, 'every call is answered')
  const share = (ill.asked - before) / 400
  t.ok(share < 0.5, `the ill one was asked for ${(share * 100).toFixed(0)} % of them`)
  const { candidates } = await running.admin<{ candidates: { target: string, state: string }[] }>('/admin/v1/explain?tenant=open&model=chat')
  t.same(candidates.map(({ target }) => target).toSorted(), ['first/m', 'second/m'])

  ill.isIll = false
  const startedMs = performance.now()
  for (;;) {
    targets.length = 0
    await calls(20)
    if (targets.every(target => target === 'first/m') || performance.now() - startedMs > 10_000) break
    await wait(50)
  }
  t.ok(performance.now() - startedMs < 10_000, 'well again within ten seconds')
})
