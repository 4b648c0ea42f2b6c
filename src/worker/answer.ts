/** Answers as OpenAI shapes them. Source: API reference, "Chat completions", read 2026-11-22. */
import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { GatewayError, type ErrorBody } from '../errors.ts'
import type { TokenLogprob } from './logprobs.ts'
import { Marks, type Earlier } from './marks.ts'
import type { ToolCall } from './tools/calls.ts'

export interface Usage { readonly promptTokens: number, readonly completionTokens: number, readonly cachedTokens: number, readonly reasoningTokens: number }
export type FinishReason = 'stop' | 'length' | 'tool_calls'

/** Where one answer goes: its choices, and at the end what it took. */
export interface Outlet {
  /** The first token is there: from now on the answer succeeds or breaks off, but it cannot be refused any more. */
  begin (): void
  choice (index: number): ChoiceOutlet
  /** What was said up to here was said before, by the stream that this one goes on with; from now on it is new. */
  goOn (): void
  /** All that the choice says because of this token has been said. */
  took (index: number, token: number): void
  /** The choice has ended, and has said so. */
  over (index: number): void
  /** After the end of every choice. */
  finish (usage: Usage): void
}

/** Where the words and calls of one choice go, in order. */
export interface ChoiceOutlet {
  /**
   * @param logprobs of its tokens, if they are wanted
   * @throws GatewayError when the reader takes nothing any more; the others likewise
   */
  content (text: string, logprobs: readonly TokenLogprob[]): void
  /** What the model thinks before it speaks. */
  reasoning (text: string): void
  call (call: ToolCall): void
  /** @param stop the stop string that ended it, which chat completions have no word for; vLLM's is taken: `stop_reason` */
  finish (reason: FinishReason, stop?: string | null): void
}

export interface Envelope { readonly model: string, readonly fingerprint: string, readonly hasLogprobs: boolean }

export interface StreamOptions {
  /** Says between the events which tokens they came from, so that the answer can go on elsewhere (marks.ts). */
  readonly isMarked?: boolean
  /** The stream that this one goes on with: it is silent until `goOn`. */
  readonly earlier?: Pick<Earlier, 'id' | 'created'> | null
}

/** Text kept for a reader that does not keep up, before it is given up. */
const MAX_UNSENT_CHARACTERS = 1024 * 1024
/** About what one likelihood takes as JSON. */
const LIKELIHOOD_CHARACTERS = 64

/** One JSON body at the end. */
export class BodyOutlet implements Outlet {
  readonly #response: ServerResponse
  readonly #envelope: Envelope
  readonly #choices: BodyChoice[] = []

  constructor (response: ServerResponse, envelope: Envelope) {
    this.#response = response
    this.#envelope = envelope
  }

  begin (): void { /* Nothing is sent before the end. */ }

  choice (index: number): ChoiceOutlet { return this.#choices[index] ??= new BodyChoice(this.#envelope.hasLogprobs) }
  goOn (): void { /* Nobody can go on with a body. */ }
  took (): void { /* Likewise. */ }
  over (): void { /* Likewise. */ }

  finish (usage: Usage): void {
    sendJson(this.#response, 200, {
      ...head('chat.completion', this.#envelope),
      choices: this.#choices.map((choice, index) => ({ index, ...choice.onTheWire() })),
      usage: usageOnTheWire(usage)
    })
  }
}

class BodyChoice implements ChoiceOutlet {
  #content = ''
  #reasoning = ''
  readonly #calls: ToolCall[] = []
  readonly #logprobs: TokenLogprob[] | null
  #reason: FinishReason = 'stop'
  #stop: string | null = null

