/** Whole inputs computed one by one, in a context of their own beside that of the answers. */
import { GatewayError } from '../errors.ts'

/** llama.cpp rounds a context up to so many tokens. */
const LEAST_ROOM = 256
/** The pool sends no more calls than there are slots; this bounds anyone else. */
const MOST_WAITING = 64

export interface AsideOptions<C> {
  /** Longest input. */
  readonly contextTokens: number
  /** For messages: `embedding`. */
  readonly result: string
  /** A context that takes `room` tokens in one piece. */
  open (room: number): Promise<C>
}

/**
 * An input is computed in one piece, never in several: of an input in pieces llama.cpp pools the last one alone. So the
 * context has room for one whole input. It is made with the first one, and anew when a longer one comes; nothing of an
 * input is left in it for the next.
 */
export class Aside<C extends { dispose (): Promise<void> }> {
  readonly #options: AsideOptions<C>
  #context: C | null = null
  #room = 0
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  constructor (options: AsideOptions<C>) { this.#options = options }

  /**
   * What `work` makes of the context, when those before have had their turn.
   * @param tokens of the input, no more than the longest
   * @throws GatewayError `backend_overloaded`, `backend_failed` when it cannot be computed, or `signal.reason`
   */
  async compute<T> (tokens: number, work: (context: C) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    const { result } = this.#options
    if (this.#waiting >= MOST_WAITING) throw new GatewayError('backend_overloaded', `${MOST_WAITING} inputs wait for their ${result} already.`, { retryAfterS: 1 })
    this.#waiting++
    const turn = this.#last.then(() => this.#compute(tokens, work, signal))
    // Whoever comes next only waits for the end, good or bad.
    this.#last = turn.catch(() => undefined).finally(() => { this.#waiting-- })
    return turn
  }

  async #compute<T> (tokens: number, work: (context: C) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    try {
      return await work(await this.#contextFor(tokens))
    } catch (cause) {
      throw new GatewayError('backend_failed', `The model could not compute the ${this.#options.result} of ${tokens} tokens.`, { cause })
    }
  }

  /** Not all the room there could be: memory for one piece of 32,000 tokens is measured in gigabytes. */
  async #contextFor (tokens: number): Promise<C> {
    if (this.#context !== null && this.#room > tokens) return this.#context
    const old = this.#context
    this.#context = null
    await old?.dispose()
    this.#room = Math.min(this.#options.contextTokens + 1, Math.max(LEAST_ROOM, 2 ** Math.ceil(Math.log2(tokens + 1))))
    this.#context = await this.#options.open(this.#room)
    return this.#context
  }
}
