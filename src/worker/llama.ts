/** A model or its vocabulary as node-llama-cpp (3.22.1) loads it, and the steps that it computes. */
import type { LlamaContext, LlamaContextSequence, LlamaModel, SequenceEvaluateOptions, Token } from 'node-llama-cpp'
import { openLlama, type BinaryOptions } from './binary.ts'
import type { CompiledGrammar, Engine, Sampling, StepItem, StepResult } from './engine.ts'
import { Embedder } from './embedder.ts'
import { Ranker } from './ranker.ts'
import { ScoredAnswer, type NativeContext, type NativeSampler, type NativeSequence, type ScoredToken } from './scored.ts'
import { seedAt } from './seed.ts'
import { LlamaVocabulary, type VocabularyOptions } from './vocabulary.ts'

export interface LlamaOptions extends BinaryOptions {
  readonly path: string
  readonly slots: number
  readonly contextTokens: number
  readonly batchTokens: number
  /** Tokens in the vocabulary, as the file's head says. */
  readonly vocabularySize: number
  /** False of what only embeds or ranks. */
  readonly writes?: boolean
  /** The architecture, where the file does not say how embeddings are pooled: then they are means. */
  readonly meansOf?: string | undefined
  readonly signal: AbortSignal
  onProgress (fraction: number): void
}

/** @throws Error in words for an operator: no binary, no such GPU, not enough memory, not a model */
export async function loadLlama (options: LlamaOptions): Promise<LlamaEngine> {
  const { path, gpu, slots, contextTokens, threads, meansOf, signal, onProgress, writes = true } = options
  const llama = await openLlama(options)
  if (gpu !== 'auto' && llama.gpu !== gpu) throw new Error(`gpu ${gpu} is not available here; ${llama.gpu === false ? 'only the CPU' : llama.gpu} is.`)
  const model = await llama.loadModel({
    modelPath: path,
    loadSignal: signal,
    onLoadProgress: onProgress,
    ...meansOf !== undefined && { metadataOverrides: { [meansOf]: { pooling_type: POOL_MEANS } } },
    ...llama.gpu === false ? {} : { gpuLayers: { fitContext: { contextSize: contextTokens * slots } } }
  })
  const mostTokens = Math.min(contextTokens, model.trainContextSize)
  const context = await model.createContext({
    contextSize: writes ? mostTokens : Math.min(UNUSED_TOKENS, mostTokens),
    sequences: slots,
    batchSize: writes ? Math.max(options.batchTokens, slots) : slots,
    threads,
    createSignal: signal,
    // A smaller context than was asked for would be a silent change of what fits.
    failedCreationRemedy: false
  })
  return new LlamaEngine(context, mostTokens, options.vocabularySize, threads)
}

/** Of a context that nothing is ever computed in. */
const UNUSED_TOKENS = 256

/** The vocabulary alone: the weights are not read, and nothing can be computed. @throws Error in words for an operator, or `signal.reason` */
export async function loadVocabulary (options: VocabularyOptions & Pick<LlamaOptions, 'path' | 'signal' | 'log'>): Promise<LlamaVocabulary> {
  const llama = await openLlama({ gpu: false, threads: 1, log: options.log })
  return new LlamaVocabulary(await llama.loadModel({ modelPath: options.path, vocabOnly: true, loadSignal: options.signal }), options)
}

/** `LLAMA_POOLING_TYPE_MEAN` of llama.h. */
const POOL_MEANS = 1

/** Internals of node-llama-cpp 3.22.1; its `LlamaGrammar`, `LlamaGrammarEvaluationState` and `LlamaSampler` are thin covers of these. */
interface Native { readonly bindings: Bindings, readonly model: NativeModel, readonly context: NativeContext }
interface NativeModel { isEogToken (token: number): boolean }
interface Bindings {
  AddonGrammar: new (gbnf: string, options: { addonExports: unknown, rootRuleName: string }) => NativeGrammar
  AddonGrammarEvaluationState: new (model: NativeModel, grammar: NativeGrammar) => object
  AddonSampler: {
    new (model: NativeModel): NativeSampler
    canBeNextTokenForGrammarEvaluationState (state: object, token: number): boolean
    acceptGrammarEvaluationStateToken (state: object, token: number): void
  }
}
interface NativeGrammar { isTextCompatible (text: string): boolean }

interface LlamaGrammar extends CompiledGrammar { readonly native: NativeGrammar }

/** Internals of node-llama-cpp 3.22.1. */
interface Sequences { disposeSequence (id: number): void }
interface Numbered { readonly _sequenceId: number }

/** Internal of node-llama-cpp 3.22.1. */
interface CopyingSequence { _copyStateFromOtherSequence (source: LlamaContextSequence, tokens: number): Promise<boolean> }

interface Lane {
  readonly sequence: LlamaContextSequence
  answer: AsyncGenerator<{ token: Token }, void> | null
  scored: ScoredAnswer | null
  /** Tokens of the answer so far, for the penalties. */
  said: Token[]
}