  constructor (hasLogprobs: boolean) { this.#logprobs = hasLogprobs ? [] : null }

  content (text: string, logprobs: readonly TokenLogprob[]): void {
    this.#content += text
    this.#logprobs?.push(...logprobs)
  }

  reasoning (text: string): void { this.#reasoning += text }
  call (call: ToolCall): void { this.#calls.push(call) }

  finish (reason: FinishReason, stop: string | null = null): void {
    this.#reason = reason
    this.#stop = stop
  }

  onTheWire (): Record<string, unknown> {
    const message = {
      role: 'assistant',
      content: this.#content === '' && this.#calls.length > 0 ? null : this.#content,
      refusal: null,
      ...this.#reasoning !== '' && { reasoning_content: this.#reasoning },
      ...this.#calls.length > 0 && { tool_calls: this.#calls.map(call => ({ ...callHead(), function: call })) }
    }
    return { message, logprobs: logprobsOnTheWire(this.#logprobs), finish_reason: this.#reason, ...this.#stop !== null && { stop_reason: this.#stop } }
  }
}

/** What is sent of a choice at a time. */
interface Piece {
  readonly index: number
  readonly delta: Readonly<Record<string, unknown>>
  readonly logprobs: readonly TokenLogprob[] | null
  readonly reason: FinishReason | null
  readonly stop?: string | null
}

/** Server-sent events. While the reader does not keep up, pieces are gathered and go out later, as fewer events. */
export class StreamOutlet implements Outlet {
  readonly #response: ServerResponse
  readonly #head: Record<string, unknown>
  readonly #hasLogprobs: boolean
  readonly #includeUsage: boolean
  readonly #marks: Marks | null
  readonly #choices: ChoiceOutlet[] = []
  /** What is said now was said before, by the stream that this one goes on with. */
  #isRepeating: boolean
  readonly #isContinuation: boolean
  #unsent: Piece[] = []
  #unsentCharacters = 0

  constructor (response: ServerResponse, envelope: Envelope, includeUsage: boolean, { isMarked = false, earlier = null }: StreamOptions = {}) {
    this.#response = response
    this.#head = { ...head('chat.completion.chunk', envelope), ...earlier !== null && { id: earlier.id, created: earlier.created } }
    this.#hasLogprobs = envelope.hasLogprobs
    this.#includeUsage = includeUsage
    this.#isContinuation = this.#isRepeating = earlier !== null
    this.#marks = isMarked ? new Marks(mark => { this.#response.write(mark) }) : null
  }

  goOn (): void { this.#isRepeating = false }

  choice (index: number): ChoiceOutlet {
    return this.#choices[index] ??= new StreamChoice(index, this.#hasLogprobs, (piece, characters) => { this.#push(piece, characters) })
  }

  begin (): void {
    if (this.#response.headersSent) return
    this.#response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
    this.#response.on('drain', () => {
      this.#send()
      this.#mark()
    })
    this.#marks?.begin(this.#head)
    if (this.#isContinuation) return
    for (const index of this.#choices.keys()) this.#write({ index, delta: { role: 'assistant', content: '' }, logprobs: null, reason: null })
  }

  took (index: number, token: number): void {
    if (!this.#isRepeating) this.#marks?.took(index, token)
    this.#mark()
  }

  over (index: number): void {
    this.#marks?.over(index)
    this.#mark()
  }

  finish (usage: Usage): void {
    this.begin()
    this.#send()
    if (this.#includeUsage) this.#event({ choices: [], usage: usageOnTheWire(usage) })
    this.#response.end('data: [DONE]\n\n')
  }

  /** Where all that was said is sent. */
  #mark (): void { if (this.#unsent.length === 0) this.#marks?.settle() }

  #push (piece: Piece, characters: number): void {
    if (this.#isRepeating) return
    this.begin()
    const last = this.#unsent.findLastIndex(({ index }) => index === piece.index)
    const merged = merge(this.#unsent[last], piece)
    if (merged === null) this.#unsent.push(piece)
    else this.#unsent[last] = merged
    this.#unsentCharacters += characters
    if (!this.#response.writableNeedDrain) this.#send()
    else if (this.#unsentCharacters > MAX_UNSENT_CHARACTERS) {
      throw new GatewayError('client_closed', `The reader left ${this.#unsentCharacters} characters unread.`)
    }
  }

  #send (): void {
    if (this.#response.writableEnded) return
    const unsent = this.#unsent
    this.#unsent = []
    this.#unsentCharacters = 0
    for (const piece of unsent) this.#write(piece)
  }

  #write ({ index, delta, logprobs, reason, stop = null }: Piece): void {
    this.#marks?.said(index)
    const choice = { index, delta, logprobs: logprobsOnTheWire(logprobs), finish_reason: reason, ...stop !== null && { stop_reason: stop } }
    this.#event({ choices: [choice], ...this.#includeUsage && { usage: null } })
  }

  #event (rest: Record<string, unknown>): void {
    this.#response.write(`data: ${JSON.stringify({ ...this.#head, ...rest })}\n\n`)
  }
}

/** Content after content of the same choice is one piece, reasoning likewise. @param last of the same choice */
function merge (last: Piece | undefined, next: Piece): Piece | null {
  if (last === undefined || last.reason !== null || next.reason !== null) return null
  for (const name of ['content', 'reasoning_content']) {
    const [before, after] = [last.delta[name], next.delta[name]]
    if (typeof before !== 'string' || typeof after !== 'string') continue
    const logprobs = last.logprobs === null || next.logprobs === null ? null : [...last.logprobs, ...next.logprobs]
    return { ...next, delta: { [name]: before + after }, logprobs }
  }
  return null
}

class StreamChoice implements ChoiceOutlet {
  readonly #index: number
  readonly #hasLogprobs: boolean
  readonly #push: (piece: Piece, characters: number) => void
  #calls = 0

  constructor (index: number, hasLogprobs: boolean, push: (piece: Piece, characters: number) => void) {
    this.#index = index
    this.#hasLogprobs = hasLogprobs
    this.#push = push
  }

  content (text: string, logprobs: readonly TokenLogprob[]): void {
    const likelihoods = logprobs.reduce((sum, { top_logprobs: top }) => sum + 1 + top.length, 0)
    this.#say({ content: text }, text.length + likelihoods * LIKELIHOOD_CHARACTERS, this.#hasLogprobs ? logprobs : null)
  }

  // Not OpenAI's, but what DeepSeek, vLLM and llama-server send and clients read.
  reasoning (text: string): void { this.#say({ reasoning_content: text }, text.length) }

  call (call: ToolCall): void {
    const index = this.#calls++
    this.#say({ tool_calls: [{ index, ...callHead(), function: { name: call.name, arguments: '' } }] }, call.name.length)
    this.#say({ tool_calls: [{ index, function: { arguments: call.arguments } }] }, call.arguments.length)
  }

  finish (reason: FinishReason, stop: string | null = null): void { this.#push({ index: this.#index, delta: {}, logprobs: null, reason, stop }, 0) }

  #say (delta: Record<string, unknown>, characters: number, logprobs: Piece['logprobs'] = null): void {
    this.#push({ index: this.#index, delta, logprobs, reason: null }, characters)
  }
}

function callHead (): { id: string, type: 'function' } {
  return { id: `call_${randomBytes(12).toString('hex')}`, type: 'function' }
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

function logprobsOnTheWire (content: readonly TokenLogprob[] | null): Record<string, unknown> | null {
  return content === null ? null : { content, refusal: null }
}

function usageOnTheWire ({ promptTokens, completionTokens, cachedTokens, reasoningTokens }: Usage): Record<string, unknown> {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
    completion_tokens_details: { reasoning_tokens: reasoningTokens }
  }
}
