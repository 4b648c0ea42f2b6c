/** Anthropic's Messages API, and servers that speak it. Nothing of their dialect leaves this file: chat completions go in and come out. */
import type { AnthropicBackendConfig } from '../config/schema.ts'
import type { Answer } from '../wire/answer.ts'
import type { ChatRequest } from '../wire/chat.ts'
import { toCompletion } from '../wire/anthropic/answer.ts'
import { ChunkCutter } from '../wire/anthropic/events.ts'
import { toMessages } from '../wire/anthropic/request.ts'
import { ANTHROPIC_MEMBERS } from '../wire/unknown.ts'
import type { Availability, Backend, ChatOptions } from './backend.ts'
import type { Translation } from './http.ts'
import type { KeyState } from './keys.ts'
import { Upstream, type UpstreamOptions } from './upstream.ts'

/** @throws Error when the configuration has a header that is not the operator's to set */
export function createAnthropicBackend (config: AnthropicBackendConfig, options: UpstreamOptions): Backend {
  return new AnthropicBackend(config, options)
}

class AnthropicBackend implements Backend {
  readonly members = ANTHROPIC_MEMBERS
  readonly #upstream: Upstream
  readonly #config: AnthropicBackendConfig

  constructor (config: AnthropicBackendConfig, options: UpstreamOptions) {
    this.#upstream = new Upstream(config, options, { header: 'x-api-key' }, { 'anthropic-version': config.anthropicVersion })
    this.#config = config
  }

  get name (): string { return this.#upstream.name }
  get locality (): Backend['locality'] { return this.#upstream.locality }
  availability (model: string): Availability { return this.#upstream.availability(model) }
  keys (model: string): KeyState[] { return this.#upstream.keys(model) }
  close (signal?: AbortSignal): Promise<void> { return this.#upstream.close(signal) }

  /** @throws GatewayError `unsupported_value` before anything is sent, for what the dialect has no words for; else as Backend.chat */
  async chat (request: ChatRequest, options: ChatOptions): Promise<Answer> {
    return this.#upstream.ask({
      path: '/v1/messages',
      model: request.model,
      body: JSON.stringify(toMessages(request, this.#config)),
      stream: request.stream === true,
      choices: 1,
      translation: translationOf(this.name, request)
    }, options)
  }
}

function translationOf (source: string, request: ChatRequest): Translation {
  const createdS = Math.floor(Date.now() / 1000)
  return {
    cutter: () => new ChunkCutter({ source, createdS, hasUsage: request.stream_options?.include_usage === true }),
    whole: value => toCompletion(value, createdS)
  }
}
