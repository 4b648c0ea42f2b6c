import type { FastifyInstance } from 'fastify'
import { OPENAI_ERRORS } from '../listener/errors.ts'
import { serveCompletion } from '../pipeline/completions.ts'
import { serveEmbeddings } from '../pipeline/embeddings.ts'
import { serveRerank } from '../pipeline/rerank.ts'
import { serveDetokenize, serveTokenize } from '../pipeline/tokenize.ts'
import type { Endpoint } from '../usage/record.ts'
import { bodyOf, claimedClass, opening, serve, type Asking, type CallRouteParts } from './calls.ts'
import type { HttpOutlet } from './outlet.ts'

interface PlainRoute { readonly path: string, readonly endpoint: Endpoint, readonly life: NonNullable<Asking['life']> }

/** What is no chat, and has one dialect. */
const ROUTES: readonly PlainRoute[] = [
  { path: '/v1/completions', endpoint: 'completions', life: serveCompletion },
  { path: '/v1/embeddings', endpoint: 'embeddings', life: serveEmbeddings },
  { path: '/v1/rerank', endpoint: 'rerank', life: serveRerank },
  { path: '/tokenize', endpoint: 'tokens', life: serveTokenize },
  { path: '/detokenize', endpoint: 'tokens', life: serveDetokenize }
]

/** A route for each. Calls of these kinds live as all others do. */
export async function plainRoutes (server: FastifyInstance, parts: CallRouteParts): Promise<void> {
  server.decorateRequest('left', null)
  for (const { path, endpoint, life } of ROUTES) {
    const errors = OPENAI_ERRORS
    server.post(path, { config: { scope: 'inference', errors }, onRequest: opening({ endpoint, errors }, parts) }, async (request, reply) => {
      const asking = { life, chat: bodyOf(request), claimedClass: claimedClass(request), headers: errors.headers, outlet: (inner: HttpOutlet) => inner }
      await serve(parts, request, reply, asking)
    })
  }
}
