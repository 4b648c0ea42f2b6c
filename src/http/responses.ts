import type { FastifyInstance, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.ts'
import { OPENAI_ERRORS } from '../listener/errors.ts'
import { countInput } from '../pipeline/count.ts'
import type { Seal } from '../tenants/seal.ts'
import { parseBody } from '../wire/parse.ts'
import { pageOf } from '../wire/responses/listing.ts'
import { readRequest } from '../wire/responses/request.ts'
import { validateChat } from '../wire/validate.ts'
import { bodyOf, claimedClass, opening, serve, type CallRouteParts } from './calls.ts'
import { compactRoute } from './compact.ts'
import { countedIn } from './counted.ts'
import { disconnectSignal } from './disconnect.ts'
import { KeptResponses, type KeepingParts } from './kept.ts'
import { readCall } from './response-call.ts'
import type { SocketParts } from './socket.ts'
import { responseSockets } from './sockets.ts'
import { Turns } from './turns.ts'
import { warningHeaders } from './warnings.ts'

export interface ResponseRouteParts extends CallRouteParts {
  readonly keeping: KeepingParts
  /** For conversations that were compacted. */
  readonly seal: Seal
  /** For WebSockets. */
  readonly sockets: Pick<SocketParts, 'tenants' | 'refusal' | 'onFailure' | 'limits'>
}

type WithId = { Params: { id: string }, Querystring: Readonly<Record<string, string | string[]>> }

/** /v1/responses, answered by way of chat completions, whatever the backend; and the responses that are kept. */
export async function responseRoutes (server: FastifyInstance, parts: ResponseRouteParts): Promise<void> {
  const { services } = parts
  const kept = new KeptResponses(parts.keeping)
  server.addHook('onClose', async () => { kept.close() })
  const turns = new Turns(kept, parts.seal)
  await server.register(compactRoute, { ...parts, turns })
  await server.register(responseSockets, { ...parts, ...parts.sockets, kept, turns })
  const config = { scope: 'inference' } as const

  server.post('/v1/responses', { config, onRequest: opening({ endpoint: 'responses', errors: OPENAI_ERRORS }, parts) }, async (request, reply) => {
    const call = request.call!
    const asker = { principal: request.principal!, claimed: claimedClass(request) }
    const { turn, stored, chat, life, warnings, outlet } = await readCall({ services, turns }, bodyOf(request), asker)
    const onEnd = (response: Record<string, unknown>) => {
      if (stored) kept.keep({ tenant: tenantOf(request), previousId: turn.asked.previousId, dataClass: call.record.dataClass!, items: turn.items, response })
    }
    await serve(parts, request, reply, {
      chat,
      life,
      claimedClass: turn.claimedClass,
      headers: () => warningHeaders(warnings),
      outlet: inner => outlet(inner, call, onEnd)
    })
  })

  server.post('/v1/responses/input_tokens', { config }, async (request, reply) => {
    if (request.body === undefined) throw new GatewayError('invalid_json', 'The body is empty; expected a JSON object.')
    const { tenant } = request.principal!
    const asked = readRequest(parseBody(request.body as Buffer))
    const turn = await turns.read(tenant.name, asked, claimedClass(request))
    const chat = validateChat(turns.chat(tenant.name, turn).chat)
    const counted = await countInput(services, { tenant, chat, callId: request.id, signal: disconnectSignal(reply.raw, () => {}) })
    void reply.header(...countedIn(counted))
    return { object: 'response.input_tokens', input_tokens: counted.tokens }
  })

  server.get<WithId>('/v1/responses/:id', { config }, async request => {
    for (const name of ['stream', 'starting_after']) {
      if (![undefined, 'false'].includes(request.query[name] as string | undefined)) {
        throw new GatewayError('unsupported_parameter', `Unsupported parameter: '${name}'; a response is streamed while it is made, not again.`, { param: name })
      }
    }
    const { response } = await kept.find(tenantOf(request), request.params.id)
    return JSON.parse(response) as object
  })

  server.delete<WithId>('/v1/responses/:id', { config }, async request => {
    await kept.delete(tenantOf(request), request.params.id)
    return { id: request.params.id, object: 'response', deleted: true }
  })

  server.post<WithId>('/v1/responses/:id/cancel', { config }, async request => {
    await kept.find(tenantOf(request), request.params.id)
    throw new GatewayError('invalid_value', 'Only a response in the background can be cancelled; to end one that is being made, close its connection.', { param: 'response_id' })
  })

  server.get<WithId>('/v1/responses/:id/input_items', { config }, async request => {
    return pageOf(await kept.input(tenantOf(request), request.params.id), request.query)
  })
}

function tenantOf (request: { principal: FastifyRequest['principal'] }): string { return request.principal!.tenant.name }
