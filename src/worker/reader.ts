/** From texts and conversations to tokens and back, as one model reads them. Needs its vocabulary alone. */
import { GatewayError } from '../errors.ts'
import type { GgufHead } from '../models/gguf.ts'
import type { ThinkingTokens } from './effort.ts'
import { Speech } from './speech.ts'
import { ChatTemplate, type Conversation, type Vocabulary } from './template.ts'
import { emptyThought, endOfThought, optionalThought, thoughtBegunBy, type ThoughtMarker } from './thoughts.ts'
import { wantsShortIds, withShortIds } from './tools/ids.ts'

/** The vocabulary of a model, and how much of it fits. */
export interface Lexicon extends Vocabulary {
  readonly vocabularySize: number
  /** Longest prompt plus answer. */
  readonly contextTokens: number
  /** What stands around the two sides of a gap to be filled, or null when the model was not trained to. */
  readonly gapTokens: { readonly prefix: number, readonly suffix: number, readonly middle: number } | null
  /** What looks like a control token stays text. */
  tokenizePlain (text: string): number[]
  /** The whole text, control tokens written out. */
  spellOut (tokens: readonly number[]): string
}

export interface Prompt {
  readonly tokens: readonly number[]
  /** That the template has begun for the model, or null. */
  readonly thought: ThoughtMarker | null
  /** That the model may begin by itself, or null. */
  readonly mayThink: ThoughtMarker | null
  /** How much of it there may be; null without a limit, or where the model does not think. */
  readonly limit: { readonly marker: ThoughtMarker, readonly mostTokens: number } | null
}

/** What a model makes of what it is given. */
export class Reader {
  readonly name: string
  readonly speech: Speech
  readonly #lexicon: Lexicon
  readonly #head: GgufHead
  readonly #template: ChatTemplate | null
  readonly #wantsShortIds: boolean

  /** @throws Error when its chat template is no Jinja */
  constructor (name: string, lexicon: Lexicon, head: GgufHead, thinkingTokens: ThinkingTokens = {}) {
    this.name = name
    this.#lexicon = lexicon
    this.#head = head
    this.#template = head.writes && head.chatTemplates.has('default') ? new ChatTemplate(head.chatTemplates, lexicon) : null
    this.speech = new Speech(name, this.templateText, thinkingTokens)
    this.#wantsShortIds = wantsShortIds(this.templateText)
  }

