import { once } from 'node:events'
import dns from 'node:dns'
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'
import { createServer } from 'node:http'
import { syncBuiltinESMExports } from 'node:module'
import { test, type Test } from 'tap'
import type { Locality } from '../../src/config/schema.ts'
import { createEgress } from '../../src/egress/dialer.ts'

const LIMITS = { connections: 4, connectMs: 2_000 }

function egressTo (t: Test, origin: string, locality: Locality, connectMs = 2_000) {
  const egress = createEgress({ destinations: [{ origin, locality, connections: 4, connectMs }], domainNetworks: [] })
  t.teardown(() => egress.close())
  return egress
}

function build (origin: string, locality: Locality, domainNetworks: string[] = []): () => unknown {
  return () => createEgress({ destinations: [{ origin, locality, ...LIMITS }], domainNetworks })
}

/** A server that counts its connections. */
async function listen (t: Test, host = '127.0.0.1') {
  let connections = 0
  const server = createServer((request, response) => {
    if (request.url === '/redirect') response.writeHead(302, { location: '/' })
    response.end('hello')
  })
  server.on('connection', () => { connections++ })
  server.listen(0, host)
  await once(server, 'listening')
  t.teardown(() => new Promise<void>(resolve => { server.close(() => { resolve() }); server.closeAllConnections() }))
  return { port: (server.address() as AddressInfo).port, connections: () => connections }
}

test('only configured destinations can be dialled, and only within the boundary of the call', t => {
  const egress = createEgress({
    destinations: [
      { origin: 'http://127.0.0.1:1', locality: 'local', ...LIMITS },
      { origin: 'http://vllm.example.com:8000', locality: 'domain', ...LIMITS },
      { origin: 'https://api.example.com', locality: 'cloud', ...LIMITS }
    ],
    domainNetworks: []
  })
  t.teardown(() => egress.close())
  const ok: Array<[string, Locality]> = [['http://127.0.0.1:1', 'local'], ['http://127.0.0.1:1', 'cloud'], ['http://vllm.example.com:8000', 'domain'], ['https://api.example.com', 'cloud']]
  for (const [origin, boundary] of ok) t.doesNotThrow(() => egress.dial(origin, boundary), `${origin} ${boundary}`)
  const far: Array<[string, Locality]> = [['http://vllm.example.com:8000', 'local'], ['https://api.example.com', 'domain'], ['https://api.example.com', 'local']]
  for (const [origin, boundary] of far) t.throws(() => egress.dial(origin, boundary), { code: 'egress_forbidden', message: /nothing was sent/, cause: { message: /may go no farther than/ } }, `${origin} ${boundary}`)
  for (const origin of ['https://evil.example.com', 'http://api.example.com', 'https://api.example.com:8443', '', 'https://api.example.com.evil.com']) {
    t.throws(() => egress.dial(origin, 'cloud'), { code: 'egress_forbidden', cause: { message: /is not a configured destination/ } }, origin)
  }
  t.end()
})

test('an address that is farther than declared is refused when the gateway is built', t => {
  const refused: Array<[string, Locality]> = [
    ['http://8.8.8.8', 'domain'], ['http://10.0.0.1', 'local'], ['http://[2606:4700::1111]', 'domain'], ['http://[::ffff:8.8.8.8]', 'domain'],
    ['http://169.254.169.254', 'cloud'], ['http://[::ffff:169.254.169.254]', 'cloud'], ['http://[fe80::1]', 'cloud'], ['http://0.0.0.0', 'cloud'], ['http://0x08080808', 'domain']
  ]
  for (const [origin, locality] of refused) t.throws(build(origin, locality), { code: 'egress_forbidden', message: /is declared .* Nothing was sent/ }, `${origin} ${locality}`)
  for (const [origin, locality] of [['http://10.0.0.1', 'domain'], ['http://127.0.0.1', 'cloud'], ['http://[::1]', 'local'], ['http://8.8.8.8', 'cloud']] as const) t.doesNotThrow(build(origin, locality), origin)
  t.doesNotThrow(build('http://8.8.8.8', 'domain', ['8.8.8.0/24']))
  t.throws(build('http://10.0.0.1', 'domain', ['nonsense']), /Expected a network/)
  t.end()
})

test('one origin has one locality; backends that share it share its connections', t => {
  const first = { origin: 'https://a.example.com', locality: 'cloud', ...LIMITS } as const
  t.throws(() => createEgress({ destinations: [first, { ...first, locality: 'domain' }], domainNetworks: [] }), { message: /is declared cloud and domain/ })
  t.doesNotThrow(() => createEgress({ destinations: [first, first], domainNetworks: [] }))
  t.end()
})

