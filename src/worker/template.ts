/**
 * Messages to tokens, by the chat template that the model brings. The template alone may write control tokens: what
 * users, tools and earlier answers say can never open or close a turn.
 */
import { randomInt } from 'node:crypto'
import { createContext, Script } from 'node:vm'
import { Template } from '@huggingface/jinja'
import { GatewayError } from '../errors.ts'
import { CHANNEL_MARKERS } from './channels.ts'
import type { AskedThought } from './effort.ts'
import { familyOf, speaksInChannels, type Family } from './tools/family.ts'

/** What is needed to know of a tokenizer. */
export interface Vocabulary {
  readonly bosText: string
  readonly eosText: string
  /** The token to begin a prompt with, or null when the model wants none. */
  readonly leadingToken: number | null
  /** Texts that `tokenize` turns into control tokens. */
  controlTexts (): readonly string[]
  tokenize (text: string): number[]
}

export interface Conversation {
  readonly messages: readonly Record<string, unknown>[]
  readonly tools: readonly unknown[] | null
  /** Further variables for the template, as `chat_template_kwargs` of the request. */
  readonly variables: Readonly<Record<string, unknown>>
  /** How much the model is asked to think; nothing is said of it if left out. */
  readonly thought?: AskedThought
}

type Message = Readonly<Record<string, unknown>>

const COMPILE_MS = 5000
const RENDER_MS = 1000

export class ChatTemplate {
  readonly #plain: Compiled
  readonly #withTools: Compiled
  readonly #vocabulary: Vocabulary
  readonly #controls: ControlTexts
  /** Tells the model of its tools where the template does not. */
  readonly #introduce: Family['introduce']

  /**
   * @param sources by name, `default` among them; `tool_use` is taken when there are tools
   * @throws Error when it is no Jinja, in words for an operator
   */
  constructor (sources: ReadonlyMap<string, string>, vocabulary: Vocabulary) {
    const source = sources.get('default') ?? ''
    this.#plain = new Compiled(source)
    const toolUse = sources.get('tool_use')
    this.#withTools = toolUse === undefined ? this.#plain : new Compiled(toolUse)
    this.#vocabulary = vocabulary
    // Some of these llama.cpp does not list as control tokens, and makes of them what they are all the same.
    this.#controls = new ControlTexts([...vocabulary.controlTexts(), ...speaksInChannels(source) ? CHANNEL_MARKERS : []])
    this.#introduce = familyOf(toolUse ?? source)?.introduce ?? null
  }

  /**
   * The prompt, as texts that are tokenised one by one. It is a single text, exactly what the template wrote, unless
   * somebody's words contain the text of a control token; then each such word is cut in two.
   * @throws GatewayError `unsupported_value` when the template refuses the messages or takes too long
   */
  render ({ messages, tools, variables }: Conversation): string[] {
    const template = tools === null ? this.#plain : this.#withTools
    const mark = markNotIn(JSON.stringify([messages, tools, variables]))
    const said = this.#controls.cut({ messages, tools, variables }, mark)
    const rendered = template.render({
      ...said.variables,
      messages: this.#introduced(said.messages.map((message, i) => template.message({ ...message, role: messages[i]?.['role'] })), said.tools),
      ...said.tools === null ? {} : { tools: said.tools.map(tool => template.tool(tool)) },
      add_generation_prompt: true,
      bos_token: this.#vocabulary.bosText,
      eos_token: this.#vocabulary.eosText
    })
    return rendered.split(mark).filter(text => text !== '')
  }

  /** Behind what the caller has cut already: control texts in an introduction are meant. */
  #introduced (messages: readonly Message[], tools: readonly unknown[] | null): readonly Message[] {
    if (tools === null || this.#introduce === null || this.#withTools.knowsTools) return messages
    const [first, ...rest] = messages
    const text = this.#introduce(tools)
    if (first?.['role'] !== 'system') return [{ role: 'system', content: text }, ...messages]
    return [{ ...first, content: `${String(first['content'])}\n\n${text}` }, ...rest]
  }