/** Of a slot, in main memory. One takes what a sliding window or a recurrent state takes: 1 to some 100 MB. */
const MOST_MARKS = 8
const MARK_BYTES = 512 * 1024 * 1024

export class LlamaEngine extends LlamaVocabulary implements Engine {
  readonly slots: number
  readonly batchTokens: number
  readonly embedder: Embedder
  readonly ranker: Ranker
  /** False when trying it out has shown that it goes wrong. */
  canCopy = true
  /** Likewise. */
  canScore = true
  readonly #context: LlamaContext
  readonly #model: LlamaModel
  readonly #native: Native
  readonly #lanes: readonly Lane[]

  constructor (context: LlamaContext, contextTokens: number, vocabularySize: number, threads: number) {
    super(context.model, { contextTokens, vocabularySize })
    this.#context = context
    this.#model = context.model
    this.#native = nativeOf(context)
    this.slots = context.totalSequences
    this.batchTokens = context.batchSize
    this.embedder = new Embedder(context.model, { contextTokens, threads })
    this.ranker = new Ranker(context.model, { contextTokens, threads })
    if (context.model.fileInsights.swaSize !== undefined) withWholeWindows(this.#native.context, context.model.fileInsights.swaSize)
    const open = () => context.getSequence({ contextShift: NEVER_SHIFT, checkpoints: { max: MOST_MARKS, maxMemory: MARK_BYTES } })
    this.#lanes = Array.from({ length: this.slots }, () => seededByPlace({ sequence: open(), answer: null, scored: null, said: [] }))
  }

  /** `CPU`, `cuda`, … */
  get device (): string { return this.#model.llama.gpu === false ? 'CPU' : this.#model.llama.gpu }

  /** Of the whole process, and on the GPU. */
  get memoryBytes (): number {
    return process.memoryUsage.rss() + this.#model.memoryUsage.vram + this.#context.memoryUsage.vram
  }

  // All items are handed over in one tick. Left to themselves, sequences fall out of step and every batch holds one.
  async step (items: readonly StepItem[]): Promise<readonly StepResult[]> {
    return Promise.all(items.map(item => this.#compute(item).catch(error => ({ error }))))
  }

  async #compute ({ slot, tokens, sampling }: StepItem): Promise<StepResult> {
    const lane = this.#lanes[slot]!
    if (sampling === null) {
      await lane.sequence.evaluateWithoutGeneratingNewTokens(tokens as Token[])
      return { token: null }
    }
    if (lane.answer === null && lane.scored === null) lane.said = [...sampling.said ?? []] as Token[]
    if (sampling.topLogprobs !== null) return this.#score(lane, tokens, sampling, sampling.topLogprobs)
    // The generator appends the token that it gave last by itself.
    lane.answer ??= lane.sequence.evaluateWithMetadata([...tokens] as Token[], {}, this.#options(sampling, lane)) as NonNullable<Lane['answer']>
    const { value } = await lane.answer.next()
    if (value === undefined) throw new Error('The model gave no token.')
    lane.said.push(value.token)
    return { token: value.token }
  }

  async #score (lane: Lane, tokens: readonly number[], sampling: Sampling, top: number): Promise<ScoredToken> {
    lane.scored ??= new ScoredAnswer(lane.sequence as unknown as NativeSequence, this.#native.context, [this.#sampler(), this.#sampler()],
      this.#options(sampling, lane), top)
    const scored = await lane.scored.next(tokens)
    lane.said.push(scored.token as Token)
    return scored
  }

  #sampler (): NativeSampler { return new this.#native.bindings.AddonSampler(this.#native.model) }

  #options (sampling: Sampling, lane: Lane): SequenceEvaluateOptions {
    const { temperature, topP, topK, minP, seed, frequencyPenalty, presencePenalty, logitBias, grammar } = sampling
    const options = { temperature, topP, topK, minP, seed, yieldEogToken: true }
    return {
      ...options,
      ...grammar !== null && { grammarEvaluationState: this.#place(grammar as LlamaGrammar, lane.said) },
      ...(frequencyPenalty !== 0 || presencePenalty !== 0) && {
        repeatPenalty: { punishTokens: () => lane.said, maxPunishTokens: this.contextTokens, penalty: 1, frequencyPenalty, presencePenalty }
      },
      // TokenBias itself silently leaves out the tokens that end an answer, which callers do want to bias.
      ...logitBias.size > 0 && {
        tokenBias: { _tokenizer: this.#model.tokenizer, _biases: logitBias } as unknown as NonNullable<SequenceEvaluateOptions['tokenBias']>
      }
    }
  }

  /**
   * @param gbnf with a rule `root`
   * @throws Error when llama.cpp does not take it
   */
  compileGrammar (gbnf: string): CompiledGrammar {
    const { bindings } = this.#native
    const grammar: LlamaGrammar = { gbnf, native: new bindings.AddonGrammar(gbnf, { addonExports: bindings, rootRuleName: 'root' }) }
    return grammar
  }

  /** Where an answer stands in its grammar. llama.cpp ends the process when it is led through a token that does not belong there. */
  #place (grammar: LlamaGrammar, said: readonly number[]): NonNullable<SequenceEvaluateOptions['grammarEvaluationState']> {
    const { bindings: { AddonGrammarEvaluationState, AddonSampler }, model } = this.#native
    const native = new AddonGrammarEvaluationState(model, grammar.native)
    for (const token of said) {
      if (!AddonSampler.canBeNextTokenForGrammarEvaluationState(native, token)) throw new Error('What was said before is not of the form that is asked for.')
      AddonSampler.acceptGrammarEvaluationStateToken(native, token)
    }
    const state = { _llama: this.#model.llama, _state: native }
    return state as unknown as NonNullable<SequenceEvaluateOptions['grammarEvaluationState']>
  }

  async rewind (slot: number, keep: number): Promise<number> {
    const { sequence } = this.#lanes[slot]!
    if (sequence.nextTokenIndex > keep) await sequence.adaptStateToTokens(sequence.contextTokens.slice(0, keep), false)
    return sequence.nextTokenIndex
  }

  /** What states are made by; another version may write them otherwise. */
  get version (): string { return `${this.#model.llama.llamaCppRelease.release} ${this.device}` }

  async save (slot: number, path: string): Promise<number> {
    return (await this.#lanes[slot]!.sequence.saveStateToFile(path)).fileSize
  }

  async load (slot: number, path: string): Promise<readonly number[]> {
    const { sequence } = this.#lanes[slot]!
    // Its checkpoints would outlive what they are checkpoints of.
    await sequence.clearHistory()
    try {
      await sequence.loadStateFromFile(path, { acceptRisk: true })
    } catch (thrown) {
      // Half a state may be there.
      (this.#native.context as unknown as Sequences).disposeSequence((sequence as unknown as Numbered)._sequenceId)
      throw thrown
    }
    return sequence.contextTokens
  }

  get needsMarks (): boolean { return this.#lanes[0]!.sequence.needsCheckpoints }

  async mark (slot: number): Promise<void> { await this.#lanes[slot]!.sequence.takeCheckpoint() }

  async copy (from: number, to: number, length: number): Promise<number> {
    if (!this.canCopy || length === 0) return this.rewind(to, 0)
    const source = this.#lanes[from]!.sequence
    const target = this.#lanes[to]!.sequence as LlamaContextSequence & CopyingSequence
    return await target._copyStateFromOtherSequence(source, length) ? length : this.rewind(to, 0)
  }

  release (slot: number): void {
    const lane = this.#lanes[slot]!
    void lane.answer?.return()
    lane.answer = null
    lane.scored?.close()
    lane.scored = null
    lane.said = []
  }

  // The library takes the end of a turn for one of an answer as well, which it is not where an answer is several messages.
  isEnd (token: number): boolean { return token === this.#model.tokens.eos || this.#native.model.isEogToken(token) }
}

/** Internal of node-llama-cpp 3.22.1: resolved for every token, and a sampler whose seed has changed draws from the new one. */
function seededByPlace (lane: Lane): Lane {
  const sequence = lane.sequence as unknown as { _resolveSamplerConfig: NativeSequence['_resolveSamplerConfig'] }
  const resolve = sequence._resolveSamplerConfig.bind(sequence)
  sequence._resolveSamplerConfig = options => {
    const config = resolve(options)
    return config['temperature'] === 0 ? config : { ...config, seed: seedAt(Number(config['seed']), lane.said.length) }
  }
  return lane
}

/** Internal of node-llama-cpp 3.22.1. */
interface Positions { getSequenceKvCacheMinPosition (sequence: number): number }

/**
 * The library goes back to any token that is still in the cache. But the first token after it sees a whole window of those
 * before, of which some may be gone: answers would be wrong, if only a little. So it is told of the first token whose
 * window is whole, and takes a checkpoint, or none, for what lies before.
 */
function withWholeWindows (context: object, window: number): void {
  const first = (context as Positions).getSequenceKvCacheMinPosition.bind(context)
  // That of the prototype cannot be assigned over.
  Object.defineProperty(context, 'getSequenceKvCacheMinPosition', {
    value (sequence: number) {
      const position = first(sequence)
      return position > 0 ? position + window - 1 : position
    }
  })
}

function nativeOf (context: LlamaContext): Native {
  const { _ctx: native } = context as unknown as { _ctx: NativeContext }
  const { _model: model } = context.model as unknown as { _model: NativeModel }
  const { _bindings: bindings } = context.model.llama as unknown as { _bindings: Bindings }
  return { bindings, model, context: native }
}

const NEVER_SHIFT = {
  size: 1,
  strategy (): never { throw new Error('The sequence is longer than its context.') }
}
