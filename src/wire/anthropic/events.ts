/**
 * A stream of Anthropic's Messages API as a stream of chat completion chunks, in the order in which OpenAI sends them: the
 * role, content, the finish reason, usage, `[DONE]`. Source: "Streaming messages", read 2026-11-22.
 */
import { GatewayError } from '../../errors.ts'
import { isObject, type Members } from '../check.ts'
import { DONE_EVENT, EventCutter, events, type Cutter } from '../sse.ts'
import { completionId, finished, toUsage } from './answer.ts'

export interface ChunkOptions {
  /** Name of the backend, for messages. */
  readonly source: string
  readonly createdS: number
  /** The caller asked for usage, so every other chunk says that it has none, as OpenAI's do. */
  readonly hasUsage: boolean
}

interface OpenBlock {
  readonly block: Members
  /** Place among the tool calls; null for every other kind. */
  readonly call: number | null
  hasArguments: boolean
}

/** Cuts one stream, as EventCutter does, and gives canonical events in place of Anthropic's. Errors pass as they came. */
export class ChunkCutter implements Cutter {
  readonly #cutter: EventCutter
  readonly #options: ChunkOptions
  /** By Anthropic's index; one is open at a time, and gone when it stops. */
  readonly #open = new Map<unknown, OpenBlock>()
  #head: Members = {}
  #usage: Members = {}
  #calls = 0
  #hasBegun = false
  #hasFinished = false
  hasDone = false

  constructor (options: ChunkOptions) {
    this.#options = options
    this.#cutter = new EventCutter(options.source)
  }

  /** @throws GatewayError `backend_invalid_answer` for what is no stream of messages */
  push (chunk: Buffer): Buffer | null {
    const frame = this.#cutter.push(chunk)
    return frame === null ? null : this.#translated(frame)
  }

  /** After the last byte. A stream that has given its reason to stop is whole without its last event. */
  end (): Buffer | null {
    const frame = this.#cutter.end()
    const last = frame === null || frame.length === 0 ? null : this.#translated(frame)
    if (this.hasDone || !this.#hasFinished) return last
    return Buffer.concat([last ?? Buffer.alloc(0), Buffer.from(this.#end())])
  }

  #translated (frame: Buffer): Buffer | null {
    let text = ''
    for (const data of events(frame)) {
      if (this.hasDone) break
      text += this.#event(data)
    }
    return text === '' ? null : Buffer.from(text)
  }

  #event (data: string): string {
    const event = parsed(data)
    if (event === null) throw this.#invalid('sent an event that is not a JSON object')
    if (isObject(event['error'])) return `data: ${JSON.stringify({ error: event['error'] })}\n\n`
    switch (event['type']) {
      case 'message_start': return this.#begin(event['message'])
      case 'content_block_start': return this.#openBlock(event['index'], event['content_block'])
      case 'content_block_delta': return this.#delta(event['index'], event['delta'])
      case 'content_block_stop': return this.#closeBlock(event['index'])
      case 'message_delta': return this.#messageDelta(event)
      case 'message_stop': return this.#end()
      // `ping`, and what is to come: "your code should handle unknown event types gracefully".
      default: return ''
    }
  }

  #begin (message: unknown): string {
    if (!isObject(message) || this.#hasBegun) throw this.#invalid('began a message that is none')
    this.#hasBegun = true
    this.#head = { id: completionId(message['id']), object: 'chat.completion.chunk', created: this.#options.createdS, model: message['model'] }
    this.#noteUsage(message['usage'])
    return this.#chunk({ role: 'assistant', content: '', refusal: null })
  }

  #openBlock (index: unknown, block: unknown): string {
    if (!isObject(block) || this.#open.size > 0) throw this.#invalid('began a part of its answer inside another')
    const call = block['type'] === 'tool_use' ? this.#calls++ : null
    this.#open.set(index, { block, call, hasArguments: false })
    if (call !== null) return this.#chunk({ tool_calls: [{ index: call, id: block['id'], type: 'function', function: { name: block['name'], arguments: '' } }] })
    if (block['type'] === 'redacted_thinking') return this.#chunk({ thinking_blocks: [block] })
    // Empty with Anthropic; others send the beginning of the text with it.
    return this.#text(block['text']) + this.#thought(block['thinking'])
  }

  #delta (index: unknown, delta: unknown): string {
    const open = this.#open.get(index)
    if (open === undefined || !isObject(delta)) throw this.#invalid('sent a piece of no part of its answer')
    switch (delta['type']) {
      case 'text_delta': return this.#text(delta['text'])
      case 'thinking_delta': return this.#thought(delta['thinking'])
      case 'signature_delta': return this.#chunk({ thinking_blocks: [{ type: 'thinking', thinking: '', signature: delta['signature'] }] })
      case 'input_json_delta': return this.#arguments(open, delta['partial_json'])
      default: return ''
    }
  }

  #text (content: unknown): string {
    return typeof content === 'string' && content !== '' ? this.#chunk({ content }) : ''
  }

  #thought (text: unknown): string {
    return typeof text === 'string' && text !== '' ? this.#chunk({ reasoning_content: text }) : ''
  }

  #arguments (open: OpenBlock, text: unknown): string {
    if (open.call === null || typeof text !== 'string' || text === '') return ''
    open.hasArguments = true
    return this.#chunk({ tool_calls: [{ index: open.call, function: { arguments: text } }] })
  }

  /** A call without arguments has the empty object, which Anthropic does not spell out. */
  #closeBlock (index: unknown): string {
    const open = this.#open.get(index)
    this.#open.delete(index)
    if (open === undefined || open.call === null || open.hasArguments) return ''
    return this.#arguments(open, JSON.stringify(open.block['input'] ?? {}))
  }

  #messageDelta ({ delta, usage }: Members): string {
    this.#noteUsage(usage)
    if (!isObject(delta) || this.#hasFinished) return ''
    const { stop_reason: reason, stop_sequence: sequence } = delta
    if (typeof reason !== 'string') return ''
    this.#hasFinished = true
    return this.#chunk({}, finished(reason, sequence))
  }

  /** Counts are cumulative, and an event tells only some of them. */
  #noteUsage (usage: unknown): void {
    if (!isObject(usage)) return
    for (const name in usage) if (usage[name] !== null) this.#usage[name] = usage[name]
  }

  #end (): string {
    this.hasDone = true
    const usage = toUsage(this.#usage)
    const last = usage === null ? '' : `data: ${JSON.stringify({ ...this.#head, choices: [], usage })}\n\n`
    return last + DONE_EVENT.toString('latin1')
  }

  #chunk (delta: Members, end: Members = { finish_reason: null }): string {
    if (!this.#hasBegun) throw this.#invalid('sent a part of an answer before its beginning')
    const choices = [{ index: 0, delta, logprobs: null, ...end }]
    return `data: ${JSON.stringify({ ...this.#head, choices, ...this.#options.hasUsage && { usage: null } })}\n\n`
  }

  #invalid (what: string): GatewayError {
    return new GatewayError('backend_invalid_answer', `${this.#options.source} ${what}.`)
  }
}

function parsed (data: string): Members | null {
  try {
    const value: unknown = JSON.parse(data)
    return isObject(value) ? value : null
  } catch {
    return null
  }
}
