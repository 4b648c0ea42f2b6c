/** The vocabulary of a model: texts to tokens and back. */
import type { LlamaModel, Token } from 'node-llama-cpp'
import { bytesOfPiece } from './bytes.ts'
import type { Spell } from './logprobs.ts'
import type { Lexicon } from './reader.ts'

/** Internal of node-llama-cpp 3.22.1. */
interface Pieces { readonly _model: { getTokenString (token: number): string } }

export interface VocabularyOptions {
  /** Longest prompt plus answer. */
  readonly contextTokens: number
  /** As the file's head says. */
  readonly vocabularySize: number
}

export class LlamaVocabulary implements Lexicon {
  readonly contextTokens: number
  readonly vocabularySize: number
  readonly #model: LlamaModel
  /** Something whole to stand before a token. */
  readonly #letter: readonly number[]

  constructor (model: LlamaModel, { contextTokens, vocabularySize }: VocabularyOptions) {
    this.#model = model
    this.contextTokens = contextTokens
    this.vocabularySize = vocabularySize
    this.#letter = this.tokenize('a')
  }

  get bosText (): string { return this.#model.tokens.bosString ?? '' }
  get eosText (): string { return this.#model.tokens.eosString ?? '' }
  /** The token to begin a prompt with, or null when the model wants none. */
  get leadingToken (): number | null { return this.#model.tokens.shouldPrependBosToken ? this.#model.tokens.bos : null }

  get gapTokens (): Lexicon['gapTokens'] {
    const { prefix, suffix, middle } = this.#model.tokens.infill
    return prefix === null || suffix === null || middle === null ? null : { prefix, suffix, middle }
  }

  /** Texts that `tokenize` turns into control tokens. */
  controlTexts (): string[] {
    const texts: string[] = []
    for (let id = 0; id < this.vocabularySize; id++) {
      const attributes = this.#model.getTokenAttributes(id as Token)
      if (attributes.control || attributes.unknown) texts.push(this.#model.detokenize([id as Token], true))
    }
    return texts.filter(text => text !== '')
  }

  tokenize (text: string): number[] { return this.#model.tokenize(text, true) }

  tokenizePlain (text: string): number[] { return this.#model.tokenize(text, false) }

  detokenize (tokens: readonly number[], before: readonly number[]): string {
    return this.#model.detokenize(tokens as Token[], false, before as Token[])
  }

  spellOut (tokens: readonly number[]): string { return this.#model.detokenize(tokens as Token[], true) }

  /** What a token adds to a text, not looking at the bytes before it; its own are exact also where they are no whole character. */
  readonly spell: Spell = (token, isFirst) => {
    const text = this.detokenize([token], isFirst ? [] : this.#letter)
    const bytes = text.includes('\uFFFD') ? bytesOfPiece((this.#model as unknown as Pieces)._model.getTokenString(token)) : null
    return { token: text, bytes: bytes ?? [...Buffer.from(text)] }
  }
}
