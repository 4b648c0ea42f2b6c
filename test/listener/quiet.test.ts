import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { createListener } from '../../src/listener/listener.ts'

const STALL_MS = 150

interface Opened { readonly socket: Socket, readonly got: () => string, readonly isOpen: () => boolean }

/** A listener that cuts off quiet connections early, and a connection to it. */
async function opened (t: Test, answer: () => Promise<Buffer | string>): Promise<Opened> {
  const server = createListener({
    bodyLimitBytes: 1000, headersTimeoutMs: 5000, requestTimeoutMs: 5000, writeStallMs: STALL_MS, maxConnections: 10, maxHeaderBytes: 4096,
    closes: 'all', hint: '', onFailure: error => { t.fail(error.message) }
  })
  server.get('/', answer)
  await server.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((server.server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(async () => { socket.destroy(); await server.close() })
  await once(socket, 'connect')
  let got = ''
  let isOpen = true
  socket.on('data', chunk => { got += chunk })
  socket.on('error', () => {}).on('close', () => { isOpen = false })
  return { socket, got: () => got, isOpen: () => isOpen }
}

const REQUEST = 'GET / HTTP/1.1\r\nhost: here\r\n\r\n'

test('a quiet connection on which an answer is awaited stays, and gets it', async t => {
  const { socket, got, isOpen } = await opened(t, async () => { await wait(4 * STALL_MS); return 'late' })
  socket.write(REQUEST)
  await wait(6 * STALL_MS)
  t.match(got(), /late$/)
  t.ok(isOpen)
})

test('a connection on which nothing is asked is closed', async t => {
  const { isOpen } = await opened(t, async () => 'never asked')
  await wait(6 * STALL_MS)
  t.notOk(isOpen())
})

test('a connection whose reader takes nothing is closed in the middle of the answer', async t => {
  const { socket, isOpen } = await opened(t, async () => Buffer.alloc(64 * 1024 * 1024))
  socket.pause()
  socket.write(REQUEST)
  await wait(8 * STALL_MS)
  socket.resume()
  await wait(2 * STALL_MS)
  t.notOk(isOpen())
})
