/** What every backend behind a URL has in common: connections, health, and one attempt at a time through them. */
import type { Locality, OpenAIBackendConfig } from '../config/schema.ts'
import { GatewayError, toGatewayError } from '../errors.ts'
import type { Answer } from '../wire/answer.ts'
import type { Opened } from '../wire/upload.ts'
import { Attempts } from './attempts.ts'
import type { Availability, ChatOptions } from './backend.ts'
import { HealthRecord } from './health.ts'
import { exchange, type Dispatcher, type Translation } from './http.ts'
import type { Route } from './routes.ts'

export interface UpstreamOptions {
  /** Gives the connections to an origin, or refuses; Egress.dial. */
  readonly dial: (origin: string, boundary: Locality) => Dispatcher
  readonly apiKey: string | null
}

/** What the configurations of such backends share. */
export type UpstreamConfig = Pick<OpenAIBackendConfig, 'name' | 'locality' | 'baseUrl' | 'headers' | 'connections' | 'timeouts'>

/** One attempt, in the words of the server. */
export interface Ask {
  /** Behind the path of the base URL. */
  readonly path: string
  /** The backend's own name of it. */
  readonly model: string
  readonly body: string
  /** Sent instead of `body`, which then holds what of it must not be quoted. */
  readonly upload?: Opened
  readonly stream: boolean
  readonly choices: number
  /** What the answer must be; a chat completion if left out. */
  readonly route?: Route
  readonly translation?: Translation
}

/** Says how many gateways like this one a call has come through, so that one that runs in a circle is found out. */
const HOPS = 'x-torchgate-hops'

/** Set by the gateway or by HTTP itself. */
const RESERVED_HEADERS = new Set(['connection', 'content-length', 'content-type', 'host', 'keep-alive', 'transfer-encoding', 'upgrade', 'accept-encoding', 'expect', HOPS])

export class Upstream {
  readonly name: string
  readonly locality: Locality
  readonly #dial: UpstreamOptions['dial']
  readonly #origin: string
  readonly #path: string
  readonly #query: string
  /** Names and values by turns; the number of hops comes first. */
  readonly #headers: readonly string[]
  readonly #timeouts: UpstreamConfig['timeouts']
  readonly #secrets: readonly string[]
  readonly #connections: number
  readonly #attempts = new Attempts()
  readonly #health = new HealthRecord()
  #isClosing = false

  /**
   * @param headers of the dialect, with the key; names in lower case
   * @throws Error when the configuration has a header that is not the operator's to set
   */
  constructor (config: UpstreamConfig, { dial, apiKey }: UpstreamOptions, headers: Readonly<Record<string, string>>) {
    const url = new URL(config.baseUrl)
    this.name = config.name
    this.locality = config.locality
    this.#dial = dial
    this.#origin = url.origin
    this.#path = url.pathname.replace(/\/+$/, '')
    this.#query = url.search
    this.#headers = Object.entries(headersOf(config, headers)).flat()
    this.#timeouts = config.timeouts
    this.#secrets = apiKey === null ? [] : [apiKey]
    this.#connections = config.connections
  }

  availability (model: string): Availability {
    const busy = this.#attempts.size
    const freeSlots = Math.max(0, this.#connections - busy)
    const now = performance.now()
    const rest = this.#health.rest(model, now)
    return {
      state: this.#isClosing || rest !== null ? 'down' : freeSlots === 0 ? 'saturated' : this.#health.isWeak(model, now) ? 'weak' : 'ready',
      queued: Math.max(0, busy - this.#connections),
      freeSlots,
      contextTokens: null,
      ...rest
    }
  }

  async ask ({ path, model, body, upload, stream, choices, route, translation }: Ask, { signal, boundary, callId, hops = 0 }: ChatOptions): Promise<Answer> {
    if (this.#isClosing) throw new GatewayError('draining', `${this.name} is shutting down and takes no calls.`)
    // As many may wait as may run: beyond that the next target is the better answer.
    if (this.#attempts.size >= 2 * this.#connections) {
      throw new GatewayError('backend_overloaded', `${this.name} has ${this.#connections} calls running and as many waiting.`)
    }
    const dispatcher = this.#dial(this.#origin, boundary)
    const startedAt = performance.now()
    this.#health.asked(model, startedAt)
    const failed = (failure: GatewayError) => { if (!signal.aborted) this.#health.failed(model, failure, performance.now()) }
    try {
      const answer = await exchange(dispatcher, {
        origin: this.#origin,
        path: this.#path + path + this.#query,
        headers: upload === undefined ? this.#headersFor(callId, hops) : withForm(this.#headersFor(callId, hops), upload),
        body,
        ...upload !== undefined && { upload: upload.bytes }
      }, {
        name: this.name,
        timeouts: this.#timeouts,
        signal,
        stream,
        secrets: this.#secrets,
        choices,
        attempts: this.#attempts,
        broken: failed,
        ...route !== undefined && { route },
        ...translation !== undefined && { translation }
      })
      const now = performance.now()
      this.#health.answered(model, now, stream ? now - startedAt : null)
      return answer
    } catch (error) {
      const failure = toGatewayError(error)
      failed(failure)
      throw failure
    }
  }

  #headersFor (callId: string, hops: number): string[] {
    const headers = [...this.#headers, 'x-client-request-id', callId]
    if (hops > 0) headers[1] = String(hops + 1)
    return headers
  }

  /** @param signal aborts when running calls are not waited for any longer */
  async close (signal?: AbortSignal): Promise<void> {
    this.#isClosing = true
    await this.#attempts.drain(new GatewayError('draining', `${this.name} was shut down before the answer was complete.`), signal)
  }
}

function withForm (headers: string[], { type, length }: Opened): string[] {
  headers[headers.indexOf('content-type') + 1] = type
  return length === null ? headers : [...headers, 'content-length', String(length)]
}

function headersOf (config: UpstreamConfig, ofDialect: Readonly<Record<string, string>>): Record<string, string> {
  const headers: Record<string, string> = { [HOPS]: '1', 'user-agent': 'torchgate' }
  for (const [key, value] of Object.entries(config.headers)) {
    const name = key.toLowerCase()
    if (RESERVED_HEADERS.has(name)) throw new Error(`Backend ${config.name}: headers.${key}: set by the gateway itself, leave it out.`)
    headers[name] = value
  }
  return { ...headers, 'content-type': 'application/json', 'accept-encoding': 'identity', ...ofDialect }
}
