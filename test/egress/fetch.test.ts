import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { Pool } from 'undici'
import { isPublic, networks } from '../../src/egress/address.ts'
import { createEgress } from '../../src/egress/dialer.ts'
import { fetchBytes } from '../../src/egress/fetch.ts'

async function host (t: Test, answer: (response: ServerResponse, path: string) => void) {
  const server = createServer((request, response) => { answer(response, request.url!) })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const pool = new Pool(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.teardown(async () => {
    await pool.destroy()
    server.closeAllConnections()
    server.close()
  })
  return (path: string, maxBytes = 10, signal = new AbortController().signal) => fetchBytes(pool, new URL(`https://images.example.com${path}`), { maxBytes, signal })
}

test('a file comes whole or not at all', async t => {
  const seen: string[] = []
  const fetch = await host(t, (response, path) => {
    seen.push(path)
    if (path === '/moved') response.writeHead(302, { location: '/good' }).end()
    else if (path === '/packed') response.writeHead(200, { 'content-encoding': 'gzip' }).end('x')
    else if (path === '/drip') response.write('x')
    else if (path === '/cut') response.writeHead(200, { 'content-length': '9' }).write('x', () => { response.destroy() })
    else if (path === '/long') response.write('x'.repeat(6), () => { response.end('x'.repeat(6)) })
    else response.end('x'.repeat(Number(/\d+/.exec(path)?.[0] ?? 3)))
  })
  t.equal((await fetch('/good?a=b')).toString(), 'xxx')
  t.equal((await fetch('/10')).length, 10)
  await t.rejects(fetch('/11'), { code: 'invalid_value', message: /more than 10 bytes/ })
  await t.rejects(fetch('/long'), { message: /more than 10 bytes/ }, 'without a length, too')
  await t.rejects(fetch('/moved'), { message: /answered 302/ })
  await t.rejects(fetch('/packed'), { message: /compressed/ })
  await t.rejects(fetch('/cut'), { message: /did not answer/ })
  await t.rejects(fetch('/drip', 10, AbortSignal.timeout(50)), { message: /took too long/ })
  t.same(seen[0], '/good?a=b')
})

test('an address of this host or of the own networks is never asked, whatever its name', async t => {
  let connections = 0
  const server = createServer((_request, response) => { response.end('secret') })
  server.on('connection', () => { connections++ })
  await new Promise<void>(resolve => { server.listen(0, resolve) })
  t.teardown(() => server.close())
  const origin = `http://localhost:${(server.address() as AddressInfo).port}`
  const destination = { origin, locality: 'cloud', connections: 1, connectMs: 500 } as const
  const [open, closed] = [false, true].map(only => createEgress({ destinations: [{ ...destination, isPublic: only }], domainNetworks: [] }))
  t.teardown(() => Promise.all([open!.close(), closed!.close()]))
  const options = { maxBytes: 100, signal: new AbortController().signal }
  await t.rejects(fetchBytes(closed!.dial(origin, 'cloud'), new URL(origin), options), { code: 'egress_forbidden' })
  t.equal(connections, 0)
  t.equal((await fetchBytes(open!.dial(origin, 'cloud'), new URL(origin), options)).toString(), 'secret', 'a backend may stand there')
  t.throws(() => closed!.dial(origin, 'domain'), { code: 'egress_forbidden' })
  for (const address of ['10.0.0.1', '127.0.0.1', '[::1]', '169.254.169.254', '[64:ff9b::a00:1]']) {
    t.throws(() => createEgress({ destinations: [{ ...destination, origin: `https://${address}`, isPublic: true }], domainNetworks: [] }), { code: 'egress_forbidden' }, address)
  }
})

test('where a translator leads counts', async t => {
  const domain = networks(['203.0.113.0/24'])
  for (const address of ['8.8.8.8', '2606:4700::1111', '64:ff9b::808:808', '::ffff:8.8.8.8', '2002:808:808::']) t.ok(isPublic(address, domain), address)
  for (const address of ['10.0.0.1', '::1', '64:ff9b::10.0.0.1', '2002:a00:1::', '::ffff:127.0.0.1', '203.0.113.9', '64:ff9b::203.0.113.9', 'fe80::1%eth0', '', 'x']) t.notOk(isPublic(address, domain), address)
})