  /** @param texts what `render` gave. Begins with the token that the model wants first, once. */
  tokens (texts: readonly string[]): number[] {
    const { leadingToken } = this.#vocabulary
    const tokens = texts.flatMap(text => this.#vocabulary.tokenize(text))
    return leadingToken === null || tokens[0] === leadingToken ? tokens : [leadingToken, ...tokens]
  }
}

/**
 * Cuts control texts apart, wherever they stand in what a caller sent. It would be no use to mark where contents begin
 * and end instead: templates trim, split and quote contents, and then the marks no longer tell whose a piece is. A
 * mark inside the dangerous word stays inside it, whatever the template does; and where there is no dangerous word,
 * which is nearly always, the prompt is tokenised in one piece, just as the model was trained.
 */
export class ControlTexts {
  readonly #whole: RegExp | null
  readonly #longest: number
  /** The end of one content and the beginning of the next could make up a control text between them. */
  readonly #beginnings = new Set<string>()
  readonly #endings = new Set<string>()

  constructor (texts: readonly string[]) {
    const longestFirst = texts.filter(text => text.length > 1).toSorted((a, b) => b.length - a.length)
    this.#whole = longestFirst.length === 0 ? null : new RegExp(longestFirst.map(literally).join('|'), 'g')
    this.#longest = longestFirst[0]?.length ?? 0
    for (const text of longestFirst) {
      for (let at = 1; at < text.length; at++) {
        this.#beginnings.add(text.slice(0, at))
        this.#endings.add(text.slice(at))
      }
    }
  }

