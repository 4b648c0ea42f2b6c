/** From a file to a model that answers: checked, loaded, tried out. */
import { readFileSync, statSync } from 'node:fs'
import { sha256OfFile } from '../models/digest.ts'
import { readGguf, type GgufHead } from '../models/gguf.ts'
import { GatewayError } from '../errors.ts'
import { Batch } from './batch.ts'
import type { Gpu } from './binary.ts'
import { CHATML } from './chatml.ts'
import type { Budget } from './choice.ts'
import { GREEDY, type CompiledGrammar } from './engine.ts'
import type { ThinkingTokens } from './effort.ts'
import type { Embedder } from './embedder.ts'
import { loadLlama, loadVocabulary, type LlamaEngine } from './llama.ts'
import type { Spell } from './logprobs.ts'
import { Pairs } from './pair.ts'
import { Spill } from './spill.ts'
import type { Ranker } from './ranker.ts'
import { Reader, type Prompt } from './reader.ts'
import type { Request } from './request.ts'
import { ANOTHER_TEMPLATE, type Conversation } from './template.ts'
import type { Detokenize } from './text.ts'
import { markersOf, showing } from './tools/markers.ts'
import type { ToolUse } from './tools/use.ts'

export interface ModelOptions {
  /** GGUF file. */
  readonly model: string
  readonly name: string
  readonly slots: number
  readonly contextTokens: number
  readonly batchTokens: number
  readonly threads: number
  readonly gpu: Gpu
  /** Where states of slots are kept, and how many bytes of them. Left out: nowhere. */
  readonly spill?: { readonly folder: string, readonly bytes: number } | undefined
  /** Digest that the file must have. */
  readonly sha256?: string | undefined
  /** Instead of the one in the file: `chatml`, or a file of Jinja. */
  readonly chatTemplate?: string | undefined
  /** How much it may think at each effort, where that is not what is usual. */
  readonly thinkingTokens?: ThinkingTokens | undefined
}

export interface LoadEvents {
  readonly signal: AbortSignal
  onProgress (fraction: number): void
  log (line: string): void
}

/** Reading the whole file for its digest, as a share of the load. */
const DIGEST_SHARE = 0.4
const MAX_TEMPLATE_BYTES = 1024 * 1024
const TRIAL: Conversation = { messages: [{ role: 'user', content: 'Hi' }], tools: null, variables: {} }

/** A loaded model: what it reads, and what it computes. */
export class Model extends Reader {
  readonly batch: Batch
  /** `fp_` and the beginning of the file's digest: the same file answers the same. */
  readonly fingerprint: string
  readonly #engine: LlamaEngine
  readonly #head: GgufHead
  #pairs: Pairs | null = null
  /** Tokens of markers that would not be seen. */
  readonly #markers: ReadonlyMap<number, string>

  constructor (name: string, engine: LlamaEngine, head: GgufHead, { sha256, thinkingTokens }: { sha256: string } & Pick<ModelOptions, 'thinkingTokens'>) {
    super(name, engine, head, thinkingTokens)
    this.fingerprint = `fp_${sha256.slice(0, 10)}`
    this.#engine = engine
    this.#head = head
    this.#markers = markersOf(this.speech.markers, engine)
    this.batch = new Batch(engine)
  }

