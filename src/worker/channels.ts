/**
 * Harmony, the form of gpt-oss: an answer is several messages, each with a head that names its channel and whom it is to.
 * `<|channel|>analysis<|message|>` is thought, `commentary to=functions.NAME` calls a tool, all other channels are said to
 * the user. Whatever is cut where. Source: https://github.com/openai/harmony, docs/format.md, read 2026-11-22.
 */
import type { Splitter, SplitPart } from './thoughts.ts'
import type { ToolCall } from './tools/calls.ts'

/** Control tokens of these models. */
export const CHANNEL_MARKERS: readonly string[] = ['<|start|>', '<|end|>', '<|message|>', '<|channel|>', '<|constrain|>', '<|return|>', '<|call|>']

const HEAD_END = '<|message|>'
/** What a head may begin with; the prompt has written the beginning of the first one. */
const HEADS = ['<|start|>', '<|channel|>', '<|message|>', 'assistant', 'to=']
/** What a message ends with. A model that leaves it out begins the next one. */
const MESSAGE_ENDS = ['<|end|>', '<|return|>', '<|call|>', '<|start|>']
const MAX_HEAD_CHARACTERS = 256

export class ChannelSplitter implements Splitter {
  readonly #hasTools: boolean
  #held = ''
  #place: 'head' | 'thought' | 'text' | 'call' = 'head'
  /** Of the call: where its arguments begin in what is held, and how much of it was searched for its end. */
  #call = { name: '', at: 0, searched: 0 }

  /** @param hasTools some may be called; otherwise what looks like a call is text as it was written */
  constructor (hasTools: boolean) { this.#hasTools = hasTools }

  get isThinking (): boolean { return this.#place === 'thought' }

  push (text: string): SplitPart[] {
    this.#held += text
    return this.#read(false)
  }

  flush (): SplitPart[] { return this.#read(true) }

  #read (isEnd: boolean): SplitPart[] {
    const parts: SplitPart[] = []
    while (this.#held !== '') {
      const part = this.#next(isEnd)
      if (part === null) break
      this.#held = this.#held.slice(part.raw.length)
      if (part.raw !== '') parts.push(part)
    }
    return parts
  }

  /** @returns null when more has to come; a part without `raw` on the way from one place to the next */
  #next (isEnd: boolean): SplitPart | null {
    if (this.#place === 'head') return this.#head(isEnd)
    if (this.#place === 'call') return this.#arguments(isEnd)
    return this.#message(this.#place === 'thought' ? 'reasoning' : 'text', isEnd)
  }

  #head (isEnd: boolean): SplitPart | null {
    const end = this.#held.indexOf(HEAD_END)
    const said = this.#held.trimStart()
    const mayBeHead = HEADS.some(head => said.startsWith(head) || head.startsWith(said))
    const length = end < 0 ? this.#held.length : end + HEAD_END.length
    if (!mayBeHead || length > MAX_HEAD_CHARACTERS) {
      this.#place = 'text'
      return { kind: 'gap', raw: '' }
    }
    if (end < 0) return isEnd ? { kind: 'gap', raw: this.#held } : null
    return this.#enter(this.#held.slice(0, length))
  }

  #enter (head: string): SplitPart {
    const [, channel] = /<\|channel\|>\s*(\w+)/.exec(head) ?? []
    const [, recipient] = /\bto=([\w.-]+)/.exec(head) ?? []
    if (recipient === undefined) {
      this.#place = channel === 'analysis' ? 'thought' : 'text'
      return { kind: 'gap', raw: head }
    }
    const name = recipient.replace(/^functions\./, '')
    this.#place = this.#hasTools && name !== recipient ? 'call' : 'text'
    this.#call = { name, at: head.length, searched: head.length }
    return this.#place === 'call' ? { kind: 'gap', raw: '' } : { kind: 'text', raw: head }
  }

  #message (kind: 'reasoning' | 'text', isEnd: boolean): SplitPart | null {
    const end = endOf(this.#held, 0)
    if (end !== null && end.at === 0) {
      this.#place = 'head'
      return { kind: 'gap', raw: this.#held.slice(0, end.length) }
    }
    const safe = end?.at ?? (isEnd ? this.#held.length : this.#held.length - longestOverlap(this.#held))
    return safe === 0 ? null : { kind, raw: this.#held.slice(0, safe) }
  }

  /** A call is shown when it is whole; what turns out to be none is text as the model wrote it. */
  #arguments (isEnd: boolean): SplitPart | null {
    const { name, at, searched } = this.#call
    const end = endOf(this.#held, searched)
    if (end === null && !isEnd) {
      this.#call.searched = Math.max(at, this.#held.length - longestOverlap(this.#held))
      return null
    }
    this.#place = 'head'
    const raw = end === null ? this.#held : this.#held.slice(0, end.at + end.length)
    const call = callOf(name, this.#held.slice(at, end?.at))
    return call === null ? { kind: 'text', raw } : { kind: 'calls', raw, calls: [call] }
  }
}

function callOf (name: string, written: string): ToolCall | null {
  const json = written.trim()
  try {
    return json.startsWith('{') && JSON.parse(json) !== null ? { name, arguments: json } : null
  } catch {
    return null
  }
}

/** The first end of a message from `from` on. The beginning of the next message is no part of this one. */
function endOf (text: string, from: number): { at: number, length: number } | null {
  const found = MESSAGE_ENDS.map(mark => ({ at: text.indexOf(mark, from), length: mark === '<|start|>' ? 0 : mark.length }))
  return found.filter(({ at }) => at >= 0).toSorted((a, b) => a.at - b.at)[0] ?? null
}

/** Characters at the end of `text` that begin an end. */
function longestOverlap (text: string): number {
  return Math.max(...MESSAGE_ENDS.map(mark => {
    let length = Math.min(mark.length - 1, text.length)
    while (!text.endsWith(mark.slice(0, length))) length--
    return length
  }))
}
