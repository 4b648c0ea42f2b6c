/**
 * One answer: chat chunks in, events and at the end a response out. A whole chat completion is taken as one chunk, so that
 * a stream and a body of the same call say the same.
 * Source of names and order: OpenAI API reference, "Responses streaming events"; Open Responses, 2026-04-24; read 2026-11-22.
 */
import { GatewayError } from '../../errors.ts'
import type { ChatChunk, ChatCompletion, ChatUsage } from '../chat.ts'
import type { Members } from '../check.ts'
import { itemId, newId } from './ids.ts'
import { CallItem, MessageItem, ReasoningItem, type Item, type Say } from './output.ts'
import type { ResponseRequest } from './request.ts'

/** Longest answer that is gathered: its last event holds all of it. In UTF-16 units. */
const MOST_CHARACTERS = 16 * 1024 * 1024
const MOST_CALLS = 128

export interface Facts {
  /** Of the response; a new one if left out. */
  readonly id?: string
  readonly request: ResponseRequest
  /** Whether the response will be kept. */
  readonly stored: boolean
  /** Told of the response when it has come to its end, before the caller is. */
  readonly onEnd?: (response: Members) => void
}

export class ResponseAnswer {
  readonly id: string
  readonly #facts: Facts
  readonly #createdAt = seconds()
  readonly #items: Item[] = []
  readonly #calls = new Map<number, CallItem>()
  #open: MessageItem | ReasoningItem | null = null
  #finish: string | null = null
  #usage: ChatUsage | null = null
  #tier: unknown
  #characters = 0
  #sequence = 0
  #said = ''
  #begun = false
  #ended = false

  constructor (facts: Facts) {
    this.#facts = facts
    this.id = facts.id ?? newId('resp')
  }

  /** The response to a call that was not streamed. */
  whole (completion: ChatCompletion): Members {
    const choice = completion.choices[0]
    if (choice === undefined) throw new GatewayError('backend_invalid_answer', 'The backend sent a chat completion without a choice.')
    const { tool_calls: calls, ...message } = choice.message
    const delta = { ...message, ...calls !== undefined && { tool_calls: calls.map((call, index) => ({ index, ...call })) } }
    this.chunk({ ...completion, choices: [{ ...choice, index: 0, delta }] } as unknown as ChatChunk)
    this.#closeAll()
    return this.#ending()
  }

  /** @returns the events that the chunk makes, or '' */
  chunk (chunk: ChatChunk): string {
    this.#begin()
    if (chunk.usage !== null && chunk.usage !== undefined) this.#usage = chunk.usage
    if (chunk.service_tier !== null && chunk.service_tier !== undefined) this.#tier = chunk.service_tier
    for (const { index, delta, logprobs, finish_reason: finish } of chunk.choices) {
      // One answer was asked for.
      if (index !== 0) continue
      this.#delta(delta as unknown as Members, logprobs?.content ?? [])
      this.#finish = finish ?? this.#finish
    }
    return this.#take()
  }

