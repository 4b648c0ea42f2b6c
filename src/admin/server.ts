/** The operator's listener: what holds for every route of it. */
import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { adminRoutes, type AdminParts } from './routes.ts'
import { answerError } from './errors.ts'

const BODY_LIMIT_BYTES = 1_048_576
const MAX_CONNECTIONS = 256

/** Builds the listener with its routes; the caller listens and closes. */
export async function createAdminServer (parts: AdminParts): Promise<FastifyInstance> {
  const server = Fastify({
    logger: false,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: 15_000,
    http: { headersTimeout: 10_000, maxHeaderSize: 16_384 },
    exposeHeadRoutes: false,
    return503OnClosing: false,
    forceCloseConnections: true,
    requestIdHeader: false,
    genReqId: () => `req_${randomBytes(12).toString('hex')}`,
    frameworkErrors: (error, request, reply) => { void answerError(error, request, reply as FastifyReply, parts.onFailure) }
  })
  server.server.maxConnections = MAX_CONNECTIONS
  await adminRoutes(server, parts)
  return server
}
