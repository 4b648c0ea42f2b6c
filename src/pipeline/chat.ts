import { estimateTokens } from '../limits/estimate.ts'
import { usageOfChunk } from '../wire/observe.ts'
import type { ChatRequest } from '../wire/chat.ts'
import { validateChat } from '../wire/validate.ts'
import type { Call } from './call.ts'
import { lastPrompt } from './complexity.ts'
import { examine, eyes, fetchImages } from './images.ts'
import { roughTokens } from './meter.ts'
import { both, search } from './search.ts'
import { serve, type Inbound, type Kind, type Outlet, type Services } from './serve.ts'
import { fit } from './unknown.ts'

export type { Inbound, Outlet, Services } from './serve.ts'

const CHAT: Kind<ChatRequest> = {
  validate: validateChat,
  estimate: estimateTokens,
  examine,
  needs: (request, { media }) => both(media === 0 ? null : eyes(request), search(request)),
  complete: fetchImages,
  prompt: lastPrompt,
  fit,
  ask: (backend, request, options) => backend.chat(request, options),
  usageOf: usageOfChunk,
  roughOutput: roughTokens
}

/** A chat completion, streamed or not. @throws GatewayError as `serve` */
export function serveChat (services: Services, call: Call, inbound: Inbound, outlet: Outlet): Promise<void> {
  return serve(CHAT, services, call, inbound, outlet)
}
