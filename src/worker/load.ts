/** From a file to a model that answers: checked, loaded, tried out. */
import { statSync } from 'node:fs'
import { sha256OfFile } from '../models/digest.ts'
import { readGguf, type GgufHead } from '../models/gguf.ts'
import { GatewayError } from '../errors.ts'
import { Batch } from './batch.ts'
import { GREEDY, type CompiledGrammar } from './engine.ts'
import { heldTo } from './held.ts'
import type { Embedder } from './embedder.ts'
import { loadLlama, type Gpu, type LlamaEngine } from './llama.ts'
import type { Spell } from './logprobs.ts'
import type { Request } from './request.ts'
import { ChatTemplate, type Conversation } from './template.ts'
import type { Detokenize } from './text.ts'
import { optionalThought, THOUGHT_MARKERS, thinksUnread, thoughtBegunBy, type ThoughtMarker } from './thoughts.ts'
import { CallParser } from './tools/calls.ts'
import { familyOf, type Family } from './tools/family.ts'
import { callsGrammar } from './tools/forced.ts'
import { wantsShortIds, withShortIds } from './tools/ids.ts'
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
  /** Digest that the file must have. */
  readonly sha256?: string | undefined
}

export interface LoadEvents {
  readonly signal: AbortSignal
  onProgress (fraction: number): void
  log (line: string): void
}

/** Reading the whole file for its digest, as a share of the load. */
const DIGEST_SHARE = 0.4
const TRIAL: Conversation = { messages: [{ role: 'user', content: 'Hi' }], tools: null, variables: {} }

export interface Prompt {
  readonly tokens: readonly number[]
  /** That the template has begun for the model, or null. */
  readonly thought: ThoughtMarker | null
  /** That the model may begin by itself, or null. */
  readonly mayThink: ThoughtMarker | null
}

/** A loaded model with its tokenizer, its chat template and its scheduler. */
export class Model {
  readonly name: string
  readonly batch: Batch
  /** `fp_` and the beginning of the file's digest: the same file answers the same. */
  readonly fingerprint: string
  readonly #engine: LlamaEngine
  readonly #template: ChatTemplate
  readonly #templateText: string
  readonly #longestTokenBytes: number
  readonly #family: Family | null
  readonly #wantsShortIds: boolean
  /** Tokens of markers that would not be seen. */
  readonly #markers: ReadonlyMap<number, string>

  constructor (name: string, engine: LlamaEngine, head: GgufHead, sha256: string) {
    this.name = name
    this.fingerprint = `fp_${sha256.slice(0, 10)}`
    this.#engine = engine
    this.#longestTokenBytes = head.longestTokenBytes
    this.#template = new ChatTemplate(head.chatTemplates, engine)
    const template = head.chatTemplates.get('tool_use') ?? head.chatTemplates.get('default') ?? ''
    this.#templateText = template
    this.#family = familyOf(template)
    this.#wantsShortIds = wantsShortIds(template)
    this.#markers = markersOf([...THOUGHT_MARKERS, ...this.#family?.markers ?? []], engine)
    this.batch = new Batch(engine)
  }

