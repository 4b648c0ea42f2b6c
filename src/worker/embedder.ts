/** Tokens to vectors, by a context of its own beside that of the answers. */
import type { LlamaEmbeddingContext, LlamaModel, Token } from 'node-llama-cpp'
import { GatewayError } from '../errors.ts'

/** llama.cpp rounds a context up to so many tokens. */
const LEAST_ROOM = 256
/** Inputs are computed one by one. The pool sends no more calls than there are slots; this bounds anyone else. */
const MOST_WAITING = 64

export interface EmbedderOptions { readonly contextTokens: number, readonly threads: number }

/**
 * An input is computed in one piece, never in several: of an input in pieces llama.cpp pools the last one alone. So the
 * context has room for one whole input. It is made with the first one, and anew when a longer one comes; nothing of an
 * input is left in it for the next.
 */
export class Embedder {
  readonly #model: LlamaModel
  readonly #options: EmbedderOptions
  #context: LlamaEmbeddingContext | null = null
  #room = 0
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  constructor (model: LlamaModel, options: EmbedderOptions) {
    this.#model = model
    this.#options = options
  }

  /** Numbers in a vector. */
  get dimensions (): number { return this.#model.embeddingVectorSize }

  /** With the tokens that the model wants around an input, unless they are there. */
  framed (tokens: readonly number[]): readonly number[] {
    const { tokens: special, vocabularyType } = this.#model
    const isWordPiece = vocabularyType === 'wpm'
    const first = isWordPiece || (vocabularyType !== 'ugm' && special.shouldPrependBosToken) ? special.bos : null
    const last = isWordPiece ? special.sep : vocabularyType === 'ugm' || special.shouldAppendEosToken ? special.eos : null
    return [
      ...first === null || tokens[0] === first ? [] : [first],
      ...tokens,
      ...last === null || tokens.at(-1) === last ? [] : [last]
    ]
  }

  /**
   * The vector as the model gives it, of any length.
   * @param tokens framed, no more than the context
   * @throws GatewayError `backend_overloaded`, `backend_failed` when it cannot be computed, or `signal.reason`
   */
  async vector (tokens: readonly number[], signal: AbortSignal): Promise<readonly number[]> {
    signal.throwIfAborted()
    if (this.#waiting >= MOST_WAITING) throw new GatewayError('backend_overloaded', `${MOST_WAITING} inputs wait for their embeddings already.`, { retryAfterS: 1 })
    this.#waiting++
    const turn = this.#last.then(() => this.#compute(tokens, signal))
    // Whoever comes next only waits for the end, good or bad.
    this.#last = turn.catch(() => undefined).finally(() => { this.#waiting-- })
    return turn
  }

  async #compute (tokens: readonly number[], signal: AbortSignal): Promise<readonly number[]> {
    signal.throwIfAborted()
    try {
      const context = await this.#contextFor(tokens.length)
      return (await context.getEmbeddingFor(tokens.slice() as Token[])).vector
    } catch (cause) {
      throw new GatewayError('backend_failed', `The model could not compute the embedding of ${tokens.length} tokens.`, { cause })
    }
  }

  /** Not all the room there could be: memory for one piece of 32,000 tokens is measured in gigabytes. */
  async #contextFor (tokens: number): Promise<LlamaEmbeddingContext> {
    if (this.#context !== null && this.#room > tokens) return this.#context
    const { contextTokens, threads } = this.#options
    const old = this.#context
    this.#context = null
    await old?.dispose()
    this.#room = Math.min(contextTokens + 1, Math.max(LEAST_ROOM, 2 ** Math.ceil(Math.log2(tokens + 1))))
    this.#context = await this.#model.createEmbeddingContext({ contextSize: this.#room, batchSize: this.#room, threads })
    return this.#context
  }
}
