/** @param before tokens that came just before; some tokenizers write a leading space only inside a text */
export type Detokenize = (tokens: readonly number[], before: readonly number[]) => string

/** Tokens that together make no whole character are shown as they are after this many. */
const MOST_HELD_TOKENS = 16
/** As many as tokenizers look back. */
const TOKENS_BEFORE = 3

/** Tokens to text, one at a time. A character whose bytes are spread over several tokens is held until it is whole. */
export class TextOfTokens {
  readonly #detokenize: Detokenize
  #held: number[] = []
  #before: number[]

  /** @param before tokens that the text goes on from */
  constructor (detokenize: Detokenize, before: readonly number[] = []) {
    this.#detokenize = detokenize
    this.#before = [...before]
  }

  /** @returns the text that became whole, often none */
  push (token: number): string {
    this.#held.push(token)
    const text = this.#detokenize(this.#held, this.#before)
    if (text.endsWith('\uFFFD') && this.#held.length < MOST_HELD_TOKENS) return ''
    this.#forget()
    return text
  }

  /** What is held, once nothing follows; broken bytes become U+FFFD. */
  flush (): string {
    if (this.#held.length === 0) return ''
    const text = this.#detokenize(this.#held, this.#before)
    this.#forget()
    return text
  }

  #forget (): void {
    this.#before = [...this.#before, ...this.#held].slice(-TOKENS_BEFORE)
    this.#held = []
  }
}
