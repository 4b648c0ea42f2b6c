/** Answers as OpenAI shapes them. Source: API reference, "Chat completions", read 2026-11-22. */
import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { GatewayError, type ErrorBody } from '../errors.ts'

export interface Usage { readonly promptTokens: number, readonly completionTokens: number, readonly cachedTokens: number }
export type FinishReason = 'stop' | 'length'

/** Where the text of one answer goes. */
export interface Outlet {
  /** The first token is there: from now on the answer succeeds or breaks off, but it cannot be refused any more. */
  begin (): void
  /** @throws GatewayError when the reader takes nothing any more */
  text (text: string): void
  finish (reason: FinishReason, usage: Usage): void
}

export interface Envelope { readonly model: string, readonly fingerprint: string }

/** Text kept for a reader that does not keep up, before it is given up. */
const MAX_UNSENT_CHARACTERS = 1024 * 1024

/** One JSON body at the end. */
export class BodyOutlet implements Outlet {
  readonly #response: ServerResponse
  readonly #envelope: Envelope
  #content = ''

  constructor (response: ServerResponse, envelope: Envelope) {
    this.#response = response
    this.#envelope = envelope
  }

  begin (): void { /* Nothing is sent before the end. */ }

  text (text: string): void { this.#content += text }

  finish (reason: FinishReason, usage: Usage): void {
    const message = { role: 'assistant', content: this.#content, refusal: null }
    sendJson(this.#response, 200, {
      ...head('chat.completion', this.#envelope),
      choices: [{ index: 0, message, logprobs: null, finish_reason: reason }],
      usage: usageOnTheWire(usage)
    })
  }
}

/** Server-sent events. While the reader does not keep up, text is gathered and goes out as one event later. */
export class StreamOutlet implements Outlet {
  readonly #response: ServerResponse
  readonly #head: Record<string, unknown>
  readonly #includeUsage: boolean
  #unsent = ''

  constructor (response: ServerResponse, envelope: Envelope, includeUsage: boolean) {
    this.#response = response
    this.#head = head('chat.completion.chunk', envelope)
    this.#includeUsage = includeUsage
  }

  begin (): void {
    if (this.#response.headersSent) return
    this.#response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
    this.#response.on('drain', () => { this.#send() })
    this.#choice({ role: 'assistant', content: '' }, null)
  }

  text (text: string): void {
    this.#unsent += text
    if (!this.#response.writableNeedDrain) this.#send()
    else if (this.#unsent.length > MAX_UNSENT_CHARACTERS) {
      throw new GatewayError('client_closed', `The reader left ${this.#unsent.length} characters unread.`)
    }
  }

  finish (reason: FinishReason, usage: Usage): void {
    this.begin()
    this.#send()
    this.#choice({}, reason)
    if (this.#includeUsage) this.#event({ choices: [], usage: usageOnTheWire(usage) })
    this.#response.end('data: [DONE]\n\n')
  }

  #send (): void {
    if (this.#unsent === '' || this.#response.writableEnded) return
    const content = this.#unsent
    this.#unsent = ''
    this.#choice({ content }, null)
  }

  #choice (delta: Record<string, string>, reason: FinishReason | null): void {
    this.#event({ choices: [{ index: 0, delta, logprobs: null, finish_reason: reason }], ...this.#includeUsage && { usage: null } })
  }

  #event (rest: Record<string, unknown>): void {
    this.#response.write(`data: ${JSON.stringify({ ...this.#head, ...rest })}\n\n`)
  }
}

/**
 * Ends a response with an error: as a status and a body while nothing was sent, as an event after that. The event is
 * the last; without `[DONE]` no client can take the answer for whole.
 */
export function sendError (response: ServerResponse, error: GatewayError): void {
  if (response.destroyed) return
  if (response.headersSent) {
    response.end(`data: ${JSON.stringify(error.toBody())}\n\n`)
    return
  }
  if (error.retryAfterS !== null) response.setHeader('retry-after', String(Math.ceil(error.retryAfterS)))
  sendJson(response, error.status, error.toBody())
}

export function sendJson (response: ServerResponse, status: number, body: ErrorBody | Record<string, unknown> | readonly unknown[]): void {
  const bytes = Buffer.from(JSON.stringify(body))
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'content-length': bytes.length }).end(bytes)
}

function head (object: string, { model, fingerprint }: Envelope): Record<string, unknown> {
  const id = `chatcmpl-${randomBytes(12).toString('hex')}`
  return { id, object, created: Math.floor(Date.now() / 1000), model, system_fingerprint: fingerprint }
}

function usageOnTheWire ({ promptTokens, completionTokens, cachedTokens }: Usage): Record<string, unknown> {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
    completion_tokens_details: { reasoning_tokens: 0 }
  }
}
