/** How a model speaks, as its chat template tells: what it thinks, how it calls tools, and what its answers can be held to. */
import { GatewayError } from '../errors.ts'
import { CHANNEL_MARKERS, ChannelSplitter } from './channels.ts'
import { NOTHING_ASKED, planThought, THINKING_TOKENS, type ThinkingTokens, type ThoughtPlan } from './effort.ts'
import { literal, prefixed } from './grammar/join.ts'
import { heldTo } from './held.ts'
import type { Prompt } from './reader.ts'
import type { Request } from './request.ts'
import type { Conversation } from './template.ts'
import { endOfThought, thinksUnread, THOUGHT_MARKERS, ThoughtSplitter, type Splitter, type ThoughtMarker } from './thoughts.ts'
import { CallParser } from './tools/calls.ts'
import { familyOf, speaksInChannels, type Family } from './tools/family.ts'
import { callsGrammar } from './tools/forced.ts'
import type { ToolUse } from './tools/use.ts'

/** Head of what is said to the user. */
const FINAL = '<|channel|>final<|message|>'

export class Speech {
  /** Of the model, for messages. */
  readonly #name: string
  readonly #template: string
  readonly #family: Family | null
  readonly #hasChannels: boolean
  readonly #thinkingTokens: ThinkingTokens

  /** @param template Jinja source, or ''. @param thinkingTokens instead of what is usual */
  constructor (name: string, template: string, thinkingTokens: ThinkingTokens = {}) {
    this.#name = name
    this.#thinkingTokens = { ...THINKING_TOKENS, ...thinkingTokens }
    this.#template = template
    this.#family = familyOf(template)
    this.#hasChannels = speaksInChannels(template)
  }

  /** Texts that may be control tokens of the vocabulary, which otherwise would not be seen. */
  get markers (): readonly string[] { return [...THOUGHT_MARKERS, ...this.#hasChannels ? CHANNEL_MARKERS : this.#family?.markers ?? []] }

  /** @throws GatewayError where the model can do nothing of what it is asked to think */
  thinking ({ thought = NOTHING_ASKED, variables }: Conversation): ThoughtPlan {
    return planThought(thought, variables, { name: this.#name, template: this.#template, configured: this.#thinkingTokens })
  }

  /**
   * What ends a thought that has had its tokens: the first time, the second, … Who speaks in channels may begin another
   * one where it could as well call a tool; then it is made to answer.
   */
  endings (marker: ThoughtMarker, tools: ToolUse | null): readonly string[] {
    const end = endOfThought(marker)
    if (!this.#hasChannels) return [end]
    return tools === null ? [end + FINAL] : [end, end + FINAL]
  }

  /** What takes an answer to this prompt apart. */
  splitter ({ thought }: Prompt, tools: ToolUse | null): Splitter {
    return this.#hasChannels ? new ChannelSplitter(tools !== null) : new ThoughtSplitter(thought)
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
   * The grammar of an answer that has to be a call, or of a form: then it may be a call as well, if tools are offered.
   * Thoughts before it are free.
   * @returns null when nothing is asked of it
   * @throws GatewayError `unsupported_value` when the model cannot be held to that; `param` says to what
   */
  grammar ({ tools, format }: Pick<Request, 'tools' | 'format'>, { thought, mayThink }: Prompt): { readonly gbnf: string, readonly param: string } | null {
    const isForced = tools?.isForced === true
    if (!isForced && format === null) return null
    const param = isForced || format === null ? 'tools' : format.param
    if (thinksUnread(this.#template)) {
      throw new GatewayError('unsupported_value', `${param}: ${this.#name} thinks in a form that is not told from its answer here, so the answer cannot be held to this.`, { param })
    }
    const calls = tools === null ? [] : [callsGrammar(this.#callingFamily, tools)]
    const forms = isForced || format === null ? calls : [...calls, this.#said(format.grammar)]
    return { gbnf: heldTo({ forms, thought: thought ?? mayThink, isBegun: thought !== null }), param }
  }

  /** Where words stand that are said to the user. */
  #said (grammar: string): string {
    return this.#hasChannels ? `root ::= ${literal(FINAL)} said-root\n${prefixed(grammar, 'said-')}` : grammar
  }

  get #callingFamily (): Family {
    if (this.#family !== null) return this.#family
    throw new GatewayError('unsupported_value', `${this.#name} cannot call tools here: its chat template knows none, or has a form of calls that is not read. Leave tools out.`, { param: 'tools' })
  }
}