  /** A copy of `value`, every string and every name of a member in it cut by `mark` where that is needed. */
  cut<T> (value: T, mark: string): T {
    if (this.#whole === null) return value
    return mapStrings(value, text => this.#cutEdges(text, mark), name => this.#cutWhole(name, mark)) as T
  }

  #cutEdges (text: string, mark: string): string {
    return (this.#beginsLikeAnEnd(text) ? mark : '') + this.#cutWhole(text, mark) + (this.#endsLikeABeginning(text) ? mark : '')
  }

  #cutWhole (text: string, mark: string): string {
    let cut = ''
    let from = 0
    const whole = this.#whole!
    // Continues one character after each find, so that overlapping control texts are all cut.
    for (whole.lastIndex = 0; ;) {
      const found = whole.exec(text)
      if (found === null) break
      whole.lastIndex = found.index + 1
      cut += text.slice(from, whole.lastIndex) + mark
      from = whole.lastIndex
    }
    return cut + text.slice(from)
  }

  #beginsLikeAnEnd (text: string): boolean {
    for (let length = Math.min(text.length, this.#longest); length > 0; length--) {
      if (this.#endings.has(text.slice(0, length))) return true
    }
    return false
  }

  #endsLikeABeginning (text: string): boolean {
    for (let length = Math.min(text.length, this.#longest); length > 0; length--) {
      if (this.#beginnings.has(text.slice(-length))) return true
    }
    return false
  }
}

function literally (text: string): string { return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&') }

/** Recursion is as deep as the body may be nested (wire/scan.ts). */
function mapStrings (value: unknown, text: (text: string) => string, name: (name: string) => string): unknown {
  if (typeof value === 'string') return text(value)
  if (Array.isArray(value)) return value.map(item => mapStrings(item, text, name))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [name(key), mapStrings(member, text, name)]))
}

/** Private-use characters, drawn anew for each prompt: no text can hold them on purpose, and none is refused for them. */
export function markNotIn (text: string): string {
  for (;;) {
    const mark = Array.from({ length: 4 }, () => String.fromCharCode(randomInt(0xE000, 0xF900))).join('')
    if (!text.includes(mark)) return mark
  }
}

/**
 * A template that cannot hang the worker: compiling and rendering are ended by force when their time is over. In its
 * second a hostile one, say with `range(10**9)`, can take some 600 MB of memory, which are then given back.
 */
class Compiled {
  readonly #source: string
  readonly #template: Template
  /** Nearly all templates take the arguments of calls as an object, a few as its JSON. */
  readonly #wantsText: boolean

  constructor (source: string) {
    this.#source = source
    this.#template = compiled(source)
    this.#wantsText = source.includes('arguments') && !this.#shows(TRIED) && this.#shows(withTextArguments(TRIED))
  }

  /** Do the arguments of a call come out as they went in? */
  #shows (call: unknown): boolean {
    try {
      return this.render({ messages: [{ role: 'user', content: 'Hi' }, { role: 'assistant', content: '', tool_calls: [call] }], add_generation_prompt: false }).includes(TRIED_MEMBER)
    } catch {
      // A template that refuses calls, or knows none, shows no arguments either way.
      return false
    }
  }

  get knowsTools (): boolean { return /\btools\b/.test(this.#source) }

  /** As this template takes it. */
  message (message: Message): Message {
    const { tool_calls: calls, ...rest } = message
    const { role, content, reasoning_content: thought } = rest
    const hasCalls = Array.isArray(calls) && calls.length > 0
    return {
      ...rest,
      // Most templates know no developer and would write its name into the prompt, where the model has never seen it.
      ...role === 'developer' && !this.#source.includes('developer') && { role: 'system' },
      // gpt-oss takes one of them beside calls, and shows either as thought.
      ...typeof thought === 'string' && this.#source.includes('.thinking') && !(hasCalls && content !== '') && { thinking: thought },
      // Several templates ask only whether there is such a member.
      ...hasCalls && { tool_calls: this.#wantsText ? calls.map(withTextArguments) : calls }
    }
  }

  /** gpt-oss wants every tool described. */
  tool (tool: unknown): unknown {
    const { function: declared } = tool as { function?: Message }
    if (declared === undefined || typeof declared['description'] === 'string' || !speaksInChannels(this.#source)) return tool
    return { ...tool as Message, function: { ...declared, description: '' } }
  }

  render (variables: Record<string, unknown>): string {
    try {
      return within(RENDER_MS, () => this.#template.render(variables))
    } catch (thrown) {
      throw new GatewayError('unsupported_value', `The chat template of the model refuses these messages${this.#reason(thrown)}.`, { param: 'messages', cause: thrown })
    }
  }

  /** What the template said, if it is its own fixed words: a message made up of contents must not leave the worker. */
  #reason (thrown: unknown): string {
    const said = thrown instanceof Error ? thrown.message : ''
    return said !== '' && said.length < 300 && this.#source.includes(said) ? `: ${said.replace(/\.$/, '')}` : ''
  }
}

function compiled (source: string): Template {
  try {
    return within(COMPILE_MS, () => new Template(source))
  } catch (cause) {
    throw new Error(`The chat template cannot be read: ${(cause as Error).message}. ${ANOTHER_TEMPLATE}`, { cause })
  }
}

/** What an operator can do about one that does not work. */
export const ANOTHER_TEMPLATE = 'Give the model another one by chatTemplate: chatml, or a file.'

const TRIED_MEMBER = 'torchgate_argument'
const TRIED = { id: 'call00000', type: 'function', function: { name: 'try', arguments: { [TRIED_MEMBER]: 1 } } }

function withTextArguments (call: unknown): unknown {
  const { function: called } = call as { function?: { arguments?: unknown } }
  if (typeof called?.arguments !== 'object') return call
  return { ...call as Message, function: { ...called, arguments: JSON.stringify(called.arguments) } }
}

const CALL = new Script('call()')
const sandbox = createContext({ call: null })

/** Runs `call`, and ends it by force after `ms`. The vm module is used for its timeout, not for isolation. */
function within<T> (ms: number, call: () => T): T {
  sandbox['call'] = call
  return CALL.runInContext(sandbox, { timeout: ms }) as T
}
