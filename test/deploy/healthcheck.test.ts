import { spawn } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'tap'
import { ROOT } from './dockerfile.ts'

interface Outcome { readonly code: number | null, readonly said: string }

function healthcheck (env: NodeJS.ProcessEnv): Promise<Outcome> {
  const child = spawn(process.execPath, [join(ROOT, 'deploy/healthcheck.ts')], { env: { PATH: process.env['PATH'], ...env } })
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  let said = ''
  child.stdout.on('data', text => { said += text })
  child.stderr.on('data', text => { said += text })
  child.on('close', code => resolve({ code, said }))
  return promise
}

async function listening (server: Server, host = '127.0.0.1'): Promise<string> {
  await new Promise<void>(resolve => { server.listen(0, host, resolve) })
  return String((server.address() as AddressInfo).port)
}

test('healthy is what answers 200 at /readyz, and what it says is shown', async t => {
  let status = 200
  const server = createServer(({ url }, response) => { response.writeHead(url === '/readyz' ? status : 404).end('{"status":"…"}') })
  t.teardown(() => server.close())
  const port = await listening(server, '0.0.0.0')
  for (const ADMIN_HOST of ['', '127.0.0.1', '0.0.0.0']) t.same(await healthcheck({ ADMIN_PORT: port, ADMIN_HOST }), { code: 0, said: '{"status":"…"}' })
  status = 503
  t.same(await healthcheck({ ADMIN_PORT: port }), { code: 1, said: '{"status":"…"}' })
})

test('who listens nowhere, or answers nothing, is not healthy', async t => {
  const server = createServer(() => {})
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const port = await listening(server)
  const [nowhere, silent] = await Promise.all([healthcheck({ ADMIN_HOST: '127.99.99.99' }), healthcheck({ ADMIN_PORT: port })])
  t.equal(nowhere.code, 1)
  t.match(nowhere.said, 'http://127.99.99.99:9464/readyz: ', 'at the port of the schema')
  t.equal(silent.code, 1)
  t.match(silent.said, `http://127.0.0.1:${port}/readyz: The operation was aborted`)
})
