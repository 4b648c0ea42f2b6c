/**
 * A stream of Gemini's streamGenerateContent as a stream of chat completion chunks, in the order in which OpenAI sends them: the
 * role, content, the finish reason, usage, `[DONE]`. Gemini's stream has no last event: it ends, and what it said last of reasons and
 * usage counts. Source: Gemini API reference, "models.streamGenerateContent", read 2026-11-22.
 */
import { GatewayError } from '../../errors.ts'
import { isObject, type Members } from '../check.ts'
import { DONE_EVENT, EventCutter, events, type Cutter } from '../sse.ts'
import { callId, completionId, finishReason, isFailure, saidIn, toLogprobs, toUsage, wasBlocked } from './answer.ts'

export interface ChunkOptions {
  /** Name of the backend, for messages. */
  readonly source: string
  readonly createdS: number
  /** Where Gemini gives none. */
  readonly id: string
  /** As many choices as were asked for. */
  readonly choices: number
  /** The caller asked for usage, so every other chunk says that it has none, as OpenAI's do. */
  readonly hasUsage: boolean
}

interface Choice { calls: number, reason: string | null }

/** Cuts one stream, as EventCutter does, and gives canonical events in place of Gemini's. Errors pass as they came. */
export class ChunkCutter implements Cutter {
  readonly #cutter: EventCutter
  readonly #options: ChunkOptions
  readonly #choices = new Map<number, Choice>()
  #head: Members | null = null
  #id: string
  #usage: unknown = null
  #hasFailed = false
  hasDone = false

  constructor (options: ChunkOptions) {
    this.#options = options
    this.#id = options.id
    this.#cutter = new EventCutter(options.source)
  }

  /** @throws GatewayError `backend_invalid_answer` for what is no stream of answers */
  push (chunk: Buffer): Buffer | null {
    const frame = this.#cutter.push(chunk)
    return frame === null ? null : this.#translated(frame)
  }

  /** After the last byte. A stream is whole when each of its candidates has given its reason to stop. */
  end (): Buffer | null {
    const frame = this.#cutter.end()
    const last = frame === null || frame.length === 0 ? null : this.#translated(frame)
    const isWhole = this.#choices.size > 0 && [...this.#choices.values()].every(({ reason }) => reason !== null)
    if (this.hasDone || this.#hasFailed || !isWhole) return last
    return Buffer.concat([last ?? Buffer.alloc(0), Buffer.from(this.#end())])
  }

  #translated (frame: Buffer): Buffer | null {
    let text = ''
    for (const data of events(frame)) text += this.#event(data)
    return text === '' ? null : Buffer.from(text)
  }

  #event (data: string): string {
    const event = parsed(data)
    if (event === null) throw this.#invalid('sent an event that is not a JSON object')
    if (isObject(event['error'])) {
      this.#hasFailed = true
      return `data: ${JSON.stringify({ error: event['error'] })}\n\n`
    }
    const { candidates = [], usageMetadata } = event
    if (!Array.isArray(candidates)) throw this.#invalid('sent an event that is no part of an answer')
    this.#begin(event)
    if (usageMetadata !== undefined) this.#usage = usageMetadata
    if (wasBlocked(event) && candidates.length === 0) return this.#blocked()
    return candidates.map((candidate: unknown, at) => this.#candidate(candidate, at)).join('')
  }

  #begin ({ responseId, modelVersion }: Members): void {
    if (this.#head !== null) return
    if (typeof responseId === 'string') this.#id = responseId
    this.#head = { id: completionId(this.#id), object: 'chat.completion.chunk', created: this.#options.createdS, model: modelVersion }
  }

  #candidate (candidate: unknown, at: number): string {
    if (!isObject(candidate)) throw this.#invalid('sent an event that is no part of an answer')
    const { index = at, content, finishReason: reason, logprobsResult } = candidate
    if (isFailure(reason)) throw this.#invalid(`ended its answer with ${String(reason)}`)
    if (!Number.isSafeInteger(index) || (index as number) < 0 || (index as number) >= this.#options.choices) throw this.#invalid('sent a choice that nobody asked for')
    const known = this.#choices.get(index as number)
    const choice = known ?? { calls: 0, reason: null }
    if (known === undefined) this.#choices.set(index as number, choice)
    const role = known === undefined ? this.#chunk(index, { role: 'assistant', content: '', refusal: null }) : ''
    // Some models name a reason in every event; the last one counts.
    if (typeof reason === 'string') choice.reason = reason
    return role + this.#said(index as number, choice, content, logprobsResult)
  }

  #said (index: number, choice: Choice, content: unknown, logprobsResult: unknown): string {
    const first = choice.calls
    const { text, reasoning, calls } = saidIn(content, () => callId(this.#id, index, choice.calls++))
    choice.calls = first + calls.length
    const logprobs = toLogprobs(logprobsResult)
    return (reasoning === '' ? '' : this.#chunk(index, { reasoning_content: reasoning })) +
      (text === '' && logprobs === null ? '' : this.#chunk(index, { content: text }, { logprobs })) +
      (calls.length === 0 ? '' : this.#chunk(index, { tool_calls: calls.map((call, at) => ({ index: first + at, ...call })) }))
  }

  #blocked (): string {
    let text = ''
    for (let index = 0; index < this.#options.choices; index++) {
      this.#choices.set(index, { calls: 0, reason: 'SAFETY' })
      text += this.#chunk(index, { role: 'assistant', content: '', refusal: null })
    }
    return text
  }

  #end (): string {
    this.hasDone = true
    let text = ''
    for (const [index, { reason, calls }] of this.#choices) text += this.#chunk(index, {}, { finish: finishReason(reason ?? 'STOP', calls > 0) })
    const usage = toUsage(this.#usage)
    const last = usage === null ? '' : `data: ${JSON.stringify({ ...this.#head, choices: [], usage })}\n\n`
    return text + last + DONE_EVENT.toString('latin1')
  }

  #chunk (index: unknown, delta: Members, { finish = null, logprobs = null }: { finish?: string | null, logprobs?: Members | null } = {}): string {
    const choices = [{ index, delta, logprobs, finish_reason: finish }]
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
