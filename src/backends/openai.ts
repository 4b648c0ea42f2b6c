/** Any server that speaks the OpenAI API: a provider, a vLLM, an SGLang, a llama-server. */
import { quirksOf, type Quirks } from '../config/presets.ts'
import type { OpenAIBackendConfig } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import type { Answer, BodyAnswer } from '../wire/answer.ts'
import type { ChatRequest } from '../wire/chat.ts'
import type { CompletionRequest } from '../wire/completions.ts'
import { inBase64, inputsOf, type EmbeddingsRequest } from '../wire/embeddings.ts'
import type { ForwardRequest } from '../wire/forward.ts'
import type { RerankRequest } from '../wire/rerank.ts'
import type { NativeAsk } from '../wire/responses/native.ts'
import type { Availability, Backend, ChatOptions } from './backend.ts'
import { bodyOf, type Asking } from './http.ts'
import { Refused } from './failure.ts'
import type { KeyState } from './keys.ts'
import { inItsWords } from './quirks.ts'
import { CHAT, COMPLETIONS, embeddingsRoute, forwardRoute, RERANK, RESPONSES, type Route } from './routes.ts'
import { Upstream, type Credential, type UpstreamConfig, type UpstreamOptions } from './upstream.ts'

/** @throws Error when the configuration has a header that is not the operator's to set */
export function createOpenAIBackend (config: OpenAIBackendConfig, options: UpstreamOptions): Backend {
  const quirks = config.preset === undefined ? null : quirksOf(config.preset)
  return new OpenAIBackend(config, options, { credential: { header: 'authorization', scheme: 'Bearer' }, ...quirks !== null && { quirks } })
}

/** Where one server of the API differs from another. */
export interface OpenAIDialect {
  readonly credential: Credential
  readonly quirks?: Quirks
  /** Stands between the base URL and the path of the route, where each model has a place of its own. */
  readonly folderOf?: (model: string) => string
}

export class OpenAIBackend implements Backend {
  readonly #upstream: Upstream
  readonly #speaksResponses: boolean
  readonly #quirks: Quirks | null
  readonly #folderOf: OpenAIDialect['folderOf']

  constructor (config: UpstreamConfig & Pick<OpenAIBackendConfig, 'responses'>, options: UpstreamOptions, { credential, quirks, folderOf }: OpenAIDialect) {
    this.#speaksResponses = config.responses === true
    this.#quirks = quirks ?? null
    this.#folderOf = folderOf
    this.#upstream = new Upstream(config, options, credential)
  }

  get name (): string { return this.#upstream.name }
  get locality (): Backend['locality'] { return this.#upstream.locality }
  availability (model: string): Availability { return this.#upstream.availability(model) }
  keys (model: string): KeyState[] { return this.#upstream.keys(model) }
  close (signal?: AbortSignal): Promise<void> { return this.#upstream.close(signal) }

  /** @throws GatewayError `unsupported_value` before anything is sent, for what the server is known not to have; else as Backend.chat */
  chat (request: ChatRequest, options: ChatOptions): Promise<Answer> {
    return this.#quirks === null ? this.#ask(CHAT, request, options) : this.#chatInItsWords(request, this.#quirks, options)
  }

  async #chatInItsWords (request: ChatRequest, quirks: Quirks, options: ChatOptions): Promise<Answer> {
    return this.#ask(CHAT, inItsWords(request, quirks, this.name), options)
  }

  /** Undefined where the configuration says that the server does not speak it. */
  get respond (): Backend['respond'] { return this.#speaksResponses ? this.#respond : undefined }

  complete (request: CompletionRequest, options: ChatOptions): Promise<Answer> { return this.#ask(COMPLETIONS, request, options) }

  rerank (request: RerankRequest, options: ChatOptions): Promise<Answer> { return this.#ask(RERANK, request, options) }

  async forward ({ what, model, body, upload }: ForwardRequest, options: ChatOptions): Promise<Answer> {
    const route = forwardRoute(what)
    // Not as a stream: whether one comes is seen by its media type, for some models answer whole whatever they are asked.
    const ask = { path: this.#path(route, model), model, stream: false, choices: 1, route }
    const sent = upload === undefined ? { body: JSON.stringify({ ...body, model }) } : { body: upload.text, upload: upload.open(model) }
    return await this.#upstream.ask({ ...ask, ...sent }, options).catch((error: unknown) => { throw asNotServed(error) })
  }

  async embed (request: EmbeddingsRequest, options: ChatOptions): Promise<BodyAnswer> {
    const answer = await this.#ask(embeddingsRoute(inputsOf(request.input).length), request, options) as BodyAnswer
    const value = request.encoding_format === 'base64' ? inBase64(answer.value) : null
    return value === null ? answer : { kind: 'body', bytes: Buffer.from(JSON.stringify(value)), value }
  }

  readonly #respond = ({ model, stream, body }: NativeAsk, options: ChatOptions): Promise<Answer> => {
    const sent = JSON.stringify({ ...body, model, stream })
    return this.#upstream.ask({ path: RESPONSES.path, model, body: sent, stream, choices: 1, route: RESPONSES }, options)
  }

  #path ({ path }: Route, model: string): string { return this.#folderOf === undefined ? path : this.#folderOf(model) + path }

  #ask (route: Route, request: Asking, options: ChatOptions): Promise<Answer> {
    const { model, stream, n } = request
    return this.#upstream.ask({ path: this.#path(route, model), model, body: bodyOf(request), stream: stream === true, choices: n ?? 1, route }, options)
  }
}

/** A server that knows no such route, or no such model there; another one may. */
function asNotServed (error: unknown): unknown {
  const isUnknown = error instanceof GatewayError && error.cause instanceof Refused && error.cause.status === 404
  return isUnknown ? new GatewayError('not_served', error.message, { param: 'model', cause: error.cause }) : error
}
