/** Any server that speaks the OpenAI API: a provider, a vLLM, an SGLang, a llama-server. */
import type { Locality, OpenAIBackendConfig } from '../config/schema.ts'
import { GatewayError, toGatewayError } from '../errors.ts'
import type { Answer } from '../wire/answer.ts'
import type { ChatRequest } from '../wire/chat.ts'
import { Attempts } from './attempts.ts'
import type { Availability, Backend, ChatOptions } from './backend.ts'
import { HealthRecord } from './health.ts'
import { bodyOf, exchange, type Dispatcher, type ExchangeTimeouts } from './http.ts'

export interface OpenAIBackendOptions {
  /** Gives the connections to an origin, or refuses; Egress.dial. */
  readonly dial: (origin: string, boundary: Locality) => Dispatcher
  readonly apiKey: string | null
}

/** Set by the gateway or by HTTP itself. */
const RESERVED_HEADERS = new Set(['connection', 'content-length', 'content-type', 'host', 'keep-alive', 'transfer-encoding', 'upgrade', 'accept-encoding', 'expect'])

/** @throws Error when the configuration has a header that is not the operator's to set */
export function createOpenAIBackend (config: OpenAIBackendConfig, options: OpenAIBackendOptions): Backend {
  return new OpenAIBackend(config, options)
}

class OpenAIBackend implements Backend {
  readonly name: string
  readonly locality: Locality
  readonly #dial: OpenAIBackendOptions['dial']
  readonly #origin: string
  readonly #path: string
  /** Names and values by turns. */
  readonly #headers: readonly string[]
  readonly #timeouts: ExchangeTimeouts
  readonly #secrets: readonly string[]
  readonly #connections: number
  readonly #attempts = new Attempts()
  readonly #health = new HealthRecord()
  #isClosing = false

  constructor (config: OpenAIBackendConfig, { dial, apiKey }: OpenAIBackendOptions) {
    const url = new URL(config.baseUrl)
    this.name = config.name
    this.locality = config.locality
    this.#dial = dial
    this.#origin = url.origin
    this.#path = `${url.pathname.replace(/\/+$/, '')}/chat/completions${url.search}`
    this.#headers = Object.entries(headersOf(config, apiKey)).flat()
    this.#timeouts = config.timeouts
    this.#secrets = apiKey === null ? [] : [apiKey]
    this.#connections = config.connections
  }

  availability (model: string): Availability {
    const busy = this.#attempts.size
    const freeSlots = Math.max(0, this.#connections - busy)
    return {
      state: this.#isClosing || this.#health.isDown(model, performance.now()) ? 'down' : freeSlots === 0 ? 'saturated' : 'ready',
      queued: Math.max(0, busy - this.#connections),
      freeSlots,
      contextTokens: null
    }
  }

  async chat (request: ChatRequest, { signal, boundary, callId }: ChatOptions): Promise<Answer> {
    if (this.#isClosing) throw new GatewayError('draining', `${this.name} is shutting down and takes no calls.`)
    // As many may wait as may run: beyond that the next target is the better answer.
    if (this.#attempts.size >= 2 * this.#connections) {
      throw new GatewayError('backend_overloaded', `${this.name} has ${this.#connections} calls running and as many waiting.`)
    }
    const dispatcher = this.#dial(this.#origin, boundary)
    try {
      const answer = await exchange(dispatcher, {
        origin: this.#origin,
        path: this.#path,
        headers: [...this.#headers, 'x-client-request-id', callId],
        body: bodyOf(request)
      }, {
        name: this.name,
        timeouts: this.#timeouts,
        signal,
        stream: request.stream === true,
        secrets: this.#secrets,
        choices: request.n ?? 1,
        attempts: this.#attempts
      })
      this.#health.answered(request.model)
      return answer
    } catch (error) {
      const failure = toGatewayError(error)
      if (!signal.aborted) this.#health.failed(request.model, failure, performance.now())
      throw failure
    }
  }

  async close (signal?: AbortSignal): Promise<void> {
    this.#isClosing = true
    await this.#attempts.drain(new GatewayError('draining', `${this.name} was shut down before the answer was complete.`), signal)
  }
}

function headersOf (config: OpenAIBackendConfig, apiKey: string | null): Record<string, string> {
  const headers: Record<string, string> = { 'user-agent': 'torchgate' }
  for (const [key, value] of Object.entries(config.headers)) {
    const name = key.toLowerCase()
    if (RESERVED_HEADERS.has(name)) throw new Error(`Backend ${config.name}: headers.${key}: set by the gateway itself, leave it out.`)
    headers[name] = value
  }
  headers['content-type'] = 'application/json'
  headers['accept-encoding'] = 'identity'
  if (apiKey !== null) headers['authorization'] = `Bearer ${apiKey}`
  return headers
}
