import type { ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { Head, Outlet } from '../pipeline/chat.ts'
import type { GatewayError } from '../errors.ts'
import { rateLimitHeaders } from '../limits/headers.ts'

/** The answer of one call as HTTP. Written straight to the socket: the bytes are the backend's own. */
export class HttpOutlet implements Outlet {
  readonly #response: ServerResponse
  readonly #headers: Record<string, string | number>
  readonly #signal: AbortSignal
  #kind: Head['kind'] = 'body'

  /** @param signal aborts when the caller has left, or was cut off because it takes nothing (listener/listener.ts) */
  constructor (response: ServerResponse, requestId: string, signal: AbortSignal) {
    this.#response = response
    this.#signal = signal
    this.#headers = { 'x-request-id': requestId }
  }

  get begun (): boolean { return this.#response.headersSent }

  begin (head: Head): void {
    this.#kind = head.kind
    const headers = this.#headers
    headers['x-torchgate-target'] = headerValue(head.target.target, head.target.label)
    headers['x-torchgate-why'] = head.why
    headers['x-torchgate-attempts'] = head.attempts
    if (head.lease !== null) Object.assign(headers, rateLimitHeaders(head.lease))
    if (head.kind === 'stream') {
      headers['content-type'] = 'text/event-stream; charset=utf-8'
      headers['cache-control'] = 'no-cache'
      this.#response.writeHead(200, headers)
    } else {
      headers['content-type'] = 'application/json; charset=utf-8'
    }
  }

  body (bytes: Buffer): void {
    this.#headers['content-length'] = bytes.length
    this.#response.writeHead(200, this.#headers)
    this.#response.end(bytes)
  }

  frame (bytes: Buffer): Promise<void> | undefined {
    return this.#response.write(bytes) ? undefined : this.#drained()
  }

  end (): void {
    if (this.#kind === 'stream') this.#response.end()
  }

  /** The status is spent, so the failure goes into the stream, where the SDKs raise it; there is no [DONE] after it. */
  fail (error: GatewayError): void {
    if (this.#response.destroyed || this.#response.writableEnded) return
    this.#response.end(`data: ${JSON.stringify(error.toBody())}\n\n`)
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

/** A wildcard target carries the caller's own text; only plain ASCII becomes a header. */
function headerValue (target: string, label: string): string {
  return /^[\x21-\x7e]{1,256}$/.test(target) ? target : label
}
