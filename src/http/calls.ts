import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import { GatewayError, toGatewayError } from '../errors.ts'
import { Call } from '../pipeline/call.ts'
import { serveChat, type Services } from '../pipeline/chat.ts'
import { clientClosed } from '../pipeline/dispatch.ts'
import type { Recorder } from '../usage/record.ts'
import { parseBody } from '../wire/parse.ts'
import { chat } from './chat.ts'
import type { Dialect } from './dialect.ts'
import { disconnectSignal } from './disconnect.ts'
import { HttpOutlet } from './outlet.ts'

/** All that can be spoken to a model. */
const DIALECTS: readonly Dialect[] = [chat]

export interface CallRouteParts {
  readonly services: Services
  readonly recorders: readonly Recorder[]
  readonly onStart: () => void
}

declare module 'fastify' {
  interface FastifyRequest { left: AbortSignal | null }
}

/** The routes that answer calls, one for each dialect. A call is open from its headers on, so a refused one has its record too. */
export async function callRoutes (server: FastifyInstance, parts: CallRouteParts): Promise<void> {
  server.decorateRequest('left', null)
  for (const dialect of DIALECTS) {
    server.post(dialect.path, {
      config: { scope: 'inference', errors: dialect.errors },
      onRequest: opening(dialect, parts)
    }, (request, reply) => answer(dialect, parts.services, request, reply))
  }
}

function opening ({ endpoint, errors }: Dialect, { recorders, onStart }: CallRouteParts): onRequestHookHandler {
  return (request, reply, done) => {
    const call = request.call = new Call(request.id, endpoint, recorders, errors.status)
    // A caller that leaves while its body is still coming reaches no handler.
    request.left = disconnectSignal(reply.raw, () => { call.end(clientClosed()) })
    onStart()
    done()
  }
}

async function answer (dialect: Dialect, services: Services, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const call = request.call!
  const principal = request.principal!
  call.record.tenant = principal.tenant.name
  call.record.keyId = principal.keyId
  call.record.receivedMs = call.elapsedMs
  if (request.body === undefined) throw new GatewayError('invalid_json', 'The body is empty; expected a JSON object.')
  const body = parseBody(request.body as Buffer)
  const asked = dialect.toChat(body)
  const claimedClass = header(request, 'x-torchgate-class')
  const inner = new HttpOutlet(reply.raw, call, request.left!, dialect.errors.headers)
  const outlet = dialect.outlet(inner, { body, chat: asked, call })
  try {
    await serveChat(services, call, { principal, body: asked, claimedClass, signal: request.left! }, outlet)
    reply.hijack()
  } catch (thrown) {
    if (!inner.begun && !request.left!.aborted) throw thrown
    reply.hijack()
    outlet.fail(toGatewayError(thrown))
  }
}

function header (request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name]
  return Array.isArray(value) ? value.join(',') : value
}
