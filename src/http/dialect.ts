/** What a route for calls has to know of its dialect: chat completions, or another way to say the same. */
import { GatewayError } from '../errors.ts'
import type { ErrorDialect } from '../listener/errors.ts'
import type { Call } from '../pipeline/call.ts'
import type { Outlet } from '../pipeline/chat.ts'
import type { Endpoint } from '../usage/record.ts'
import type { ChatChunk, ChatCompletion } from '../wire/chat.ts'
import { events } from '../wire/sse.ts'
import type { HttpOutlet } from './outlet.ts'

type Members = Record<string, unknown>

export interface Dialect {
  readonly path: string
  readonly endpoint: Endpoint
  /** How errors look before the answer has begun, whoever refuses: the listener, the gateway or the backend. */
  readonly errors: ErrorDialect
  /**
   * The chat completion that asks for the same. `body` may be changed or given back.
   * @throws GatewayError that names a parameter of this dialect
   */
  toChat (body: Members): Members
  /** An error of the chat, told of the parameter that the caller sent. Left out where both are the same. */
  blamed? (error: unknown, chat: Members, body: Members): unknown
  /** Where the answer goes. Asked for once a call, with the body as it came and the request made of it. */
  outlet (inner: HttpOutlet, asked: Asked): CallerOutlet
}

export interface Asked { readonly body: Members, readonly chat: Members, readonly call: Call }

/** An outlet that can also say, within an answer that has begun, that there will be no more of it. */
export interface CallerOutlet extends Outlet {
  /** A sign of life while there is nothing to say, before the answer or within it. */
  beat (): void
  fail (error: GatewayError): void
}

/** One answer in the words of another dialect. Events are text: whole server-sent events, or '' where there is nothing to say yet. */
export interface Translation {
  whole (completion: ChatCompletion): object
  chunk (chunk: ChatChunk): string
  /** After the last chunk. */
  end (): string
  /** What comes before all else, whoever answers: said at the first sign of life. '' once it has been said. */
  beginning? (): string
  /** An event while there is nothing to say. Left out where a comment will do. */
  readonly sign?: string
  /** Instead of the rest. */
  failed (error: GatewayError): string
}

/** Where the events of a translated answer are written. */
export type AnswerSink = Pick<HttpOutlet, 'body' | 'begin' | 'frame' | 'beat' | 'end' | 'endWith'>

/** Parses each chunk and writes what the dialect makes of it; one write per frame, so a slow caller slows the backend as ever. */
export class TranslatingOutlet implements CallerOutlet {
  readonly #inner: AnswerSink
  readonly #translation: Translation

  constructor (inner: AnswerSink, translation: Translation) {
    this.#inner = inner
    this.#translation = translation
  }

  body (_bytes: Buffer, completion: unknown): void {
    const answer = this.#translation.whole(completion as ChatCompletion)
    this.#inner.body(Buffer.from(JSON.stringify(answer)))
  }

  begin (): void { this.#inner.begin() }

  frame (bytes: Buffer): Promise<void> | undefined {
    let said = ''
    for (const data of events(bytes)) said += data === '[DONE]' ? this.#translation.end() : this.#translation.chunk(chunkOf(data))
    return said === '' ? undefined : this.#inner.frame(Buffer.from(said))
  }

  beat (): void {
    const beginning = this.#translation.beginning?.() ?? ''
    if (beginning === '') { this.#inner.beat(this.#translation.sign); return }
    this.#inner.begin()
    // A part of the answer, which whoever keeps answers keeps. Nothing waits here for a caller that reads slowly; the frames will.
    this.#inner.frame(Buffer.from(beginning))?.catch(() => undefined)
  }

  end (): void { this.#inner.end() }

  fail (error: GatewayError): void { this.#inner.endWith(this.#translation.failed(error)) }
}

function chunkOf (data: string): ChatChunk {
  let chunk: unknown
  try {
    chunk = JSON.parse(data)
  } catch (error) {
    throw new GatewayError('backend_invalid_answer', 'The backend sent an event that is not JSON.', { cause: error })
  }
  return Array.isArray((chunk as Partial<ChatChunk>).choices) ? chunk as ChatChunk : { ...chunk as ChatChunk, choices: [] }
}
