/** A query and a document as the one input that a ranking model reads. */
import { GatewayError } from '../errors.ts'
import type { GgufHead } from '../models/gguf.ts'
import type { Lexicon } from './reader.ts'
import { ControlTexts, markNotIn } from './template.ts'

/** Around the tokens of a query and of a document. */
export type Frame = (query: readonly number[], document: readonly number[]) => readonly number[]

export interface PairOptions {
  /** What to call the document. */
  readonly param: string
  /** The document is cut off there; Infinity takes it whole. */
  readonly mostTokens: number
}

/** Beyond what so many tokens can stand for, so that the cut changes none of them. */
const MARGIN = 1024

/** By the template that the model brings for pairs, or else by the tokens that its kind puts around them. */
export class Pairs {
  readonly #name: string
  readonly #lexicon: Lexicon
  readonly #longestTokenBytes: number
  readonly #template: string | null
  readonly #frame: Frame
  #controls: ControlTexts | null = null

  constructor (name: string, lexicon: Lexicon, { longestTokenBytes, chatTemplates }: GgufHead, frame: Frame) {
    this.#name = name
    this.#lexicon = lexicon
    this.#longestTokenBytes = Math.max(1, longestTokenBytes)
    this.#template = chatTemplates.get('rerank') ?? null
    this.#frame = frame
  }

  /** @throws GatewayError `context_length_exceeded` when both do not fit together */
  tokens (query: string, document: string, { param, mostTokens }: PairOptions): readonly number[] {
    const kept = this.#cut(document, mostTokens)
    const least = Math.ceil((Buffer.byteLength(query) + Buffer.byteLength(kept)) / this.#longestTokenBytes)
    if (least > this.#lexicon.contextTokens) throw this.#tooLong(`at least ${least}`, param)
    const tokens = this.#template === null
      ? this.#frame(this.#lexicon.tokenizePlain(query), this.#lexicon.tokenizePlain(kept))
      : this.#rendered(this.#template, query, kept)
    if (tokens.length > this.#lexicon.contextTokens) throw this.#tooLong(String(tokens.length), param)
    return tokens
  }

  #cut (document: string, mostTokens: number): string {
    if (document.length <= mostTokens) return document
    const tokens = this.#lexicon.tokenizePlain(document.slice(0, mostTokens * this.#longestTokenBytes + MARGIN))
    return tokens.length <= mostTokens ? document : this.#lexicon.spellOut(tokens.slice(0, mostTokens))
  }

  /** Tokenised in one piece, as it was trained; what looks like a control token in query or document is cut in two. */
  #rendered (template: string, query: string, document: string): readonly number[] {
    this.#controls ??= new ControlTexts(this.#lexicon.controlTexts())
    const mark = markNotIn(template + query + document)
    const said = this.#controls.cut({ query, document }, mark)
    const text = template.replaceAll(/\{(query|document)\}/g, (_, name: 'query' | 'document') => said[name])
    const tokens = text.split(mark).filter(part => part !== '').flatMap(part => this.#lexicon.tokenize(part))
    const { leadingToken } = this.#lexicon
    return leadingToken === null || tokens[0] === leadingToken ? tokens : [leadingToken, ...tokens]
  }

  #tooLong (tokens: string, param: string): GatewayError {
    return new GatewayError('context_length_exceeded',
      `${param} and the query have ${tokens} tokens together; ${this.#name} takes at most ${this.#lexicon.contextTokens}. Send it as several documents, or cut it off with max_tokens_per_doc.`, { param })
  }
}
