/** The operator's listener: what holds for every route of it. */
import type { FastifyInstance } from 'fastify'
import { floodCheck } from '../listener/flood.ts'
import { createListener } from '../listener/listener.ts'
import { adminRoutes, type AdminParts } from './routes.ts'

/** Builds the listener with its routes; the caller listens and closes. */
export async function createAdminServer (parts: AdminParts): Promise<FastifyInstance> {
  const server = createListener({
    bodyLimitBytes: 1_048_576,
    headersTimeoutMs: 10_000,
    requestTimeoutMs: 15_000,
    writeStallMs: 15_000,
    maxConnections: 256,
    maxHeaderBytes: 16_384,
    closes: 'all',
    hint: 'The API stands on another listener, under /v1.',
    onFailure: parts.onFailure,
    onError: async (error, request) => request.isOperator || error.status >= 500 ? error : await checkFlood(error, request)
  })
  const checkFlood = await floodCheck(server, parts.failuresPerMinute)
  await adminRoutes(server, parts)
  return server
}
