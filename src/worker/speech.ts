/** How a model speaks, as its chat template tells: what it thinks, how it calls tools, and what its answers can be held to. */
import { GatewayError } from '../errors.ts'
import { CHANNEL_MARKERS, ChannelSplitter } from './channels.ts'
import { literal, prefixed } from './grammar/join.ts'
import { heldTo } from './held.ts'
import type { Prompt } from './reader.ts'
import type { Request } from './request.ts'
import { thinksUnread, THOUGHT_MARKERS, ThoughtSplitter, type Splitter } from './thoughts.ts'
import { CallParser } from './tools/calls.ts'
import { familyOf, speaksInChannels, type Family } from './tools/family.ts'
import { callsGrammar } from './tools/forced.ts'
import type { ToolUse } from './tools/use.ts'

export class Speech {
  /** Of the model, for messages. */
  readonly #name: string
  readonly #template: string
  readonly #family: Family | null
  readonly #hasChannels: boolean

  /** @param template Jinja source, or '' */
  constructor (name: string, template: string) {
    this.#name = name
    this.#template = template
    this.#family = familyOf(template)
    this.#hasChannels = speaksInChannels(template)
  }

  /** Texts that may be control tokens of the vocabulary, which otherwise would not be seen. */
  get markers (): readonly string[] { return [...THOUGHT_MARKERS, ...this.#hasChannels ? CHANNEL_MARKERS : this.#family?.markers ?? []] }

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
    return this.#hasChannels ? `root ::= ${literal('<|channel|>final<|message|>')} said-root\n${prefixed(grammar, 'said-')}` : grammar
  }

  get #callingFamily (): Family {
    if (this.#family !== null) return this.#family
    throw new GatewayError('unsupported_value', `${this.#name} cannot call tools here: its chat template knows none, or has a form of calls that is not read. Leave tools out.`, { param: 'tools' })
  }
}
