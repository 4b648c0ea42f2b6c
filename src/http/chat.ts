import type { FastifyInstance, FastifyRequest, onRequestHookHandler } from 'fastify'
import { GatewayError, toGatewayError } from '../errors.ts'
import { Call } from '../pipeline/call.ts'
import { serveChat, type Services } from '../pipeline/chat.ts'
import { clientClosed } from '../pipeline/dispatch.ts'
import type { Recorder } from '../usage/record.ts'
import { parseBody } from '../wire/parse.ts'
import { disconnectSignal } from './disconnect.ts'
import { HttpOutlet } from './outlet.ts'

export interface ChatRouteParts {
  readonly services: Services
  readonly recorders: readonly Recorder[]
  readonly onStart: () => void
}

declare module 'fastify' {
  interface FastifyRequest { left: AbortSignal | null }
}

/** POST /v1/chat/completions. A call is open from its headers on, so a refused one has its record too. */
export async function chatRoute (server: FastifyInstance, { services, recorders, onStart }: ChatRouteParts): Promise<void> {
  server.decorateRequest('left', null)
  const open: onRequestHookHandler = (request, reply, done) => {
    const call = request.call = new Call(request.id, 'chat_completions', recorders)
    // A caller that leaves while its body is still coming reaches no handler.
    request.left = disconnectSignal(reply.raw, () => { call.end(clientClosed(), 499) })
    onStart()
    done()
  }

  server.post('/v1/chat/completions', {
    config: { scope: 'inference' },
    onRequest: open
  }, async (request, reply) => {
    const call = request.call!
    const principal = request.principal!
    call.record.tenant = principal.tenant.name
    call.record.keyId = principal.keyId
    call.record.receivedMs = call.elapsedMs
    const outlet = new HttpOutlet(reply.raw, call, request.left!)
    try {
      if (request.body === undefined) throw new GatewayError('invalid_json', 'The body is empty; expected a JSON object.')
      const body = parseBody(request.body as Buffer)
      const claimedClass = header(request, 'x-torchgate-class')
      await serveChat(services, call, { principal, body, claimedClass, signal: request.left! }, outlet)
      reply.hijack()
    } catch (thrown) {
      if (!outlet.begun && !request.left!.aborted) throw thrown
      reply.hijack()
      outlet.fail(toGatewayError(thrown))
    }
  })
}

function header (request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name]
  return Array.isArray(value) ? value.join(',') : value
}
