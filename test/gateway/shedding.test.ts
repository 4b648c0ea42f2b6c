/** A gateway that cannot keep up says so at once, and one that calls itself finds out. */
import { createServer, request as forward } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { ask, eventually, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'
import { errorOf, open, talk } from './raw.ts'

const yaml = (providerUrl: string) => `
limits: { failuresPerMinute: 10000 }
backends: [{ name: cloud, kind: openai, baseUrl: '${providerUrl}', locality: cloud }]
models: [{ name: chat, targets: [{ backend: cloud, model: big }] }]
tenants: [{ name: default }]
`

function hold (ms: number): void {
  for (const endMs = performance.now() + ms; performance.now() < endMs;);
}

test('what waited while the event loop was held up is refused before its body is read; health and operators are answered', async t => {
  const cloud = await startProvider(t)
  const running = await startGateway(t, yaml(cloud.url), {}, 'shed: { eventLoopDelayMs: 400 }')
  const key = await running.key('default')
  const head = `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\n`
  const messages = head.replace('/v1/chat/completions', '/v1/messages')
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${running.adminKey}\r\n\r\n`
  const asked = [
    [running.url, `${head}Content-Length: 1000000\r\n\r\n{`],
    [running.url, `${messages}Content-Length: 1000000\r\n\r\n{`],
    [running.gateway.adminUrl, get('/livez')],
    [running.gateway.adminUrl, get('/readyz')],
    [running.gateway.adminUrl, get('/admin/v1/status')]
  ] as const
  const sockets = asked.map(([url]) => open(url))
  const texts = sockets.map(socket => {
    const heard = { text: '' }
    socket.on('data', bytes => { heard.text += bytes })
    return heard
  })
  t.ok(await eventually(() => sockets.every(({ connecting }) => !connecting)))
  await wait(150)
  for (const [index, [, bytes]] of asked.entries()) sockets[index]!.write(bytes)
  hold(900)
  t.ok(await eventually(() => texts.every(({ text }) => /[}]$/.test(text))))
  for (const socket of sockets) socket.destroy()
  const [chat, inAnthropics, live, ready, status] = texts.map(({ text }) => text)
  t.match(chat, /^HTTP\/1\.1 503 [^]*"code":"gateway_overloaded"/)
  t.match(chat, /^retry-after: 1\r$/m)
  t.match(inAnthropics, /^HTTP\/1\.1 529 [^]*"type":"overloaded_error"/)
  t.match(live, /^HTTP\/1\.1 200 /)
  t.match(ready, /^HTTP\/1\.1 503 [^]*"gateway":"overloaded \(event_loop\)"/)
  t.match(status, /^HTTP\/1\.1 200 /)
  t.equal(await running.metric('torchgate_shed_requests_total', { reason: 'event_loop' }), 2)

  const client = await running.client('default')
  t.ok(await eventually(async () => (await fetch(`${running.gateway.adminUrl}/readyz`)).status === 200))
  t.equal((await client.chat.completions.create(ask('Hi', 'chat'))).choices[0]!.message.content, 'from the cloud')
})

/** What stands before the gateway, and gives it its own calls back with a good key. */
async function startMirror (t: Test): Promise<{ url: string, lead (to: string, key: string): void }> {
  let to = ''
  let key = ''
  const server = createServer((request, response) => {
    const headers = { ...request.headers, authorization: `Bearer ${key}`, host: 'mirror' }
    const onward = forward(to + request.url, { method: request.method!, headers }, answer => {
      response.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    request.pipe(onward)
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, lead: (url, good) => { to = url; key = good } }
}

test('a backend that leads back to the gateway is found out after one round; another target answers, or the caller is told', async t => {
  const [cloud, mirror] = await Promise.all([startProvider(t), startMirror(t)])
  const running = await startGateway(t, `
backends:
  - { name: mirror, kind: openai, baseUrl: '${mirror.url}', locality: cloud }
  - { name: cloud, kind: openai, baseUrl: '${cloud.url}', locality: cloud }
models:
  - { name: saved, targets: [{ backend: mirror, model: saved }, { backend: cloud, model: big }] }
  - { name: circle, targets: [{ backend: mirror, model: circle }] }
tenants: [{ name: default }]
`)
  const key = await running.key('default')
  mirror.lead(running.url, key)
  const client = await running.client('default')
  t.equal((await client.chat.completions.create(ask('Hi', 'saved'))).choices[0]!.message.content, 'from the cloud')
  t.same(cloud.seen.requests.map(({ headers }) => headers['x-torchgate-hops']), ['2'])
  t.same((await running.records(3)).map(({ error }) => error), ['loop_detected', null, null])

  await t.rejects(client.chat.completions.create(ask('Hi', 'circle')), { status: 502, code: 'backend_failed' })
  t.same((await running.records(6)).slice(3).map(({ error }) => error), ['loop_detected', 'backend_failed', 'backend_failed'])
})

test('a call that came through too many gateways is refused before its body is read', async t => {
  const cloud = await startProvider(t)
  const running = await startGateway(t, yaml(cloud.url))
  const key = await running.key('default')
  const head = (hops: string) => `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\nX-Torchgate-Hops: ${hops}\r\n`
  for (const [hops, status, code] of [['2', 508, 'loop_detected'], ['9999', 508, 'loop_detected'], ['-1', 400, 'invalid_value'], ['1, 1', 400, 'invalid_value'], ['99999', 400, 'invalid_value']] as const) {
    const { answers } = await talk(running.url, `${head(hops)}Content-Length: 100000\r\n\r\n{`)
    t.same([answers[0]?.status, errorOf(answers[0]!).code], [status, code], hops)
    if (status === 508) t.equal(answers[0]!.headers['x-should-retry'], 'false')
  }
  const body = JSON.stringify(ask('Hi', 'chat'))
  t.equal((await talk(running.url, `${head('1')}Content-Length: ${body.length}\r\n\r\n${body}`)).answers[0]!.status, 200)
  t.equal(cloud.seen.requests.length, 1)
  t.equal(cloud.seen.requests[0]!.headers['x-torchgate-hops'], '2')
})
