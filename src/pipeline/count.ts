import { toGatewayError } from '../errors.ts'
import type { TenantConfig } from '../config/schema.ts'
import { estimateTokens } from '../limits/estimate.ts'
import type { ChatRequest } from '../wire/chat.ts'
import type { Services } from './serve.ts'
import { routeOf } from './targets.ts'

export interface Counting {
  readonly tenant: TenantConfig
  readonly chat: ChatRequest
  readonly callId: string
  /** Aborts when the caller has left. */
  readonly signal: AbortSignal
}

export interface Counted {
  readonly tokens: number
  /** By the chat template and the vocabulary of the model; otherwise it is what limits reserve by. */
  readonly isExact: boolean
}

/**
 * Tokens of a prompt. They are exact where the model's first target is local; of a provider nobody here knows the
 * vocabulary. What a local model cannot count now, or at all, is estimated.
 * @throws GatewayError `model_not_found`, `model_not_allowed`, or what is wrong with the request itself
 */
export async function countInput (services: Services, { tenant, chat, callId, signal }: Counting): Promise<Counted> {
  const [first] = routeOf(services, tenant, chat.model).targets
  const backend = services.backends.get(first?.backend ?? '')
  try {
    const tokens = await backend?.count?.({ ...chat, model: first!.model }, { signal, boundary: backend.locality, callId, isolation: tenant.name })
    if (tokens !== undefined) return { tokens, isExact: true }
  } catch (thrown) {
    const error = toGatewayError(thrown)
    // What another target might take is no fault of the request.
    if (signal.aborted || !error.fallback) throw error
  }
  return { tokens: estimateTokens(chat, services.config.limits.assumedOutputTokens).input, isExact: false }
}