/** For one test, names resolve to what it says; everything else is the real thing. */
function resolveTo (t: Test, answers: Record<string, string[][]>) {
  const real = dns.lookup
  const seen: string[] = []
  const fake = (host: string, options: dns.LookupAllOptions, callback: (error: Error | null, found: dns.LookupAddress[]) => void) => {
    seen.push(host)
    const left = answers[host]
    if (left === undefined) { real(host, options, callback as never); return }
    const addresses = (left.length > 1 ? left.shift() : left[0]) ?? []
    process.nextTick(callback, null, addresses.map(address => ({ address, family: address.includes(':') ? 6 : 4 })))
  }
  dns.lookup = fake as unknown as typeof dns.lookup
  syncBuiltinESMExports()
  t.teardown(() => {
    dns.lookup = real
    syncBuiltinESMExports()
  })
  return seen
}

test('a name is resolved, checked and pinned: what was checked is what is connected to', async t => {
  const server = await listen(t)
  const seen = resolveTo(t, { 'gpu.test': [['8.8.8.8', '127.0.0.1', '169.254.169.254']] })
  const origin = `http://gpu.test:${server.port}`
  const answer = await egressTo(t, origin, 'domain').dial(origin, 'domain').request({ path: '/', method: 'GET' })
  t.equal(await answer.body.text(), 'hello')
  t.same(seen, ['gpu.test'])
})

test('a name that resolves farther than declared gets no connection, not even when it was good before', async t => {
  const server = await listen(t)
  resolveTo(t, { 'gpu.test': [['127.0.0.1'], ['8.8.8.8']], 'meta.test': [['169.254.169.254']], 'lan.test': [['10.0.0.9', 'fd00::9']] })
  const origin = `http://gpu.test:${server.port}`
  const egress = egressTo(t, origin, 'domain')
  const first = await egress.dial(origin, 'domain').request({ path: '/', method: 'GET', reset: true })
  await first.body.dump()
  await t.rejects(egress.dial(origin, 'domain').request({ path: '/', method: 'GET' }), { code: 'egress_forbidden', cause: { message: /is declared domain, but its address is cloud/ } })
  await t.rejects(egressTo(t, 'http://meta.test', 'cloud').dial('http://meta.test', 'cloud').request({ path: '/', method: 'GET' }), { code: 'egress_forbidden', cause: { message: /forbidden/ } })
  await t.rejects(egressTo(t, 'http://lan.test', 'local').dial('http://lan.test', 'local').request({ path: '/', method: 'GET' }), { code: 'egress_forbidden', cause: { message: /its address is domain/ } })
  t.equal(server.connections(), 1)
})

test('redirects are not followed, and connections are kept', async t => {
  const server = await listen(t)
  const origin = `http://127.0.0.1:${server.port}`
  const dispatcher = egressTo(t, origin, 'local').dial(origin, 'local')
  const redirect = await dispatcher.request({ path: '/redirect', method: 'GET' })
  t.equal(redirect.statusCode, 302)
  await redirect.body.dump()
  await new Promise(resolve => setImmediate(resolve))
  await (await dispatcher.request({ path: '/', method: 'GET' })).body.dump()
  t.equal(server.connections(), 1)
})

test('a TLS handshake that hangs is over after connectMs, and its socket goes', async t => {
  const sockets = new Set<Socket>()
  const server = createTcpServer(socket => { sockets.add(socket.resume()); socket.on('error', () => {}).on('close', () => sockets.delete(socket)) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { for (const socket of sockets) socket.destroy(); server.close() })
  const origin = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const startedAt = performance.now()
  await t.rejects(egressTo(t, origin, 'local', 150).dial(origin, 'local').request({ path: '/', method: 'GET' }), { code: 'UND_ERR_CONNECT_TIMEOUT' })
  t.ok(performance.now() - startedAt < 600)
  while (sockets.size > 0) await new Promise(resolve => setTimeout(resolve, 20))
})

test('close lets running requests finish; an aborted signal does not', async t => {
  const sockets = new Set<Socket>()
  const server = createTcpServer(socket => { sockets.add(socket.resume()); socket.on('error', () => {}).on('close', () => sockets.delete(socket)) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const controller = new AbortController()
  const egress = createEgress({ destinations: [{ origin, locality: 'local', ...LIMITS }], domainNetworks: [], signal: controller.signal })
  const request = egress.dial(origin, 'local').request({ path: '/', method: 'GET' })
  request.catch(() => {})
  while (sockets.size === 0) await new Promise(resolve => setTimeout(resolve, 5))
  const closing = egress.close()
  controller.abort()
  await t.rejects(request)
  await closing
})
