import { estimateInput } from '../limits/estimate.ts'
import { usageOfEmbeddings } from '../wire/embeddings.ts'
import { validateRerank, type RerankRequest } from '../wire/rerank.ts'
import type { Call } from './call.ts'
import { notServed } from './dispatch.ts'
import { serve, type Inbound, type Kind, type Outlet, type Services } from './serve.ts'

const RERANK: Kind<RerankRequest> = {
  validate: validateRerank,
  // The query is read again with every document.
  estimate: ({ query, documents }) => ({ input: estimateInput(query) * documents.length + estimateInput(documents), output: 0 }),
  ask: async (backend, request, options) => await (backend.rerank?.(request, options) ?? notServed(backend, 'rerank')),
  usageOf: usageOfEmbeddings,
  roughOutput: () => 0
}

/** Documents ranked for a query. @throws GatewayError as `serve` */
export function serveRerank (services: Services, call: Call, inbound: Inbound, outlet: Outlet): Promise<void> {
  return serve(RERANK, services, call, inbound, outlet)
}