  get slots (): number { return this.#engine.slots }
  get contextTokens (): number { return this.#engine.contextTokens }
  get vocabularySize (): number { return this.#engine.vocabularySize }
  get memoryBytes (): number { return this.#engine.memoryBytes }
  get device (): string { return this.#engine.device }
  get embedder (): Embedder { return this.#engine.embedder }

  /**
   * A piece of input as it is: text in which nothing becomes a control token, or tokens that the caller has made.
   * @param param what to call it
   * @throws GatewayError `context_length_exceeded` for a text that cannot fit, `invalid_value` for a token that is none
   */
  inputTokens (given: string | readonly number[], param: string): readonly number[] {
    if (typeof given === 'string') {
      this.#checkSize(given, param)
      return this.#engine.tokenizePlain(given)
    }
    const wrong = given.findIndex(token => token >= this.vocabularySize)
    if (wrong < 0) return given
    throw new GatewayError('invalid_value', `${param}[${wrong}] is no token of ${this.name}, which has those from 0 to ${this.vocabularySize - 1}.`, { param: `${param}[${wrong}]` })
  }

  /**
   * A text as the caller wrote it, without a chat template.
   * @param isPrompt begins with the token that the model wants first. @param hasControls texts of control tokens become those
   * @throws GatewayError `context_length_exceeded` for a text that cannot fit
   */
  promptTokens (text: string, { isPrompt, hasControls, param }: { isPrompt: boolean, hasControls: boolean, param: string }): readonly number[] {
    this.#checkSize(text, param)
    const tokens = hasControls ? this.#engine.tokenize(text) : this.#engine.tokenizePlain(text)
    const { leadingToken } = this.#engine
    return !isPrompt || leadingToken === null || tokens[0] === leadingToken ? tokens : [leadingToken, ...tokens]
  }

  /**
   * A prompt without a chat template, with room for one token of answer at least. It is the caller's alone, so texts of
   * control tokens in it become those.
   * @param suffix what follows the gap that is to be filled
   * @throws GatewayError `context_length_exceeded`, or `unsupported_value` when the model fills no gaps
   */
  rawPrompt (given: string | readonly number[], { param, suffix }: { param: string, suffix: string | null }): readonly number[] {
    const tokens = typeof given === 'string' ? this.promptTokens(given, { isPrompt: suffix === null, hasControls: true, param }) : this.inputTokens(given, param)
    const whole = suffix === null ? tokens : this.#around(tokens, suffix)
    if (whole.length === 0) throw new GatewayError('invalid_value', `${param} is empty, and ${this.name} has no token to begin with.`, { param })
    if (whole.length >= this.contextTokens) throw this.#tooLong(String(whole.length), param)
    return whole
  }

  #around (before: readonly number[], suffix: string): readonly number[] {
    const gap = this.#engine.gapTokens
    if (gap === null) throw new GatewayError('unsupported_value', `${this.name} was not trained to fill gaps; leave suffix out.`, { param: 'suffix' })
    return [gap.prefix, ...before, gap.suffix, ...this.inputTokens(suffix, 'suffix'), gap.middle]
  }

  /** Control tokens in it are written out. */
  textOf (tokens: readonly number[]): string { return this.#engine.spellOut(tokens) }

  /** Tokenising a megabyte takes 0.2 s in which no answer goes on; what cannot fit is refused by its size alone. */
  #checkSize (text: string, param: string): void {
    const least = Math.ceil(Buffer.byteLength(text) / Math.max(1, this.#longestTokenBytes))
    if (least > this.contextTokens) throw this.#tooLong(`at least ${least}`, param)
  }

  /**
   * The prompt in tokens, with room for one token of answer at least. Nothing is ever cut off.
   * @throws GatewayError `context_length_exceeded`
   */
  prompt (conversation: Conversation): Prompt {
    const { messages } = conversation
    const texts = this.#template.render({ ...conversation, messages: this.#wantsShortIds ? withShortIds(messages) : messages })
    // Tokenising a megabyte takes 0.2 s in which no answer goes on; what cannot fit is refused by its size alone.
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
    const least = Math.ceil(bytes / Math.max(1, this.#longestTokenBytes))
    if (least >= this.contextTokens) throw this.#tooLong(`at least ${least}`)
    const tokens = this.#template.tokens(texts)
    if (tokens.length >= this.contextTokens) throw this.#tooLong(String(tokens.length))
    const end = texts.at(-1) ?? ''
    return { tokens, thought: thoughtBegunBy(end), mayThink: optionalThought(end, this.#templateText) }
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
   * Makes what reads the calls of an answer.
   * @throws GatewayError `unsupported_value` when the model cannot call tools
   */
  caller (use: ToolUse): () => CallParser {
    const family = this.#callingFamily
    const names = new Set(use.offered.map(({ name }) => name))
    return () => new CallParser(family, names)
  }

  /**
   * What an answer is held to that has to be a call, or of a form: then it may be a call as well, if tools are offered.
   * Thoughts before it are free.
   * @returns null when nothing is asked of it
   * @throws GatewayError `unsupported_value` when the model cannot be held to that; `param` says to what
   */
  held ({ tools, format }: Pick<Request, 'tools' | 'format'>, { thought, mayThink }: Prompt): CompiledGrammar | null {
    const isForced = tools?.isForced === true
    if (!isForced && format === null) return null
    const param = isForced || format === null ? 'tools' : format.param
    if (thinksUnread(this.#templateText)) {
      throw new GatewayError('unsupported_value', `${param}: ${this.name} thinks in a form that is not told from its answer here, so the answer cannot be held to this.`, { param })
    }
    const calls = tools === null ? [] : [callsGrammar(this.#callingFamily, tools)]
    const forms = isForced || format === null ? calls : [...calls, format.grammar]
    return this.#grammar(heldTo({ forms, thought: thought ?? mayThink, isBegun: thought !== null }), param)
  }

  get #callingFamily (): Family {
    if (this.#family !== null) return this.#family
    throw new GatewayError('unsupported_value', `${this.name} cannot call tools here: its chat template knows none, or has a form of calls that is not read. Leave tools out.`, { param: 'tools' })
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
    const { tokens: prompt } = this.prompt(TRIAL)
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

  #tooLong (tokens: string, param = 'messages'): GatewayError {
    const most = this.contextTokens
    return new GatewayError('context_length_exceeded',
      `The ${param === 'messages' ? 'prompt' : param} has ${tokens} tokens; the context of ${this.name} holds ${most}, answer included. Send at most ${most - 1} tokens.`, { param })
  }
}

/** @throws Error in words for an operator, or `signal.reason` */
export async function loadModel (options: ModelOptions, events: LoadEvents): Promise<Model> {
  const { model: path, slots, contextTokens, batchTokens, threads, gpu } = options
  const head = readGguf(path)
  if (head.splits > 1) throw new Error(`${path}: one of ${head.splits} parts; merge them into one file first.`)
  const sha256 = await checkDigest(options, events)
  const engine = await loadLlama({
    path, slots, contextTokens, batchTokens, threads, gpu,
    vocabularySize: head.vocabularySize,
    meansOf: head.pooling === null ? head.architecture : undefined,
    signal: events.signal,
    onProgress: fraction => { events.onProgress(DIGEST_SHARE + (1 - DIGEST_SHARE) * fraction) },
    log: events.log
  })
  const model = new Model(options.name, engine, head, sha256)
  await model.tryOut(events.signal)
  return model
}

async function checkDigest ({ model: path, sha256: expected }: ModelOptions, { signal, onProgress }: LoadEvents): Promise<string> {
  const { size } = statSync(path)
  const sha256 = await sha256OfFile(path, { signal, onProgress: bytes => { onProgress(DIGEST_SHARE * bytes / size) } })
  if (expected !== undefined && sha256 !== expected) {
    throw new Error(`${path}: expected sha256 ${expected}, but the file has ${sha256}; it is damaged or another model.`)
  }
  return sha256
}