  /** The rest, once the backend has said all. */
  end (): string {
    if (this.#ended) return ''
    this.#begin()
    this.#closeAll()
    const response = this.#ending()
    this.#event(`response.${response['status'] as string}`, { response })
    return this.#take()
  }

  /** Instead of the rest. The error event comes first, because that is the one SDKs raise; it is flat as documented and nested as sent by OpenAI. */
  failed (error: GatewayError): string {
    if (this.#ended) return ''
    this.#begin()
    const { error: said } = error.toBody()
    this.#event('error', { code: said.code, message: said.message, param: said.param, error: said })
    const response = { ...this.#head('failed'), error: { code: failureOf(error), message: said.message }, output: this.#items.map(item => item.value('incomplete')) }
    this.#ended = true
    this.#event('response.failed', { response })
    return this.#take()
  }

  #begin (): void {
    if (this.#begun) return
    this.#begun = true
    for (const type of ['response.created', 'response.in_progress']) this.#event(type, { response: this.#head('in_progress') })
  }

  #delta (delta: Members, logprobs: readonly object[]): void {
    const thoughts = delta['reasoning_content'] ?? delta['reasoning']
    if (isText(thoughts)) this.#reasoning().text(this.#counted(thoughts))
    if (isText(delta['content'])) this.#message().text(this.#counted(delta['content']), logprobs)
    if (isText(delta['refusal'])) this.#message().refusal(this.#counted(delta['refusal']))
    for (const call of (delta['tool_calls'] ?? []) as Members[]) this.#call(call)
  }

  #reasoning (): ReasoningItem {
    if (this.#open instanceof ReasoningItem) return this.#open
    this.#closeText()
    const item = new ReasoningItem(this.#newItem('rs'), this.#items.length, this.#say, this.#facts.request.hasSummary)
    return this.#open = this.#add(item)
  }

  #message (): MessageItem {
    if (this.#open instanceof MessageItem) return this.#open
    this.#closeText()
    return this.#open = this.#add(new MessageItem(this.#newItem('msg'), this.#items.length, this.#say))
  }

  #call (delta: Members): void {
    const index = typeof delta['index'] === 'number' ? delta['index'] : 0
    const said = (delta['function'] ?? {}) as Members
    let call = this.#calls.get(index)
    if (call === undefined) {
      if (this.#calls.size === MOST_CALLS) throw new GatewayError('backend_invalid_answer', `The backend made more than ${MOST_CALLS} calls in one answer.`)
      if (!isText(said['name'])) throw new GatewayError('backend_invalid_answer', 'The backend sent a tool call that begins without a name.')
      this.#closeText()
      const declared = this.#facts.request.toolbox.declared.get(said['name']) ?? { kind: 'function', name: said['name'], namespace: null }
      const id = isText(delta['id']) ? delta['id'] : newId('call')
      call = this.#add(new CallItem(this.#newItem(declared.kind === 'custom' ? 'ctc' : 'fc'), this.#items.length, this.#say, id, declared))
      this.#calls.set(index, call)
    }
    if (isText(said['arguments'])) call.text(this.#counted(said['arguments']))
  }

  #add<T extends Item> (item: T): T {
    this.#items.push(item)
    item.open()
    return item
  }

  #newItem (prefix: string): string { return itemId(prefix, this.id, this.#items.length) }

  #closeText (): void {
    this.#open?.close('completed')
    this.#open = null
  }

  /** Calls stay open to the end, because backends may send several of them by turns. */
  #closeAll (): void {
    const last = this.#items.at(-1)
    const cut = this.#finish === 'length' || this.#finish === 'content_filter'
    for (const item of this.#items) item.close(cut && item === last ? 'incomplete' : 'completed')
  }

  #counted (text: string): string {
    this.#characters += text.length
    if (this.#characters > MOST_CHARACTERS) throw new GatewayError('backend_invalid_answer', `The backend sent an answer of more than ${MOST_CHARACTERS} characters.`)
    return text
  }

  #ending (): Members {
    this.#ended = true
    const reason = this.#finish === 'length' ? 'max_output_tokens' : this.#finish === 'content_filter' ? 'content_filter' : null
    const response: Members = {
      ...this.#head(reason === null ? 'completed' : 'incomplete'),
      completed_at: reason === null ? seconds() : null,
      incomplete_details: reason === null ? null : { reason },
      output: this.#items.map(item => item.value()),
      usage: usageOf(this.#usage)
    }
    this.#facts.onEnd?.(response)
    return response
  }

  #head (status: string): Members {
    const { request: { echo }, stored } = this.#facts
    return {
      id: this.id,
      object: 'response',
      created_at: this.#createdAt,
      completed_at: null,
      status,
      error: null,
      incomplete_details: null,
      output: [],
      usage: null,
      ...echo,
      ...this.#tier !== undefined && { service_tier: this.#tier },
      store: stored
    }
  }

  readonly #say: Say = (type, members) => { this.#event(type, members) }

  #event (type: string, members: Members): void {
    this.#said += `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: this.#sequence++, ...members })}\n\n`
  }

  #take (): string {
    const said = this.#said
    this.#said = ''
    return said
  }
}

function isText (value: unknown): value is string { return typeof value === 'string' && value !== '' }

export function seconds (): number { return Math.floor(Date.now() / 1000) }

/** Of the codes OpenAI documents for a failed response, the two that can happen here. */
export function failureOf ({ status }: GatewayError): string { return status === 429 ? 'rate_limit_exceeded' : 'server_error' }

/** Null where the backend does not count: the ledger's own estimate is no fact about the answer. */
export function usageOf (usage: ChatUsage | null): Members | null {
  if (usage === null) return null
  const { prompt_tokens: input, completion_tokens: output } = usage
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: usage.prompt_tokens_details?.cached_tokens ?? 0 },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: usage.completion_tokens_details?.reasoning_tokens ?? 0 },
    total_tokens: input + output
  }
}
