/** How a listener begins and ends. */
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'

const SWEEP_MS = 50
/** Time for the error events of calls that are cut off to reach their callers. */
const LAST_WORDS_MS = 1_000

/**
 * Listens, and says where: `http://127.0.0.1:8080`.
 * @throws Error that names the address and what would be right
 */
export async function listen (server: FastifyInstance, { host, port }: { host: string, port: number }, section: 'server' | 'admin'): Promise<string> {
  try {
    await server.listen({ host, port })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const flag = section === 'server' ? 'PORT or --port' : 'ADMIN_PORT or --admin-port'
    if (code === 'EADDRINUSE') throw new Error(`Port ${port} on ${host} is in use (${section}.port). Choose another with ${flag}, or stop what listens there.`, { cause: error })
    if (code === 'EACCES') throw new Error(`Not allowed to listen on port ${port} (${section}.port). Choose one above 1023 with ${flag}.`, { cause: error })
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') throw new Error(`${host} is no address of this host (${section}.host).`, { cause: error })
    throw error
  }
  const { address, family, port: bound } = server.server.address() as AddressInfo
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`
}

/**
 * Running calls may finish; when patience ends, `cutOff` has to end each of them, and what it says last may still reach its caller.
 * @param cutOff called at most once
 */
export async function closeGently (server: FastifyInstance, patience: AbortSignal, cutOff: () => Promise<unknown>): Promise<void> {
  const closed = server.close()
  // Connections that fall idle while closing would keep the server open until their keep-alive ends.
  const sweep = setInterval(() => server.server.closeIdleConnections(), SWEEP_MS)
  try {
    await Promise.race([closed, aborted(patience)])
    if (patience.aborted) {
      await cutOff()
      await Promise.race([closed, aborted(AbortSignal.timeout(LAST_WORDS_MS))])
      server.server.closeAllConnections()
    }
    await closed
  } finally {
    clearInterval(sweep)
  }
}

/** Cuts every connection off. */
export async function closeNow (server: FastifyInstance): Promise<void> {
  server.server.closeAllConnections()
  await server.close()
}

function aborted (signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => { signal.addEventListener('abort', () => resolve(), { once: true }) })
}
