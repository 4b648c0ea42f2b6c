/** Log-probabilities as OpenAI shapes them, for the tokens whose text the caller sees. */
import type { Scores } from './engine.ts'

export interface TokenLogprob extends Likelihood {
  /** Likeliest first. */
  readonly top_logprobs: readonly Likelihood[]
}

interface Likelihood {
  readonly token: string
  readonly logprob: number
  /** UTF-8; a token may hold a part of a character. */
  readonly bytes: readonly number[]
}

/** @param isFirst of an answer; some tokenizers write a leading space only inside a text */
export type Spell = (token: number, isFirst: boolean) => { readonly token: string, readonly bytes: readonly number[] }

/** OpenAI's word for "next to impossible"; JSON has no minus infinity. */
const LEAST = -9999

/** Remembers tokens by where their text ends, until it is known what of the text is shown. */
export class TokenLog {
  readonly #spell: Spell
  readonly #entries: { readonly entry: TokenLogprob, end: number }[] = []
  #isFirst = true

  constructor (spell: Spell) { this.#spell = spell }

  add (token: number, scores: Scores): void {
    const likelihood = (one: number, logprob: number): Likelihood => ({ ...this.#spell(one, this.#isFirst), logprob: Math.max(LEAST, logprob) })
    const top = scores.top.map(([one, logprob]) => likelihood(one, logprob))
    this.#entries.push({ entry: { ...likelihood(token, scores.logprob), top_logprobs: top }, end: Infinity })
    this.#isFirst = false
  }

  /** The text up to here, in characters from the start, is that of the tokens so far. */
  settle (end: number): void {
    for (let at = this.#entries.length - 1; this.#entries[at]?.end === Infinity; at--) this.#entries[at]!.end = end
  }

  /** Tokens whose text ends behind `from`, and not behind `to`; those before are forgotten. */
  take (from: number, to: number): TokenLogprob[] {
    const end = this.#entries.findIndex(entry => entry.end > to)
    return this.#entries.splice(0, end < 0 ? this.#entries.length : end).filter(entry => entry.end > from).map(({ entry }) => entry)
  }
}
