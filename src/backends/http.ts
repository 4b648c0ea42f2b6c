/** One attempt over HTTP: an answer asked of one server, as bytes. Shared by the local pool and by providers. */
import type { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { GatewayError } from '../errors.ts'
import type { Answer } from '../wire/answer.ts'
import { wireErrorOf, type WireError } from '../wire/observe.ts'
import { EventCutter, type Cutter } from '../wire/sse.ts'
import type { Attempts, Running } from './attempts.ts'
import { Collected, MAX_BODY_BYTES, MAX_REFUSAL_BYTES } from './collected.ts'
import { broken, refused, reported, reportedInStream, type Asked } from './failure.ts'
import { Frames, type FrameSource } from './frames.ts'
import { Passage } from './passage.ts'
import { CHAT, type Route } from './routes.ts'

export type { Dispatcher } from 'undici'

/** After `[DONE]` the connection can be used again if the response ends this soon. */
const END_GRACE_MS = 1_000

export interface ExchangeRequest {
  readonly origin: string
  readonly path: string
  /** Names and values by turns. */
  readonly headers: string[]
  readonly body: string
  /** Sent instead of `body`, which then holds what of it must not be quoted. */
  readonly upload?: Readable
}

export interface ExchangeOptions {
  /** Name of the backend, for messages. */
  readonly name: string
  readonly timeouts: ExchangeTimeouts
  readonly signal: AbortSignal
  readonly stream: boolean
  /** What is asked for: a chat completion if left out. */
  readonly route?: Route
  /** Never repeated in a message: the API key. */
  readonly secrets?: readonly string[]
  /** `n` of the request, 1 if left out. */
  readonly choices?: number
  /** Holds the attempt for as long as it has, or waits for, a connection. */
  readonly attempts?: Attempts
  /** Told, once, of an answer that broke off after its first content. */
  readonly broken?: (error: GatewayError) => void
  /** For a server that speaks another dialect. */
  readonly translation?: Translation
}

/** From the answers of another dialect to canonical ones. Errors are read in every dialect, and are left as they are. */
export interface Translation {
  /** For one stream. */
  cutter (): Cutter
  /** What is no answer in that dialect becomes null. */
  whole (value: unknown): unknown
}

/** All in milliseconds from the start of the attempt, but for `idleMs`. */
export interface ExchangeTimeouts {
  /** What the dispatcher was told; here only for messages. */
  readonly connectMs?: number
  /** To the first content of a stream. */
  readonly firstTokenMs: number
  /** To the first byte of an answer that is not streamed: most servers send none before all of it is made. */
  readonly answerMs: number
  /** Longest silence after that. A pause of the reader is not silence. */
  readonly idleMs: number
  readonly totalMs: number
}

/** What the requests of all kinds have. */
export interface Asking {
  readonly model: string
  readonly stream?: boolean | null | undefined
  readonly stream_options?: object | null | undefined
  readonly n?: number | null | undefined
}

/** Usage is always asked for, because the ledger needs it; the pipeline takes the event out again where the caller did not. */
export function bodyOf (request: Asking): string {
  if (request.stream !== true) return JSON.stringify(request)
  return JSON.stringify({ ...request, stream_options: { ...request.stream_options, include_usage: true } })
}

/**
 * Sends the request and resolves at the first content, or with the whole body. Never follows redirects, never retries.
 * @throws GatewayError before the first content; later the frames throw it
 */
export function exchange (dispatcher: Dispatcher, request: ExchangeRequest, options: ExchangeOptions): Promise<Answer> {
  return new Promise((resolve, reject) => { new Exchange(request, options, resolve, reject).start(dispatcher) })
}

class Exchange implements Dispatcher.DispatchHandler, FrameSource, Running {
  readonly name: string
  readonly choices: number
  place = -1
  readonly #request: ExchangeRequest
  readonly #options: ExchangeOptions
  readonly #resolve: (answer: Answer) => void
  readonly #reject: (error: GatewayError) => void
  readonly #startedAt = performance.now()
  #heardAt = this.#startedAt
  #hasBegun = false
  #controller: Dispatcher.DispatchController | null = null
  #frames: Frames | Passage | null = null
  /** Media type of an answer that passes as it is. */
  #type: string | null = null
  #collected: Collected | null = null
  #timer: NodeJS.Timeout | undefined
  #isAnswered = false
  #isComplete = false
  #isBroken = false
  /** Set when the connection is not ours any more: the reason, or null when the response ended well. */
  #over: { readonly reason: GatewayError | null } | null = null

  constructor (request: ExchangeRequest, options: ExchangeOptions, resolve: (answer: Answer) => void, reject: (error: GatewayError) => void) {
    this.name = options.name
    this.choices = options.choices ?? 1
    this.#request = request
    this.#options = options
    this.#resolve = resolve
    this.#reject = reject
  }

  start (dispatcher: Dispatcher): void {
    const { signal, timeouts, attempts } = this.#options
    if (signal.aborted) { this.#reject(cancelled(signal)); return }
    signal.addEventListener('abort', this.#onAbort, { once: true })
    attempts?.add(this)
    const { origin, path, headers, body, upload } = this.#request
    this.#timer = setTimeout(this.#onTimer, Math.min(this.#firstMs, timeouts.idleMs, timeouts.totalMs))
    try {
      // The parser's own timeouts are off: they are coarse, and cannot tell content from a role.
      dispatcher.dispatch({ origin, path, method: 'POST', headers, body: upload ?? body, headersTimeout: 0, bodyTimeout: 0 }, this)
    } catch (error) {
      this.onResponseError(null, error)
    }
  }

  // What undici calls.

  onRequestStart (controller: Dispatcher.DispatchController): void {
    // Given up while it waited for a connection. Throwing leaves that connection to the next request; abort() would close it.
    if (this.#over !== null) throw this.#over.reason ?? new Error('over')
    this.#controller = controller
  }

  onResponseStart (_controller: Dispatcher.DispatchController, status: number, headers: Record<string, string | string[] | undefined>): void {
    if (status < 200) return
    this.#hasBegun = true
    if (status !== 200) {
      this.#collected = new Collected(MAX_REFUSAL_BYTES, body => { this.refuse(refused(this.#asked, { status, headers, body })) })
      return
    }
    const encoding = text(headers['content-encoding'])
    const type = text(headers['content-type'])
    const isEvents = /^text\/event-stream\b/i.test(type)
    if (encoding !== '' && encoding !== 'identity') this.#refuseAnswer(`compressed its answer (${encoding.slice(0, 20)}), which nobody asked for`)
    else if (this.#options.route?.passes?.(type) === true) this.#pass(type, isEvents)
    else if (this.#options.stream && isEvents) this.#frames = new Frames(this, this.#options.translation?.cutter() ?? new EventCutter(this.name))
    else if (this.#options.stream) this.#collected = new Collected(MAX_REFUSAL_BYTES, body => { this.#notAStream(body, type) })
    else if (isEvents) this.#refuseAnswer('answered with a stream, which nobody asked for')
    else this.#collected = new Collected(MAX_BODY_BYTES, (body, isWhole) => { this.#whole(body, isWhole, type) })
  }

  onResponseData (_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#over !== null) return
    if (this.#frames !== null) { this.#frames.push(chunk); return }
    this.heard()
    this.#collected?.push(chunk)
  }

  onResponseEnd (): void {
    if (this.#over !== null) return
    this.#release(null)
    this.#frames?.end()
    this.#collected?.end()
  }

  onResponseError (_controller: Dispatcher.DispatchController | null, error: unknown): void {
    if (this.#over !== null) return
    const failure = broken(this.name, error, { began: this.#hasBegun, connectMs: this.#options.timeouts.connectMs })
    this.#release(failure)
    if (this.#frames !== null) this.#frames.fail(failure)
    else if (this.#collected?.isRefusal === true) this.#collected.end()
    else this.#reject(failure)
  }

  // What the frames call.

  pause (): void { this.#controller?.pause() }
  resume (): void { this.#controller?.resume() }
  heard (): void { this.#heardAt = performance.now() }
  explain (error: WireError, isCommitted: boolean): GatewayError { return (isCommitted ? reportedInStream : reported)(this.#asked, error) }

  commit (): void {
    this.#isAnswered = true
    if (this.#frames !== null) this.#resolve({ kind: 'stream', frames: this.#frames, ...this.#type !== null && { type: this.#type } })
  }

  refuse (error: GatewayError): void {
    this.#reject(error)
    this.cut(error)
  }

  complete (): void {
    this.#isComplete = true
    if (this.#over !== null) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => { this.cut(new GatewayError('backend_invalid_answer', `${this.name} did not end its response.`)) }, END_GRACE_MS)
  }

  cut (error: GatewayError): void {
    this.#tellBroken(error)
    if (this.#over !== null || (this.#isComplete && error.code === 'client_closed')) return
    this.#release(error)
    this.#controller?.abort(error)
  }

  #tellBroken (error: GatewayError): void {
    if (!this.#isAnswered || this.#isComplete || this.#isBroken || error.code === 'client_closed') return
    this.#isBroken = true
    this.#options.broken?.(error)
  }

  /** Ends the attempt at once, wherever it is. */
  abort (error: GatewayError): void {
    if (this.#over !== null) return
    this.cut(error)
    this.#frames?.abort(error)
    if (!this.#isAnswered) this.#reject(error)
  }

  get #asked (): Asked {
    return { name: this.name, secrets: this.#options.secrets ?? [], body: this.#request.body }
  }

  readonly #onAbort = (): void => { this.abort(cancelled(this.#options.signal)) }

  /** One timer per attempt. It looks at the clock when it fires and sets itself again; no chunk ever touches it. */
  readonly #onTimer = (): void => {
    const { idleMs, totalMs } = this.#options.timeouts
    const now = performance.now()
    const isWaiting = this.#frames === null || this.#frames.isDry
    const total = this.#startedAt + totalMs
    const next = !this.#hasContent ? this.#startedAt + this.#firstMs : isWaiting ? this.#heardAt + idleMs : now + idleMs
    if (now >= total - 1) this.abort(this.#late(`did not finish its answer within ${totalMs} ms`))
    else if (now >= next - 1) this.abort(this.#late(this.#lateFor()))
    else this.#timer = setTimeout(this.#onTimer, Math.max(1, Math.min(next - now, total - now, idleMs)))
  }

  get #firstMs (): number {
    const { firstTokenMs, answerMs } = this.#options.timeouts
    return this.#options.stream ? firstTokenMs : answerMs
  }

  get #hasContent (): boolean {
    return this.#isAnswered || (this.#collected !== null && this.#collected.length > 0)
  }

  #lateFor (): string {
    if (this.#hasContent) return `was silent for ${this.#options.timeouts.idleMs} ms in the middle of its answer`
    return this.#hasBegun ? `sent no content within ${this.#firstMs} ms` : `did not answer within ${this.#firstMs} ms`
  }

  #late (what: string): GatewayError {
    return new GatewayError('backend_timeout', `${this.name} ${what}.`)
  }

  #pass (type: string, isEvents: boolean): void {
    this.#type = type
    this.#frames = new Passage(this, isEvents)
  }

  #release (reason: GatewayError | null): void {
    this.#over = { reason }
    clearTimeout(this.#timer)
    this.#options.signal.removeEventListener('abort', this.#onAbort)
    this.#options.attempts?.delete(this)
  }

  #refuseAnswer (what: string): void {
    this.refuse(new GatewayError('backend_invalid_answer', `${this.name} ${what}.`))
  }

  #notAStream (body: Buffer, type: string): void {
    const error = wireErrorOf(parse(body))
    if (error !== null) this.refuse(reported(this.#asked, error))
    else this.#refuseAnswer(`was asked for a stream and answered with ${named(type)}`)
  }

  #whole (bytes: Buffer, isWhole: boolean, type: string): void {
    if (!isWhole) { this.#refuseAnswer(`answered with more than ${MAX_BODY_BYTES} bytes`); return }
    const { route = CHAT } = this.#options
    const value = parse(bytes)
    const error = wireErrorOf(value)
    if (error !== null) this.refuse(reported(this.#asked, error))
    else if (this.#options.translation !== undefined) this.#translated(this.#options.translation.whole(value), route, type)
    else if (route.isAnswer(value)) this.#resolve({ kind: 'body', bytes, value })
    else this.#refuseAnswer(`answered with ${named(type)} that is no ${route.answer}`)
  }

  #translated (value: unknown, route: Route, type: string): void {
    if (route.isAnswer(value)) this.#resolve({ kind: 'body', bytes: Buffer.from(JSON.stringify(value)), value })
    else this.#refuseAnswer(`answered with ${named(type)} that is no ${route.answer}`)
  }
}

function parse (bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return null
  }
}

function text (header: string | string[] | undefined): string {
  return (Array.isArray(header) ? header.join(', ') : header ?? '').trim().toLowerCase()
}

function named (type: string): string {
  return type === '' ? 'something' : type.slice(0, 60)
}

function cancelled (signal: AbortSignal): GatewayError {
  if (signal.reason instanceof GatewayError) return signal.reason
  return new GatewayError('client_closed', 'The caller left before the answer was complete.', { cause: signal.reason })
}
