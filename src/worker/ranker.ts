/** How well a document answers a query, by a context of its own beside that of the answers. */
import type { LlamaModel, LlamaRankingContext, Token } from 'node-llama-cpp'
import { Aside } from './aside.ts'
import type { EmbedderOptions } from './embedder.ts'

/** Internal of node-llama-cpp 3.22.1; its `rank` frames the input by itself, and not as every model was trained. */
interface Scoring { _evaluateRankingForInput (input: readonly Token[]): Promise<number> }

export class Ranker {
  readonly #model: LlamaModel
  readonly #aside: Aside<LlamaRankingContext>

  constructor (model: LlamaModel, { contextTokens, threads }: EmbedderOptions) {
    this.#model = model
    this.#aside = new Aside({
      contextTokens,
      result: 'score',
      open: room => model.createRankingContext({ contextSize: room, batchSize: room, threads })
    })
  }

  /**
   * A query and a document as models are trained on pairs that have no template of their own: BERT on
   * `[CLS] query [SEP] document [SEP]`, RoBERTa and XLM-R on `<s> query </s></s> document </s>`.
   * Source: post-processors of their tokenizers ("tokenizer.json", `TemplateProcessing`), read 2026-11-22.
   */
  framed (query: readonly number[], document: readonly number[]): readonly number[] {
    const { tokens: { bos, eos, sep }, vocabularyType, fileInfo } = this.#model
    const end = vocabularyType === 'wpm' ? sep ?? eos : eos ?? sep
    const { add_sep_token: wantsSeparator } = fileInfo.metadata.tokenizer.ggml as { add_sep_token?: boolean }
    const isDoubled = vocabularyType !== 'wpm' && end === eos && wantsSeparator !== false
    return [bos, ...query, end, isDoubled ? sep : null, ...document, end].filter(token => token !== null)
  }

  /**
   * From 0 to 1: the probability that the document is relevant, as the model was trained to tell it.
   * @param tokens framed, no more than the context
   * @throws GatewayError as `Aside.compute`
   */
  async score (tokens: readonly number[], signal: AbortSignal): Promise<number> {
    const compute = (context: LlamaRankingContext) => (context as unknown as Scoring)._evaluateRankingForInput(tokens as Token[])
    return this.#aside.compute(tokens.length, compute, signal)
  }
}
