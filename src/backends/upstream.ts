/** What every backend behind a URL has in common: connections, health, and one attempt at a time through them. */
import type { Locality, OpenAIBackendConfig } from '../config/schema.ts'
import { GatewayError, toGatewayError } from '../errors.ts'
import type { Answer } from '../wire/answer.ts'
import type { Opened } from '../wire/upload.ts'
import { Attempts } from './attempts.ts'
import type { Availability, ChatOptions } from './backend.ts'
import { HealthRecord } from './health.ts'
import { exchange, type Dispatcher, type Translation } from './http.ts'
import { isAboutKey, Keys, type ApiKey, type Key, type KeyState } from './keys.ts'
import type { Route } from './routes.ts'

export interface UpstreamOptions {
  /** Gives the connections to an origin, or refuses; Egress.dial. */
  readonly dial: (origin: string, boundary: Locality) => Dispatcher
  readonly apiKey: string | null
  /** Several keys, instead of `apiKey`. */
  readonly apiKeys?: readonly ApiKey[]
  /** Told of one of several keys that is left alone from now on. */
  readonly resting?: (state: KeyState) => void
}

/** How a dialect sends the key: the header that holds it, and what stands before it there. */
export interface Credential { readonly header: string, readonly scheme?: string }

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
  /** Names and values by turns; the number of hops comes first. Without the key, where there are several. */
  readonly #headers: readonly string[]
  readonly #credential: Credential
  readonly #keys: Keys | null
  readonly #resting: UpstreamOptions['resting']
  readonly #timeouts: UpstreamConfig['timeouts']
  readonly #secrets: readonly string[]
  readonly #connections: number
  readonly #attempts = new Attempts()
  readonly #health = new HealthRecord()
  #isClosing = false

  /**
   * @param headers of the dialect, without the key; names in lower case
   * @throws Error when the configuration has a header that is not the operator's to set
   */
  constructor (config: UpstreamConfig, options: UpstreamOptions, credential: Credential, headers: Readonly<Record<string, string>> = {}) {
    const { dial, apiKey, apiKeys, resting } = options
    const url = new URL(config.baseUrl)
    this.name = config.name
    this.locality = config.locality
    this.#dial = dial
    this.#origin = url.origin
    this.#path = url.pathname.replace(/\/+$/, '')
    this.#query = url.search
    this.#headers = [...Object.entries(headersOf(config, credential, headers)).flat(), ...apiKey === null ? [] : sent(credential, apiKey)]
    this.#credential = credential
    this.#keys = apiKeys === undefined ? null : new Keys(apiKeys)
    this.#resting = resting
    this.#timeouts = config.timeouts
    this.#secrets = apiKeys?.map(({ secret }) => secret) ?? (apiKey === null ? [] : [apiKey])
    this.#connections = config.connections
  }

  availability (model: string): Availability {
    const busy = this.#attempts.size
    const freeSlots = Math.max(0, this.#connections - busy)
    const now = performance.now()
    const rest = this.#health.rest(model, now) ?? this.#keys?.rest(model, now) ?? null
    return {
      state: this.#isClosing || rest !== null ? 'down' : freeSlots === 0 ? 'saturated' : this.#health.isWeak(model, now) ? 'weak' : 'ready',
      queued: Math.max(0, busy - this.#connections),
      freeSlots,
      contextTokens: null,
      ...rest
    }
  }

  /** Of several keys. Empty where there is one, or none. */
  keys (model: string): KeyState[] { return this.#keys?.states(model, performance.now()) ?? [] }

  ask (ask: Ask, options: ChatOptions): Promise<Answer> {
    return this.#keys === null ? this.#exchange(ask, options, null) : this.#withKeys(this.#keys, ask, options)
  }

  /** Each key is tried once at most, and only where the one before it was at fault. */
  async #withKeys (keys: Keys, ask: Ask, options: ChatOptions): Promise<Answer> {
    const tried = new Set<Key>()
    let last: GatewayError | null = null
    for (;;) {
      const key = keys.take(ask.model, performance.now(), tried)
      if (key === null) throw last ?? this.#allRest(keys, ask.model)
      tried.add(key)
      try {
        return { ...await this.#exchange(ask, options, key), key: key.name }
      } catch (error) {
        last = toGatewayError(error)
        // An upload is read once.
        if (!isAboutKey(last) || ask.upload !== undefined || options.signal.aborted) throw last
      }
    }
  }

  #allRest (keys: Keys, model: string): GatewayError {
    const { reason, retryAfterS = 1 } = keys.rest(model, performance.now()) ?? {}
    const message = `${this.name}: all of its keys rest; the first is asked again in ${retryAfterS} s.`
    return new GatewayError(reason === 'key_refused' ? 'backend_auth_failed' : 'backend_rate_limited', message, { retryAfterS })
  }

  #failed (model: string, failure: GatewayError, key: Key | null): void {
    const now = performance.now()
    if (key === null || this.#keys?.failed(key, model, failure, now) !== true) { this.#health.failed(model, failure, now); return }
    const rest = key.health.rest(model, now)
    if (rest !== null) this.#resting?.({ name: key.name, state: 'down', ...rest })
  }

  async #exchange (ask: Ask, options: ChatOptions, key: Key | null): Promise<Answer> {
    const { path, model, body, upload, stream, choices, route, translation } = ask
    const { signal, boundary, callId, hops = 0 } = options
    if (this.#isClosing) throw new GatewayError('draining', `${this.name} is shutting down and takes no calls.`)
    // As many may wait as may run: beyond that the next target is the better answer.
    if (this.#attempts.size >= 2 * this.#connections) {
      throw new GatewayError('backend_overloaded', `${this.name} has ${this.#connections} calls running and as many waiting.`)
    }
    const dispatcher = this.#dial(this.#origin, boundary)
    const startedAt = performance.now()
    this.#health.asked(model, startedAt)
    const failed = (failure: GatewayError) => { if (!signal.aborted) this.#failed(model, failure, key) }
    const headers = this.#headersFor(callId, hops, key)
    try {
      const answer = await exchange(dispatcher, {
        origin: this.#origin,
        path: this.#path + path + this.#query,
        headers: upload === undefined ? headers : withForm(headers, upload),
        body,
        ...upload !== undefined && { upload: upload.bytes }
      }, {
        name: key === null ? this.name : `${this.name} (key ${key.name})`,
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
      if (key !== null) this.#keys?.answered(key, model, now)
      return answer
    } catch (error) {
      const failure = toGatewayError(error)
      failed(failure)
      throw failure
    }
  }

  #headersFor (callId: string, hops: number, key: Key | null): string[] {
    const headers = [...this.#headers, 'x-client-request-id', callId]
    if (key !== null) headers.push(...sent(this.#credential, key.secret))
    if (hops > 0) headers[1] = String(hops + 1)
    return headers
  }

  /** @param signal aborts when running calls are not waited for any longer */
  async close (signal?: AbortSignal): Promise<void> {
    this.#isClosing = true
    await this.#attempts.drain(new GatewayError('draining', `${this.name} was shut down before the answer was complete.`), signal)
  }
}

function sent ({ header, scheme }: Credential, secret: string): [string, string] {
  return [header, scheme === undefined ? secret : `${scheme} ${secret}`]
}

function withForm (headers: string[], { type, length }: Opened): string[] {
  headers[headers.indexOf('content-type') + 1] = type
  return length === null ? headers : [...headers, 'content-length', String(length)]
}

function headersOf (config: UpstreamConfig, credential: Credential, ofDialect: Readonly<Record<string, string>>): Record<string, string> {
  const headers: Record<string, string> = { [HOPS]: '1', 'user-agent': 'torchgate' }
  for (const [key, value] of Object.entries(config.headers)) {
    const name = key.toLowerCase()
    if (RESERVED_HEADERS.has(name) || name === credential.header) throw new Error(`Backend ${config.name}: headers.${key}: set by the gateway itself, leave it out.`)
    headers[name] = value
  }
  return { ...headers, 'content-type': 'application/json', 'accept-encoding': 'identity', ...ofDialect }
}
