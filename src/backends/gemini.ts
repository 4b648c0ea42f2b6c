/** Google's Gemini API. Nothing of its dialect leaves this file: chat completions go in and come out. */
import { randomUUID } from 'node:crypto'
import type { GeminiBackendConfig } from '../config/schema.ts'
import type { Answer, BodyAnswer } from '../wire/answer.ts'
import type { ChatRequest } from '../wire/chat.ts'
import { inputsOf, type EmbeddingsRequest } from '../wire/embeddings.ts'
import { toCompletion } from '../wire/gemini/answer.ts'
import { toBatch, toEmbeddings } from '../wire/gemini/embeddings.ts'
import { ChunkCutter } from '../wire/gemini/events.ts'
import { toGenerate } from '../wire/gemini/request.ts'
import { EventCutter } from '../wire/sse.ts'
import { GEMINI_MEMBERS } from '../wire/unknown.ts'
import type { Availability, Backend, ChatOptions } from './backend.ts'
import type { Translation } from './http.ts'
import type { KeyState } from './keys.ts'
import { embeddingsRoute } from './routes.ts'
import { Upstream, type UpstreamOptions } from './upstream.ts'

/** @throws Error when the configuration has a header that is not the operator's to set */
export function createGeminiBackend (config: GeminiBackendConfig, options: UpstreamOptions): Backend {
  return new GeminiBackend(config, options)
}

class GeminiBackend implements Backend {
  readonly members = GEMINI_MEMBERS
  readonly #upstream: Upstream
  readonly #thinking: GeminiBackendConfig['thinking']

  constructor (config: GeminiBackendConfig, options: UpstreamOptions) {
    this.#upstream = new Upstream(config, options, { header: 'x-goog-api-key' })
    this.#thinking = config.thinking
  }

  get name (): string { return this.#upstream.name }
  get locality (): Backend['locality'] { return this.#upstream.locality }
  availability (model: string): Availability { return this.#upstream.availability(model) }
  keys (model: string): KeyState[] { return this.#upstream.keys(model) }
  close (signal?: AbortSignal): Promise<void> { return this.#upstream.close(signal) }

  /** @throws GatewayError `unsupported_value` before anything is sent, for what the dialect has no words for; else as Backend.chat */
  async chat (request: ChatRequest, options: ChatOptions): Promise<Answer> {
    const stream = request.stream === true
    const choices = request.n ?? 1
    return this.#upstream.ask({
      path: pathOf(request.model, stream ? 'streamGenerateContent?alt=sse' : 'generateContent'),
      model: request.model,
      body: JSON.stringify(toGenerate(request, this.#thinking)),
      stream,
      choices,
      translation: translationOf(this.name, choices, request)
    }, options)
  }

  async embed (request: EmbeddingsRequest, options: ChatOptions): Promise<BodyAnswer> {
    const { model, encoding_format: format = 'float' } = request
    return await this.#upstream.ask({
      path: pathOf(model, 'batchEmbedContents'),
      model,
      body: JSON.stringify(toBatch(request)),
      stream: false,
      choices: 1,
      route: embeddingsRoute(inputsOf(request.input).length),
      translation: { cutter: () => new EventCutter(this.name), whole: value => toEmbeddings(value, model, format) }
    }, options) as BodyAnswer
  }
}

/** The name comes from a caller where the public one ends in `*`: it must stay one part of the path. */
function pathOf (model: string, method: string): string { return `/v1beta/models/${encodeURIComponent(model)}:${method}` }

function translationOf (source: string, choices: number, request: ChatRequest): Translation {
  const createdS = Math.floor(Date.now() / 1000)
  const id = randomUUID()
  return {
    cutter: () => new ChunkCutter({ source, createdS, id, choices, hasUsage: request.stream_options?.include_usage === true }),
    whole: value => toCompletion(value, { createdS, id, choices })
  }
}
