import type { FastifyInstance, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.ts'
import { estimateTokens } from '../limits/estimate.ts'
import { OPENAI_ERRORS } from '../listener/errors.ts'
import { classOf } from '../policy/classify.ts'
import { routeOf } from '../pipeline/targets.ts'
import { parseBody } from '../wire/parse.ts'
import { ResponseAnswer } from '../wire/responses/answer.ts'
import { identified, pageOf } from '../wire/responses/listing.ts'
import { readRequest, toChat, type ResponseRequest } from '../wire/responses/request.ts'
import { validateChat } from '../wire/validate.ts'
import { bodyOf, claimedClass, opening, serve, type CallRouteParts } from './calls.ts'
import { ascii } from './decision.ts'
import { TranslatingOutlet } from './dialect.ts'
import { KeptResponses, type Earlier, type KeepingParts } from './kept.ts'

export interface ResponseRouteParts extends CallRouteParts {
  readonly keeping: KeepingParts
}

type WithId = { Params: { id: string }, Querystring: Readonly<Record<string, string | string[]>> }

/** /v1/responses, answered by way of chat completions, whatever the backend; and the responses that are kept. */
export async function responseRoutes (server: FastifyInstance, parts: ResponseRouteParts): Promise<void> {
  const { services } = parts
  const kept = new KeptResponses(parts.keeping)
  server.addHook('onClose', async () => { kept.close() })
  const config = { scope: 'inference' } as const

  server.post('/v1/responses', { config, onRequest: opening({ endpoint: 'responses', errors: OPENAI_ERRORS }, parts) }, async (request, reply) => {
    const asked = readRequest(bodyOf(request))
    const { name: tenant, storeResponses } = request.principal!.tenant
    const stored = isStored(asked, storeResponses === true)
    const earlier = await kept.earlier(tenant, asked.previousId)
    const { chat, warnings } = toChat(asked, earlier?.items)
    const items = identified(asked.items)
    const onEnd = (response: Record<string, unknown>) => {
      kept.keep({ tenant, previousId: asked.previousId, dataClass: request.call!.record.dataClass!, items, response })
    }
    await serve(parts, request, reply, {
      chat,
      claimedClass: classBehind(earlier, request),
      headers: () => warningHeaders([...asked.warnings, ...warnings]),
      outlet: inner => new TranslatingOutlet(inner, new ResponseAnswer({ request: asked, stored, ...stored && { onEnd } }))
    })
  })

  server.post('/v1/responses/input_tokens', { config }, async request => {
    if (request.body === undefined) throw new GatewayError('invalid_json', 'The body is empty; expected a JSON object.')
    const { tenant } = request.principal!
    const asked = readRequest(parseBody(request.body as Buffer))
    const earlier = await kept.earlier(tenant.name, asked.previousId)
    const chat = validateChat(toChat(asked, earlier?.items).chat)
    routeOf(services, tenant, chat.model)
    return { object: 'response.input_tokens', input_tokens: estimateTokens(chat, services.config.limits.assumedOutputTokens).input }
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

/** Left open by the caller, the tenant's policy says it. Asked for and not allowed, it is refused. */
function isStored ({ store }: ResponseRequest, allowed: boolean): boolean {
  if (store === true && !allowed) {
    throw new GatewayError('unsupported_value', "Unsupported value: 'store' must be false; this tenant's responses are not kept (tenants[].storeResponses).", { param: 'store' })
  }
  return store ?? allowed
}

/** What goes on from a response is at least as secret. */
function classBehind (earlier: Earlier | null, request: FastifyRequest): string | undefined {
  const claimed = claimedClass(request)
  return earlier === null ? claimed : classOf(classOf('public', earlier.dataClass), claimed)
}

const MOST_WARNINGS = 8

/** What was left out, in `x-torchgate-warning`. */
function warningHeaders (warnings: readonly string[]): Readonly<Record<string, string>> {
  if (warnings.length === 0) return {}
  const more = warnings.length - MOST_WARNINGS
  return { 'x-torchgate-warning': ascii([...warnings.slice(0, MOST_WARNINGS), ...more > 0 ? [`and ${more} more`] : []].join('; ')) }
}
