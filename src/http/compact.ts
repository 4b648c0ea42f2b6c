import type { FastifyInstance } from 'fastify'
import { OPENAI_ERRORS } from '../listener/errors.ts'
import type { ChatCompletion } from '../wire/chat.ts'
import { compacted, CUT_WARNING, summaryChat, summaryOf } from '../wire/responses/compaction.ts'
import { readRequest } from '../wire/responses/request.ts'
import { bodyOf, claimedClass, opening, serve, type CallRouteParts } from './calls.ts'
import { TranslatingOutlet } from './dialect.ts'
import type { Turns } from './turns.ts'
import { warningHeaders } from './warnings.ts'

/** POST /v1/responses/compact: a call like any other, whose answer is a summary of what was said. */
export async function compactRoute (server: FastifyInstance, parts: CallRouteParts & { readonly turns: Turns }): Promise<void> {
  const { turns } = parts
  const config = { scope: 'inference', errors: OPENAI_ERRORS } as const
  server.post('/v1/responses/compact', { config, onRequest: opening({ endpoint: 'responses', errors: OPENAI_ERRORS }, parts) }, async (request, reply) => {
    const { name: tenant } = request.principal!.tenant
    const turn = await turns.read(tenant, readRequest(bodyOf(request)), claimedClass(request))
    const { chat, warnings } = summaryChat(turn.asked, turns.opened(tenant, turn.items), turns.opened(tenant, turn.earlier))
    const said = [...warnings]
    const whole = (completion: ChatCompletion): object => {
      const { summary, isCut } = summaryOf(completion)
      if (isCut) said.push(CUT_WARNING)
      const { usage, dataClass } = request.call!.record
      return compacted([...turn.earlier, ...turn.items], turns.sealed(tenant, summary, dataClass!), usage!)
    }
    const nothing = () => ''
    await serve(parts, request, reply, {
      chat,
      claimedClass: turn.claimedClass,
      headers: () => warningHeaders(said),
      outlet: inner => new TranslatingOutlet(inner, { whole, chunk: nothing, end: nothing, failed: nothing })
    })
  })
}
