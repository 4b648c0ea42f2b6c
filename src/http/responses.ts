import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../errors.ts'
import { OPENAI_ERRORS } from '../listener/errors.ts'
import { ResponseAnswer } from '../wire/responses/answer.ts'
import { readRequest, toChat, type ResponseRequest } from '../wire/responses/request.ts'
import { bodyOf, claimedClass, opening, serve, type CallRouteParts } from './calls.ts'
import { ascii } from './decision.ts'
import { TranslatingOutlet } from './dialect.ts'

/** POST /v1/responses, answered by way of chat completions, whatever the backend. */
export async function responseRoutes (server: FastifyInstance, parts: CallRouteParts): Promise<void> {
  server.post('/v1/responses', {
    config: { scope: 'inference' },
    onRequest: opening({ endpoint: 'responses', errors: OPENAI_ERRORS }, parts)
  }, async (request, reply) => {
    const asked = readRequest(bodyOf(request))
    refuseState(asked)
    const { chat, warnings } = toChat(asked)
    await serve(parts.services, request, reply, {
      chat,
      claimedClass: claimedClass(request),
      headers: () => warningHeaders([...asked.warnings, ...warnings]),
      outlet: inner => new TranslatingOutlet(inner, new ResponseAnswer({ request: asked, stored: false }))
    })
  })
}

function refuseState ({ store, previousId }: ResponseRequest): void {
  if (store === true) throw new GatewayError('unsupported_value', "Unsupported value: 'store' must be false; responses are not kept here.", { param: 'store' })
  if (previousId !== null) throw new GatewayError('unsupported_parameter', "Unsupported parameter: 'previous_response_id'; responses are not kept here, so send the items in input.", { param: 'previous_response_id' })
}

const MOST_WARNINGS = 8

/** What was left out, in `x-torchgate-warning`. */
function warningHeaders (warnings: readonly string[]): Readonly<Record<string, string>> {
  if (warnings.length === 0) return {}
  const more = warnings.length - MOST_WARNINGS
  return { 'x-torchgate-warning': ascii([...warnings.slice(0, MOST_WARNINGS), ...more > 0 ? [`and ${more} more`] : []].join('; ')) }
}
