/** Items of an answer while they grow, each with the events that say so. Part of `ResponseAnswer`. */
import type { Members } from '../check.ts'
import { customInput, type Declared } from './tools.ts'

export type Say = (type: string, members: Members) => void
export type Status = 'in_progress' | 'completed' | 'incomplete'

export abstract class Item {
  readonly id: string
  readonly index: number
  readonly #say: Say
  #status: Status = 'in_progress'

  constructor (id: string, index: number, say: Say) {
    this.id = id
    this.index = index
    this.#say = say
  }

  open (): void { this.#say('response.output_item.added', { output_index: this.index, item: this.value() }) }

  /** Says what is left to say; the second time nothing. */
  close (status: Status): void {
    if (this.#status !== 'in_progress') return
    this.finish()
    this.#status = status
    this.#say('response.output_item.done', { output_index: this.index, item: this.value() })
  }

  /** As it stands now. @param cut what an item is called that was still open when the answer broke off */
  value (cut?: Status): Members {
    const status = this.#status === 'in_progress' ? cut ?? this.#status : this.#status
    return { id: this.id, ...this.shape(status) }
  }

  protected abstract shape (status: Status): Members
  protected abstract finish (): void

  protected say (type: string, members: Members): void {
    this.#say(type, { item_id: this.id, output_index: this.index, ...members })
  }
}

type Part = { readonly type: 'output_text', text: string, readonly logprobs: object[] } | { readonly type: 'refusal', text: string }

export class MessageItem extends Item {
  readonly #parts: Part[] = []
  #open: Part | null = null

  text (text: string, logprobs: readonly object[]): void {
    const part = this.#part('output_text')
    part.text += text
    if (part.type === 'output_text') part.logprobs.push(...logprobs)
    this.say('response.output_text.delta', { content_index: this.#at, delta: text, logprobs })
  }

  refusal (text: string): void {
    this.#part('refusal').text += text
    this.say('response.refusal.delta', { content_index: this.#at, delta: text })
  }

  get #at (): number { return this.#parts.length - 1 }

  #part (type: Part['type']): Part {
    if (this.#open?.type === type) return this.#open
    this.finish()
    const part: Part = type === 'refusal' ? { type, text: '' } : { type, text: '', logprobs: [] }
    this.#parts.push(part)
    this.#open = part
    this.say('response.content_part.added', { content_index: this.#at, part: onTheWire(part) })
    return part
  }

  protected finish (): void {
    if (this.#open === null) return
    const part = this.#open
    this.#open = null
    if (part.type === 'refusal') this.say('response.refusal.done', { content_index: this.#at, refusal: part.text })
    else this.say('response.output_text.done', { content_index: this.#at, text: part.text, logprobs: part.logprobs })
    this.say('response.content_part.done', { content_index: this.#at, part: onTheWire(part) })
  }

  protected shape (status: Status): Members {
    // In progress it is empty: the parts come as events.
    const parts = status === 'in_progress' ? [] : this.#parts
    return { type: 'message', status, role: 'assistant', content: parts.map(onTheWire) }
  }
}

function onTheWire (part: Part): Members {
  return part.type === 'refusal' ? { type: 'refusal', refusal: part.text } : { type: 'output_text', text: part.text, annotations: [], logprobs: part.logprobs }
}

/** What a model thinks. Nobody summarises it: where a summary is asked for, the thoughts stand there themselves. */
export class ReasoningItem extends Item {
  readonly #isSummary: boolean
  #text = ''

  constructor (id: string, index: number, say: Say, isSummary: boolean) {
    super(id, index, say)
    this.#isSummary = isSummary
  }

  override open (): void {
    super.open()
    if (this.#isSummary) this.say('response.reasoning_summary_part.added', { summary_index: 0, part: this.#part() })
    else this.say('response.content_part.added', { content_index: 0, part: this.#part() })
  }

  text (text: string): void {
    this.#text += text
    if (this.#isSummary) this.say('response.reasoning_summary_text.delta', { summary_index: 0, delta: text })
    else this.say('response.reasoning_text.delta', { content_index: 0, delta: text })
  }

  protected finish (): void {
    if (this.#isSummary) {
      this.say('response.reasoning_summary_text.done', { summary_index: 0, text: this.#text })
      this.say('response.reasoning_summary_part.done', { summary_index: 0, part: this.#part() })
    } else {
      this.say('response.reasoning_text.done', { content_index: 0, text: this.#text })
      this.say('response.content_part.done', { content_index: 0, part: this.#part() })
    }
  }

  protected shape (status: Status): Members {
    const parts = status === 'in_progress' ? [] : [this.#part()]
    return { type: 'reasoning', status, summary: this.#isSummary ? parts : [], ...!this.#isSummary && { content: parts }, encrypted_content: null }
  }

  #part (): Members { return { type: this.#isSummary ? 'summary_text' : 'reasoning_text', text: this.#text } }
}

export class CallItem extends Item {
  readonly #callId: string
  readonly #declared: Declared
  #arguments = ''

  constructor (id: string, index: number, say: Say, callId: string, declared: Declared) {
    super(id, index, say)
    this.#callId = callId
    this.#declared = declared
  }

  text (text: string): void {
    this.#arguments += text
    if (this.#declared.kind === 'function') this.say('response.function_call_arguments.delta', { delta: text })
  }

  /** The input of a custom tool is inside JSON, so it is said when that is whole. */
  protected finish (): void {
    if (this.#declared.kind === 'function') {
      this.say('response.function_call_arguments.done', { arguments: this.#arguments })
      return
    }
    const input = customInput(this.#arguments)
    this.say('response.custom_tool_call_input.delta', { delta: input })
    this.say('response.custom_tool_call_input.done', { input })
  }

  protected shape (status: Status): Members {
    const { kind, name, namespace } = this.#declared
    const said = status === 'in_progress' ? '' : this.#arguments
    return {
      type: kind === 'custom' ? 'custom_tool_call' : 'function_call',
      status,
      call_id: this.#callId,
      name,
      ...namespace !== null && { namespace },
      ...kind === 'custom' ? { input: said === '' ? '' : customInput(said) } : { arguments: said }
    }
  }
}