  get contextTokens (): number { return this.#lexicon.contextTokens }
  /** It reads conversations. */
  get hasTemplate (): boolean { return this.#template !== null }
  get vocabularySize (): number { return this.#lexicon.vocabularySize }

  /** Jinja source, or '' where there is none. */
  protected get templateText (): string {
    const { chatTemplates } = this.#head
    return chatTemplates.get('tool_use') ?? chatTemplates.get('default') ?? ''
  }

  /**
   * A piece of input as it is: text in which nothing becomes a control token, or tokens that the caller has made.
   * @param param what to call it
   * @throws GatewayError `context_length_exceeded` for a text that cannot fit, `invalid_value` for a token that is none
   */
  inputTokens (given: string | readonly number[], param: string): readonly number[] {
    if (typeof given === 'string') {
      this.#checkSize(given, param)
      return this.#lexicon.tokenizePlain(given)
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
    const tokens = hasControls ? this.#lexicon.tokenize(text) : this.#lexicon.tokenizePlain(text)
    const { leadingToken } = this.#lexicon
    return !isPrompt || leadingToken === null || tokens[0] === leadingToken ? tokens : [leadingToken, ...tokens]
  }

  /**
   * A prompt without a chat template, with room for one token of answer at least. It is the caller's alone, so texts of
   * control tokens in it become those.
   * @param suffix what follows the gap that is to be filled
   * @throws GatewayError `context_length_exceeded`, or `unsupported_value` when the model fills no gaps or does not write
   */
  rawPrompt (given: string | readonly number[], { param, suffix }: { param: string, suffix: string | null }): readonly number[] {
    if (!this.#head.writes) throw this.#writesNothing()
    const tokens = typeof given === 'string' ? this.promptTokens(given, { isPrompt: suffix === null, hasControls: true, param }) : this.inputTokens(given, param)
    const whole = suffix === null ? tokens : this.#around(tokens, suffix)
    if (whole.length === 0) throw new GatewayError('invalid_value', `${param} is empty, and ${this.name} has no token to begin with.`, { param })
    if (whole.length >= this.contextTokens) throw this.#tooLong(String(whole.length), param)
    return whole
  }

  #around (before: readonly number[], suffix: string): readonly number[] {
    const gap = this.#lexicon.gapTokens
    if (gap === null) throw new GatewayError('unsupported_value', `${this.name} was not trained to fill gaps; leave suffix out.`, { param: 'suffix' })
    return [gap.prefix, ...before, gap.suffix, ...this.inputTokens(suffix, 'suffix'), gap.middle]
  }

  /** Control tokens in it are written out. */
  textOf (tokens: readonly number[]): string { return this.#lexicon.spellOut(tokens) }

  /** Tokenising a megabyte takes 0.2 s in which no answer goes on; what cannot fit is refused by its size alone. */
  #checkSize (text: string, param: string): void {
    const least = Math.ceil(Buffer.byteLength(text) / Math.max(1, this.#head.longestTokenBytes))
    if (least > this.contextTokens) throw this.#tooLong(`at least ${least}`, param)
  }

  /**
   * The prompt in tokens, with room for one token of answer at least. Nothing is ever cut off.
   * @throws GatewayError `context_length_exceeded`, or `unsupported_value` when the model does not write
   */
  prompt (conversation: Conversation): Prompt {
    const prompt = this.#read(conversation)
    if (prompt.tokens.length >= this.contextTokens) throw this.#tooLong(String(prompt.tokens.length))
    return prompt
  }

  /**
   * Tokens of the prompt, also where they are a few too many.
   * @throws GatewayError as `prompt`, when they are too many by far
   */
  count (conversation: Conversation): number { return this.#read(conversation).tokens.length }

  #read (conversation: Conversation): Prompt {
    const { messages } = conversation
    const { variables, mostTokens } = this.speech.thinking(conversation)
    const template = this.#template
    if (template === null) throw this.#head.writes ? this.#hasNoTemplate() : this.#writesNothing()
    const texts = template.render({ ...conversation, variables, messages: this.#wantsShortIds ? withShortIds(messages) : messages })
    // Tokenising a megabyte takes 0.2 s in which no answer goes on; what cannot fit is refused by its size alone.
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
    const least = Math.ceil(bytes / Math.max(1, this.#head.longestTokenBytes))
    if (least >= this.contextTokens) throw this.#tooLong(`at least ${least}`)
    const { end, ...thinking } = this.#thinkingBehind(texts.pop() ?? '', mostTokens)
    return { tokens: template.tokens([...texts, end]), ...thinking }
  }

  /** Where a model is not to think, its thought stands in the prompt, and is over. */
  #thinkingBehind (end: string, mostTokens: number): Omit<Prompt, 'tokens'> & { readonly end: string } {
    const thought = thoughtBegunBy(end)
    const marker = thought ?? optionalThought(end, this.templateText)
    const limit = marker === null || mostTokens === Infinity ? null : { marker, mostTokens }
    if (marker === null || mostTokens > 0) return { end, thought, mayThink: marker, limit }
    return { end: end + (thought === null ? emptyThought(marker) : endOfThought(marker)), thought: null, mayThink: null, limit }
  }

  #writesNothing (): GatewayError {
    return new GatewayError('unsupported_value', `${this.name} ${this.#head.isRanker ? 'ranks documents' : 'makes embeddings'} and writes nothing.`, { param: 'model' })
  }

  #hasNoTemplate (): GatewayError {
    return new GatewayError('unsupported_value',
      `${this.name} has no chat template, so it answers no chats. Give it one by chatTemplate in its configuration, or call /v1/completions.`, { param: 'model' })
  }

  #tooLong (tokens: string, param = 'messages'): GatewayError {
    const most = this.contextTokens
    return new GatewayError('context_length_exceeded',
      `The ${param === 'messages' ? 'prompt' : param} has ${tokens} tokens; the context of ${this.name} holds ${most}, answer included. Send at most ${most - 1} tokens.`, { param })
  }
}
