/** Calls in the Responses dialect that a backend may speak itself. Where it does not, they are chats. */
import type { GatewayError } from '../errors.ts'
import { estimateInput, estimatePrompt, estimateTokens } from '../limits/estimate.ts'
import type { ChatRequest } from '../wire/chat.ts'
import { usageOfChunk } from '../wire/observe.ts'
import { bodyWithin, isResponse, usageOfResponse } from '../wire/responses/native.ts'
import type { Call } from './call.ts'
import { eyes, examine, fetchImages } from './images.ts'
import { roughTokens } from './meter.ts'
import { serve, type Inbound, type Kind, type Outlet, type Services } from './serve.ts'

type Members = Record<string, unknown>

export interface NativeRequest {
  readonly model: string
  readonly stream: boolean
  /** For backends that speak the dialect: the caller's own, with what the gateway adds and withholds. */
  readonly native: Members
  /** For all others; null where it cannot be said as a chat. */
  readonly chat: ChatRequest | null
  /** Then: why not. */
  readonly fault: GatewayError | null
  /** Told before each attempt in which words its answer will be, and what was left out for it. */
  readonly onAttempt: (isNative: boolean, warnings: readonly string[]) => void
}

const KIND: Omit<Kind<NativeRequest>, 'validate'> = {
  estimate ({ native, chat }, assumedOutput) {
    if (chat !== null) return estimateTokens(chat, assumedOutput)
    const { input, instructions, tools, max_output_tokens: most } = native
    return { ...estimatePrompt([input, instructions, tools]), output: typeof most === 'number' ? most : assumedOutput }
  },
  examine: ({ chat }, images) => { if (chat !== null) examine(chat, images) },
  needs ({ chat, fault }, { media }) {
    if (fault !== null) return { isMet: ({ respond }) => respond !== undefined, unmet: () => fault }
    return chat === null || (media ?? 0) === 0 ? null : eyes(chat)
  },
  complete: async ({ chat }, images, bounds) => { if (chat !== null) await fetchImages(chat, images, bounds) },
  async ask (backend, { model, stream, native, chat, fault, onAttempt }, options) {
    if (backend.respond !== undefined) {
      const { body, warnings } = bodyWithin(native, options.boundary === 'cloud')
      onAttempt(true, warnings)
      return await backend.respond({ model, stream, body }, options)
    }
    if (chat === null) throw fault!
    onAttempt(false, [])
    return await backend.chat({ ...chat, model }, options)
  },
  usageOf: value => usageOfResponse(value) ?? usageOfChunk(value),
  roughOutput: value => isResponse(value) ? estimateInput((value as Members)['output']) : roughTokens(value)
}

/** @throws GatewayError as `serve` */
export function serveNative (request: NativeRequest): (services: Services, call: Call, inbound: Inbound, outlet: Outlet) => Promise<void> {
  return (services, call, inbound, outlet) => serve({ ...KIND, validate: () => request }, services, call, inbound, outlet)
}
