import { estimateInput } from '../limits/estimate.ts'
import { usageOfEmbeddings, validateEmbeddings, type EmbeddingsRequest } from '../wire/embeddings.ts'
import type { Call } from './call.ts'
import { notServed } from './dispatch.ts'
import { serve, type Inbound, type Kind, type Outlet, type Services } from './serve.ts'

const EMBEDDINGS: Kind<EmbeddingsRequest> = {
  validate: validateEmbeddings,
  estimate: ({ input }) => ({ input: estimateInput(input), output: 0 }),
  ask: async (backend, request, options) => await (backend.embed?.(request, options) ?? notServed(backend, 'embeddings')),
  usageOf: usageOfEmbeddings,
  roughOutput: () => 0
}

/** Vectors of texts. @throws GatewayError as `serve` */
export function serveEmbeddings (services: Services, call: Call, inbound: Inbound, outlet: Outlet): Promise<void> {
  return serve(EMBEDDINGS, services, call, inbound, outlet)
}
