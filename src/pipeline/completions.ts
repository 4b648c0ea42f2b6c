import { estimateInput } from '../limits/estimate.ts'
import { DEFAULT_MAX_TOKENS, validateCompletion, type CompletionRequest } from '../wire/completions.ts'
import { inputsOf } from '../wire/embeddings.ts'
import { usageOfChunk } from '../wire/observe.ts'
import type { Call } from './call.ts'
import { notServed } from './dispatch.ts'
import { roughTexts } from './meter.ts'
import { serve, type Inbound, type Kind, type Outlet, type Services } from './serve.ts'

const COMPLETIONS: Kind<CompletionRequest> = {
  validate: validateCompletion,
  estimate ({ prompt, suffix, max_tokens: most, n, best_of: best }) {
    const answers = inputsOf(prompt).length * (best ?? n ?? 1)
    return { input: estimateInput([prompt, suffix]), output: (most ?? DEFAULT_MAX_TOKENS) * answers }
  },
  ask: async (backend, request, options) => await (backend.complete?.(request, options) ?? notServed(backend, 'completions of raw prompts')),
  usageOf: usageOfChunk,
  roughOutput: roughTexts
}

/** A raw prompt continued, streamed or not. @throws GatewayError as `serve` */
export function serveCompletion (services: Services, call: Call, inbound: Inbound, outlet: Outlet): Promise<void> {
  return serve(COMPLETIONS, services, call, inbound, outlet)
}
