/** Any server that speaks the OpenAI API: a provider, a vLLM, an SGLang, a llama-server. */
import type { OpenAIBackendConfig } from '../config/schema.ts'
import type { Answer } from '../wire/answer.ts'
import type { ChatRequest } from '../wire/chat.ts'
import type { Availability, Backend, ChatOptions } from './backend.ts'
import { bodyOf } from './http.ts'
import { Upstream, type UpstreamOptions } from './upstream.ts'

/** @throws Error when the configuration has a header that is not the operator's to set */
export function createOpenAIBackend (config: OpenAIBackendConfig, options: UpstreamOptions): Backend {
  return new OpenAIBackend(config, options)
}

class OpenAIBackend implements Backend {
  readonly #upstream: Upstream

  constructor (config: OpenAIBackendConfig, options: UpstreamOptions) {
    const { apiKey } = options
    this.#upstream = new Upstream(config, options, apiKey === null ? {} : { authorization: `Bearer ${apiKey}` })
  }

  get name (): string { return this.#upstream.name }
  get locality (): Backend['locality'] { return this.#upstream.locality }
  availability (model: string): Availability { return this.#upstream.availability(model) }
  close (signal?: AbortSignal): Promise<void> { return this.#upstream.close(signal) }

  chat (request: ChatRequest, options: ChatOptions): Promise<Answer> {
    const { model, stream, n } = request
    return this.#upstream.ask({ path: '/chat/completions', model, body: bodyOf(request), stream: stream === true, choices: n ?? 1 }, options)
  }
}