  get slots (): number { return this.#engine.slots }
  get memoryBytes (): number { return this.#engine.memoryBytes }
  get device (): string { return this.#engine.device }

  /** @throws GatewayError `unsupported_value` when the model was made to rank */
  get embedder (): Embedder {
    if (!this.#head.isRanker) return this.#engine.embedder
    throw new GatewayError('unsupported_value', `${this.name} ranks documents and makes no embeddings.`, { param: 'model' })
  }

  /** @throws GatewayError `unsupported_value` when the model was not made to rank */
  get ranker (): Ranker {
    if (this.#head.isRanker) return this.#engine.ranker
    throw new GatewayError('unsupported_value', `${this.name} ranks no documents; it takes a model that was made for that.`, { param: 'model' })
  }

  /**
   * A query and its documents, as the model reads them.
   * @throws GatewayError `unsupported_value` when the model was not made to rank
   */
  get pairs (): Pairs {
    const { ranker } = this
    return this.#pairs ??= new Pairs(this.name, this.#engine, this.#head, (query, document) => ranker.framed(query, document))
  }

  /** Tokens to text that continues `before`, with the markers of thoughts and calls. */
  get detokenize (): Detokenize { return showing(this.#markers, (tokens, before) => this.#engine.detokenize(tokens, before)) }

  /**
   * How tokens are spelled in logprobs.
   * @throws GatewayError `unsupported_value` when there are none
   */
  get spell (): Spell {
    if (this.#engine.canScore) return this.#engine.spell
    throw new GatewayError('unsupported_value', `${this.name} gives no logprobs here; leave logprobs out.`, { param: 'logprobs' })
  }

  /**
   * What an answer is held to (speech.ts), understood by the engine.
   * @throws GatewayError `unsupported_value` when the model cannot be held to that; `param` says to what
   */
  held (asked: Pick<Request, 'tools' | 'format'>, prompt: Prompt): CompiledGrammar | null {
    const held = this.speech.grammar(asked, prompt)
    return held === null ? null : this.#grammar(held.gbnf, held.param)
  }

  /** How the thoughts of an answer are limited, or null. */
  budget ({ limit }: Prompt, tools: ToolUse | null): Budget | null {
    if (limit === null) return null
    return { tokens: limit.mostTokens, ends: this.speech.endings(limit.marker, tools).map(text => this.#engine.tokenize(text)) }
  }

  #grammar (gbnf: string, param: string): CompiledGrammar {
    try {
      return this.#engine.compileGrammar(gbnf)
    } catch (cause) {
      throw new GatewayError('unsupported_value', `${param}: the model cannot be held to this; its grammar is too involved.`, { param, cause })
    }
  }

  /**
   * Computes one token, so that the first caller does not wait for what is set up lazily, and a broken model is found out.
   * What is built on internals of the library is tried, and not used where it goes wrong: with a copied prompt the token
   * has to be the same one, and scores have to be those of the likeliest one.
   */
  async tryOut (signal: AbortSignal): Promise<void> {
    if (!this.#head.writes) return this.#tryAside(signal)
    const prompt = this.hasTemplate ? this.#triedPrompt() : this.rawPrompt('Hi', { param: 'prompt', suffix: null })
    const said: number[] = []
    const work = { prompt, isolation: '', sampling: GREEDY, maxTokens: 1, take: (token: number) => said.push(token) > 0 }
    await this.batch.run(work, { signal })
    await this.#tryScores(prompt, signal)
    if (this.slots < 2) return
    try {
      await this.batch.runAll([work, work], { signal })
    } catch (thrown) {
      if (signal.aborted) throw thrown
    }
    this.#engine.canCopy = said.length === 3 && said.every(token => token === said[0])
  }

  /** @throws Error when the template of the model does not even take a greeting */
  #triedPrompt (): readonly number[] {
    try {
      return this.prompt(TRIAL).tokens
    } catch (thrown) {
      const { cause, message } = thrown as Error
      throw new Error(`The chat template cannot be rendered: ${cause instanceof Error ? cause.message : message} ${ANOTHER_TEMPLATE}`, { cause: thrown })
    }
  }

  async #tryAside (signal: AbortSignal): Promise<void> {
    if (this.#head.isRanker) await this.ranker.score(this.pairs.tokens('Hi', 'Hi', { param: 'Hi', mostTokens: Infinity }), signal)
    else await this.embedder.vector(this.embedder.framed(this.inputTokens('Hi', 'Hi')), signal)
  }

  async #tryScores (prompt: readonly number[], signal: AbortSignal): Promise<void> {
    let isLikeliest = false
    const sampling = { ...GREEDY, topLogprobs: 2 }
    try {
      await this.batch.run({
        prompt, isolation: '', sampling, maxTokens: 1,
        take (token, scores) {
          const [first, second] = scores?.top ?? []
          isLikeliest = scores !== undefined && scores.logprob <= 0 && first?.[0] === token && first[1] === scores.logprob && second![1] <= first[1]
          return true
        }
      }, { signal })
    } catch (thrown) {
      if (signal.aborted) throw thrown
    }
    this.#engine.canScore = isLikeliest
  }
}

/** @throws Error in words for an operator, or `signal.reason` */
export async function loadModel (options: ModelOptions, events: LoadEvents): Promise<Model> {
  const { model: path, slots, contextTokens, batchTokens, threads, gpu } = options
  const head = headOf(options)
  if (head.splits > 1) throw new Error(`${path}: one of ${head.splits} parts; merge them into one file first.`)
  const sha256 = await checkDigest(options, events)
  const engine = await loadLlama({
    path, slots, contextTokens, batchTokens, threads, gpu,
    vocabularySize: head.vocabularySize,
    writes: head.writes,
    meansOf: head.pooling === null ? head.architecture : undefined,
    signal: events.signal,
    onProgress: fraction => { events.onProgress(DIGEST_SHARE + (1 - DIGEST_SHARE) * fraction) },
    log: events.log
  })
  if (head.writes && !head.chatTemplates.has('default')) events.log(`${path} has no chat template: it answers /v1/completions, and chats once it is given one by chatTemplate.`)
  const model = new Model(options.name, engine, head, { sha256, thinkingTokens: options.thinkingTokens })
  await model.tryOut(events.signal)
  if (options.spill !== undefined && head.writes) {
    const kind = JSON.stringify([sha256, engine.contextTokens, batchTokens, slots, engine.version])
    model.batch.spill = new Spill(engine, { ...options.spill, model: options.name, kind, log: events.log })
  }
  return model
}

/**
 * What the model makes of texts, without its weights. The digest is not checked: that would read all of the file, of which
 * only the head is used.
 * @throws Error in words for an operator, or `signal.reason`
 */
export async function loadReader (options: ModelOptions, { signal, log }: LoadEvents): Promise<Reader> {
  const { model: path, name, contextTokens, thinkingTokens } = options
  const head = headOf(options)
  const most = Math.min(contextTokens, head.contextTokens ?? Infinity)
  return new Reader(name, await loadVocabulary({ path, contextTokens: most, vocabularySize: head.vocabularySize, signal, log }), head, thinkingTokens)
}

/** Of the file, with the template that the configuration names instead. */
function headOf ({ model: path, chatTemplate }: ModelOptions): GgufHead {
  const head = readGguf(path)
  return chatTemplate === undefined ? head : { ...head, chatTemplates: new Map([['default', chatTemplate === 'chatml' ? CHATML : templateIn(chatTemplate)]]) }
}

function templateIn (path: string): string {
  try {
    const { size } = statSync(path)
    if (size > MAX_TEMPLATE_BYTES) throw new Error(`${size} bytes, at most ${MAX_TEMPLATE_BYTES} are read`)
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new Error(`chatTemplate: expected chatml or a file of Jinja; ${path}: ${(cause as Error).message}.`, { cause })
  }
}

async function checkDigest ({ model: path, sha256: expected }: ModelOptions, { signal, onProgress }: LoadEvents): Promise<string> {
  const { size } = statSync(path)
  const sha256 = await sha256OfFile(path, { signal, onProgress: bytes => { onProgress(DIGEST_SHARE * bytes / size) } })
  if (expected !== undefined && sha256 !== expected) {
    throw new Error(`${path}: expected sha256 ${expected}, but the file has ${sha256}; it is damaged or another model.`)
  }
  return sha256
}
