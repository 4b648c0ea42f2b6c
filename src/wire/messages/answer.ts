/**
 * A chat completion, or its chunks, as the answer of Anthropic's Messages API. Pure.
 * Source: Messages API reference, "Streaming messages" and "Stop reasons"; read 2026-11-22.
 */
import { GatewayError } from '../../errors.ts'
import type { ChatChunk, ChatCompletion, TokenUsage } from '../chat.ts'
import { isObject, type Members } from '../check.ts'
import { usageOfChunk } from '../observe.ts'
import { errorBody } from './errors.ts'

/** What an answer has to know of its request. */
export interface AnswerFacts {
  /** Of the call: `req_…`. */
  readonly id: string
  /** As the caller named it. */
  readonly model: string
  readonly stopSequences: readonly string[]
  /** May thoughts be shown? Where the caller asked for none they are left out, and still counted. */
  readonly showsThoughts: boolean
  /** What has been counted so far, where the backend says nothing of usage. */
  readonly counted: () => { readonly input: number, readonly output: number }
}

type Choice = { finish_reason?: unknown, stop_reason?: unknown, matched_stop?: unknown, stopping_word?: unknown }
type Said = { content?: unknown, refusal?: unknown, reasoning_content?: unknown, reasoning?: unknown, tool_calls?: unknown }
type Call = { index?: number, id?: string, function?: { name?: string, arguments?: string } }

/** The whole answer. @throws GatewayError `backend_invalid_answer` for arguments of a tool that are no JSON object */
export function toMessage (completion: ChatCompletion, facts: AnswerFacts): Members {
  const choice = (completion.choices[0] ?? {}) as Choice & { message?: Said }
  const message = choice.message ?? {}
  const calls = callsOf(message)
  const isCut = choice.finish_reason === 'length'
  const thoughts = facts.showsThoughts ? thoughtsOf(message) : ''
  return {
    ...messageHead(facts),
    content: [
      ...thoughts === '' ? [] : [{ type: 'thinking', thinking: thoughts, signature: '' }],
      ...[textOf(message.content), textOf(message.refusal)].filter(text => text !== '').map(text => ({ type: 'text', text })),
      ...calls.map((call, index) => ({ type: 'tool_use', id: call.id || ownId(facts, index), name: call.function?.name ?? '', input: inputOf(call, isCut) }))
    ],
    ...ending(choice, { hasCalls: calls.length > 0, hasRefused: textOf(message.refusal) !== '' }, facts),
    usage: usageOnTheWire(usageOfChunk(completion), facts)
  }
}

function messageHead ({ id, model }: AnswerFacts): Members {
  return { id: id.replace(/^req_/, 'msg_'), type: 'message', role: 'assistant', model }
}

