/** Tokens to vectors, by a context of its own beside that of the answers. */
import type { LlamaEmbeddingContext, LlamaModel, Token } from 'node-llama-cpp'
import { Aside } from './aside.ts'

export interface EmbedderOptions { readonly contextTokens: number, readonly threads: number }

export class Embedder {
  readonly #model: LlamaModel
  readonly #aside: Aside<LlamaEmbeddingContext>

  constructor (model: LlamaModel, { contextTokens, threads }: EmbedderOptions) {
    this.#model = model
    this.#aside = new Aside({
      contextTokens,
      result: 'embedding',
      open: room => model.createEmbeddingContext({ contextSize: room, batchSize: room, threads })
    })
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
   * @throws GatewayError as `Aside.compute`
   */
  async vector (tokens: readonly number[], signal: AbortSignal): Promise<readonly number[]> {
    const compute = async (context: LlamaEmbeddingContext) => (await context.getEmbeddingFor(tokens.slice() as Token[])).vector
    return this.#aside.compute(tokens.length, compute, signal)
  }
}
