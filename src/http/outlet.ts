import type { ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { Call } from '../pipeline/call.ts'
import type { GatewayError } from '../errors.ts'
import { rateLimitHeaders } from '../limits/headers.ts'
import { decisionHeaders } from './decision.ts'
import type { CallerOutlet } from './dialect.ts'
import { withWarnings } from './warnings.ts'

/** A line that every reader of server-sent events skips. */
const COMMENT = ': waiting\n\n'

const EVENTS = 'text/event-stream; charset=utf-8'

/** The answer of one call as HTTP. Written straight to the socket: the bytes are the backend's own. */
export class HttpOutlet implements CallerOutlet {
  readonly #response: ServerResponse
  readonly #call: Call
  readonly #signal: AbortSignal
  readonly #dialectHeaders: (callId: string) => Readonly<Record<string, string>>
  #isEvents = true

  /**
   * @param signal aborts when the caller has left, or was cut off because it takes nothing (listener/listener.ts)
   * @param headers those of the caller's dialect
   */
  constructor (response: ServerResponse, call: Call, signal: AbortSignal, headers: (callId: string) => Readonly<Record<string, string>>) {
    this.#response = response
    this.#call = call
    this.#signal = signal
    this.#dialectHeaders = headers
  }

  get begun (): boolean { return this.#response.headersSent }

  /** Of its connection; null while nothing can be written: it is over, or behind another answer, or its caller does not read. */
  get bytesWritten (): number | null {
    const { socket, destroyed, writableEnded, writableLength } = this.#response
    return socket === null || destroyed || writableEnded || writableLength > 0 ? null : socket.bytesWritten
  }

  body (bytes: Buffer): void {
    this.#response.writeHead(200, this.#headers({ 'content-type': 'application/json; charset=utf-8', 'content-length': String(bytes.length) }))
    this.#response.end(bytes)
  }

  begin (type = EVENTS): void {
    // A sign of life has gone before.
    if (this.begun) return
    this.#isEvents = type.startsWith('text/event-stream')
    this.#response.writeHead(200, this.#headers({ 'content-type': type, 'cache-control': 'no-cache' }))
  }

  frame (bytes: Buffer): Promise<void> | undefined {
    return this.#response.write(bytes) ? undefined : this.#drained()
  }

  /** Between two events, for a caller that has heard nothing for long. Commits to nothing but to a stream: any target may answer yet. */
  beat (sign = COMMENT): void {
    this.begin()
    this.#response.write(sign)
  }

  end (): void {
    this.#response.end()
  }

  /** The status is spent, so the failure goes into the stream, where the SDKs raise it; there is no [DONE] after it. */
  fail (error: GatewayError): void {
    // No words fit into sound; that its end is missing is what a caller can notice.
    if (!this.#isEvents) this.#response.destroy()
    else this.endWith(`data: ${JSON.stringify(error.toBody())}\n\n`)
  }

  /** The last words of a stream that broke off. */
  endWith (events: string): void {
    if (this.#response.destroyed || this.#response.writableEnded) return
    this.#response.end(events)
  }

  #headers (own: Record<string, string>): Record<string, string> {
    const { id, lease, elapsedMs } = this.#call
    const headers = { 'x-request-id': id, 'openai-processing-ms': String(Math.round(elapsedMs)) }
    Object.assign(headers, own, this.#dialectHeaders(id), decisionHeaders(this.#call), lease === null ? null : rateLimitHeaders(lease))
    const { warnings, leftOut } = this.#call
    return warnings === null && leftOut === null ? headers : withWarnings(headers, [...warnings ?? [], ...leftOut ?? []])
  }

  async #drained (): Promise<void> {
    try {
      await once(this.#response, 'drain', { signal: this.#signal })
    } catch (error) {
      // Whoever reads the answer notices the same signal.
      if (!this.#signal.aborted) throw error
    }
  }
}