function textOf (value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function thoughtsOf ({ reasoning_content: content, reasoning }: Said): string {
  return textOf(content) || textOf(reasoning)
}

function callsOf ({ tool_calls: calls }: Said): Call[] {
  return Array.isArray(calls) ? calls.filter(isObject) as Call[] : []
}

/** For a backend that gives its calls no id. */
function ownId ({ id }: AnswerFacts, index: number): string {
  return `${id.replace(/^req_/, 'toolu_')}_${index}`
}

/** An answer that was cut off may end within the arguments; its stop reason says so. */
function inputOf ({ function: called }: Call, isCut: boolean): unknown {
  const json = called?.arguments ?? ''
  if (json.trim() === '') return {}
  try {
    const input: unknown = JSON.parse(json)
    if (isObject(input)) return input
  } catch {
    if (isCut) return {}
  }
  throw new GatewayError('backend_invalid_answer', 'The backend answered with arguments of a tool call that are no JSON object.')
}

const STOP_REASONS: Readonly<Record<string, string>> = {
  stop: 'end_turn', length: 'max_tokens', tool_calls: 'tool_use', function_call: 'tool_use', content_filter: 'refusal'
}

interface Told { readonly hasCalls: boolean, readonly hasRefused: boolean }

function ending (choice: Choice, { hasCalls, hasRefused }: Told, { stopSequences }: AnswerFacts): { stop_reason: string, stop_sequence: string | null } {
  const reason = STOP_REASONS[textOf(choice.finish_reason)] ?? 'end_turn'
  if (reason !== 'end_turn') return { stop_reason: reason, stop_sequence: null }
  // Some servers say "stop" where they have called a tool.
  if (hasCalls) return { stop_reason: 'tool_use', stop_sequence: null }
  if (hasRefused) return { stop_reason: 'refusal', stop_sequence: null }
  const matched = matchedStop(choice, stopSequences)
  return { stop_reason: matched === null ? 'end_turn' : 'stop_sequence', stop_sequence: matched }
}

/** Chat completions have no word for it; vLLM, SGLang and llama-server have one each. */
function matchedStop ({ stop_reason: vllm, matched_stop: sglang, stopping_word: llama }: Choice, stops: readonly string[]): string | null {
  return stops.find(stop => stop === vllm || stop === sglang || stop === llama) ?? null
}

/** Anthropic's input does not contain what was read from the cache. */
function usageOnTheWire (usage: TokenUsage | null, { counted }: AnswerFacts): Members {
  const { input, output, cachedInput, reasoning } = usage ?? { ...counted(), cachedInput: 0, reasoning: 0 }
  return {
    input_tokens: input - cachedInput,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedInput,
    output_tokens: output,
    ...reasoning > 0 && { output_tokens_details: { thinking_tokens: reasoning } }
  }
}

/** The block that is being written: its kind, and of a call of a tool which one. */
interface Open { readonly kind: 'text' | 'thinking' | 'tool_use', readonly call: number | null }

/** The same answer as it comes. One per stream; every method gives whole events, or '' . */
export class MessageStream {
  readonly #facts: AnswerFacts
  #hasBegun = false
  #open: Open | null = null
  /** Index of the next block. */
  #blocks = 0
  readonly #called = new Set<number>()
  #choice: Choice = {}
  #hasRefused = false
  #usage: TokenUsage | null = null

  constructor (facts: AnswerFacts) { this.#facts = facts }

  chunk (chunk: ChatChunk): string {
    this.#usage = usageOfChunk(chunk) ?? this.#usage
    let said = this.beginning()
    for (const choice of chunk.choices as (Choice & { delta?: Said | null })[]) {
      if (choice.delta) said += this.#delta(choice.delta)
      if (textOf(choice.finish_reason) !== '') this.#choice = choice
    }
    return said
  }

  end (): string {
    const delta = ending(this.#choice, { hasCalls: this.#called.size > 0, hasRefused: this.#hasRefused }, this.#facts)
    return this.beginning() + this.#close() +
      event('message_delta', { delta, usage: usageOnTheWire(this.#usage, this.#facts) }) +
      event('message_stop', {})
  }

  failed (error: GatewayError): string {
    const { type, ...rest } = errorBody(error, this.#facts.id)
    return event(type, rest)
  }

  /**
   * '' once it has been said. Nothing of it depends on who answers. What the prompt costs is known at the end only; until then it is
   * the gateway's own count.
   */
  beginning (): string {
    if (this.#hasBegun) return ''
    this.#hasBegun = true
    const usage = usageOnTheWire({ input: this.#facts.counted().input, output: 0, cachedInput: 0, reasoning: 0 }, this.#facts)
    const message = { ...messageHead(this.#facts), content: [], stop_reason: null, stop_sequence: null, usage }
    return event('message_start', { message }) + PING
  }

  #delta (delta: Said): string {
    let said = ''
    const thoughts = this.#facts.showsThoughts ? thoughtsOf(delta) : ''
    if (thoughts !== '') said += this.#text('thinking', thoughts)
    if (textOf(delta.content) !== '') said += this.#text('text', textOf(delta.content))
    if (textOf(delta.refusal) !== '') {
      // A block of its own, as it is a part of its own in the whole answer.
      said += this.#hasRefused ? '' : this.#close()
      this.#hasRefused = true
      said += this.#text('text', textOf(delta.refusal))
    }
    for (const call of callsOf(delta)) said += this.#call(call)
    return said
  }

  #text (kind: 'text' | 'thinking', text: string): string {
    const block = kind === 'text' ? { type: 'text', text: '' } : { type: 'thinking', thinking: '', signature: '' }
    const opening = this.#open?.kind === kind ? '' : this.#start({ kind, call: null }, block)
    return opening + this.#piece({ type: `${kind}_delta`, [kind]: text })
  }

  #call (call: Call): string {
    const number = call.index ?? (call.id ? this.#called.size : Math.max(0, this.#called.size - 1))
    let said = ''
    if (this.#open?.call !== number) {
      if (this.#called.has(number)) throw new GatewayError('backend_invalid_answer', 'The backend went back to a tool call after it had begun another block.')
      said = this.#start({ kind: 'tool_use', call: number }, { type: 'tool_use', id: call.id || ownId(this.#facts, number), name: call.function?.name ?? '', input: {} })
      this.#called.add(number)
    }
    const json = textOf(call.function?.arguments)
    return json === '' ? said : said + this.#piece({ type: 'input_json_delta', partial_json: json })
  }

  #start (open: Open, block: Members): string {
    const closing = this.#close()
    this.#open = open
    return closing + event('content_block_start', { index: this.#blocks++, content_block: block })
  }

  #piece (delta: Members): string {
    return event('content_block_delta', { index: this.#blocks - 1, delta })
  }

  #close (): string {
    if (this.#open === null) return ''
    this.#open = null
    return event('content_block_stop', { index: this.#blocks - 1 })
  }
}

/** Says nothing. */
export const PING = event('ping', {})

function event (type: string, members: Members | object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...members })}\n\n`
}
