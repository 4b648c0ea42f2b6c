/** Tells what a model thinks from what it says, in text that arrives in pieces, however it is cut. */
import { literal } from './grammar/join.ts'
import type { ToolCall } from './tools/calls.ts'
import { speaksInChannels } from './tools/family.ts'

/** All `raw` together, in order, are what was pushed. A gap is a marker, with the space around it. */
export interface ThoughtPart { readonly kind: 'reasoning' | 'text' | 'gap', readonly raw: string }

/** Calls come from models that tell them apart just as they tell thoughts apart; of others, they are found in the text. */
export type SplitPart = ThoughtPart | { readonly kind: 'calls', readonly raw: string, readonly calls: readonly ToolCall[] }

/** Takes the answer of a model apart as it comes. */
export interface Splitter {
  readonly isThinking: boolean
  push (text: string): SplitPart[]
  /** What was held back, once it is known that nothing follows. */
  flush (): SplitPart[]
}

export interface ThoughtMarker {
  readonly opening: string
  readonly closing: string
  /** What stands behind a thought and before the answer, where it is always the same; otherwise space. */
  readonly behind?: string
}

/** Ends a thought that is under way. */
export function endOfThought ({ closing, behind }: ThoughtMarker): string { return behind === undefined ? `\n${closing}\n\n` : closing + behind }

/** Stands where a model might think, so that it does not. */
export function emptyThought (marker: ThoughtMarker): string { return marker.opening + (marker.behind === undefined ? '\n' : '') + endOfThought(marker) }

/** Qwen 3, DeepSeek R1 and most others; Magistral. */
const MARKERS: readonly ThoughtMarker[] = [{ opening: '<think>', closing: '</think>' }, { opening: '[THINK]', closing: '[/THINK]' }]
/** gpt-oss (channels.ts). */
const ANALYSIS: ThoughtMarker = { opening: '<|channel|>analysis<|message|>', closing: '<|end|>', behind: '<|start|>assistant' }

/** Texts that may be control tokens of the vocabulary, which otherwise would not be seen. */
export const THOUGHT_MARKERS: readonly string[] = MARKERS.flatMap(({ opening, closing }) => [opening, closing])

/** @returns the thought that the end of a prompt has begun already, as some templates do */
export function thoughtBegunBy (prompt: string): ThoughtMarker | null {
  const end = prompt.slice(-64).trimEnd()
  return MARKERS.find(({ opening }) => end.endsWith(opening)) ?? null
}

/**
 * @param template the chat template, which knows the markers of its model
 * @returns the thought that the model may begin an answer with, or null where the prompt has ended it already
 */
export function optionalThought (prompt: string, template: string): ThoughtMarker | null {
  if (speaksInChannels(template)) return ANALYSIS
  const end = prompt.slice(-64).trimEnd()
  if (MARKERS.some(({ closing }) => end.endsWith(closing))) return null
  return MARKERS.find(({ closing }) => template.includes(closing)) ?? null
}

/** How models think that do it in no form that is read here (Cohere, Seed, Gemma): their thoughts are not told from their answers. */
const UNREAD = ['<|channel|>', '<|channel>', '<|START_THINKING|>', '<seed:think>']

export function thinksUnread (template: string): boolean {
  return !speaksInChannels(template) && UNREAD.some(mark => template.includes(mark))
}

/**
 * Rules in GBNF for a thought with the space behind it: `thought` for one that the model begins, `thought-0` for one that
 * the prompt has begun. Rule `thought-N` has read the first N characters of the closing marker. A thought ends with the
 * first of these, and nothing else ends it.
 */
export function thoughtGrammar ({ opening, closing, behind }: ThoughtMarker): string {
  const rules = [...closing].map((_, read) => {
    const known = [...new Set(closing.slice(0, read + 1))]
    const ways = known.map(next => `${oneOf([next])} ${after(closing.slice(0, read) + next, closing)}`)
    return `thought-${read} ::= ${ways.join(' | ')} | ${oneOf(known, '^')} thought-0`
  })
  return [`thought ::= ${[...opening].map(one => oneOf([one])).join(' ')} thought-0`, ...rules, `thought-end ::= ${behind === undefined ? '[ \\n]{0,2}' : literal(behind)}`].join('\n')
}

function after (text: string, closing: string): string {
  return text.endsWith(closing) ? 'thought-end' : `thought-${overlap(text, closing)}`
}

function oneOf (characters: readonly string[], not = ''): string {
  return `[${not}${characters.map(one => `\\x${one.charCodeAt(0).toString(16).padStart(2, '0')}`).join('')}]`
}

/** An answer may begin with one thought. Later markers are words. */
export class ThoughtSplitter implements Splitter {
  #marker: ThoughtMarker | null
  #place: 'before' | 'begun' | 'opened' | 'inside' | 'closed' | 'after'
  #held = ''

  /** @param begun by the prompt */
  constructor (begun: ThoughtMarker | null) {
    this.#marker = begun
    this.#place = begun === null ? 'before' : 'begun'
  }

  get isThinking (): boolean { return this.#place === 'begun' || this.#place === 'opened' || this.#place === 'inside' }

  push (text: string): ThoughtPart[] {
    this.#held += text
    return this.#read(false)
  }

  /** What was held back, once it is known that nothing follows. */
  flush (): ThoughtPart[] { return this.#read(true) }

  #read (isEnd: boolean): ThoughtPart[] {
    const parts: ThoughtPart[] = []
    while (this.#held !== '') {
      const part = this.#next(isEnd)
      if (part === null) break
      this.#held = this.#held.slice(part.raw.length)
      if (part.raw !== '') parts.push(part)
    }
    return parts
  }

  /** @returns null when more has to come; a part without `raw` on the way from one place to the next */
  #next (isEnd: boolean): ThoughtPart | null {
    if (this.#place === 'before' || this.#place === 'begun') return this.#opening(isEnd)
    if (this.#place === 'opened') return this.#space('inside')
    if (this.#place === 'inside') return this.#thought(isEnd)
    if (this.#place === 'closed') return this.#closed(isEnd)
    return { kind: 'text', raw: this.#held }
  }

  #space (next: 'inside' | 'after'): ThoughtPart {
    const space = spaceBefore(this.#held)
    if (space < this.#held.length) this.#place = next
    return { kind: 'gap', raw: this.#held.slice(0, space) }
  }

  /** Some models end a thought once more that was ended for them. */
  #closed (isEnd: boolean): ThoughtPart | null {
    const { closing } = this.#marker!
    const space = spaceBefore(this.#held)
    const said = this.#held.slice(space)
    if (said.startsWith(closing)) return { kind: 'gap', raw: this.#held.slice(0, space + closing.length) }
    return said !== '' && closing.startsWith(said) && !isEnd ? null : this.#space('after')
  }

  /** Behind an opening in the prompt, some models write it once more. */
  #opening (isEnd: boolean): ThoughtPart | null {
    const markers = this.#marker === null ? MARKERS : [this.#marker]
    const space = spaceBefore(this.#held)
    const said = this.#held.slice(space)
    const found = markers.find(({ opening }) => said.startsWith(opening))
    if (found !== undefined) {
      this.#marker = found
      this.#place = 'opened'
      return { kind: 'gap', raw: this.#held.slice(0, space + found.opening.length) }
    }
    if (!isEnd && markers.some(({ opening }) => opening.startsWith(said))) return null
    this.#place = this.#place === 'begun' ? 'opened' : 'after'
    return { kind: 'gap', raw: '' }
  }

  #thought (isEnd: boolean): ThoughtPart | null {
    const { closing } = this.#marker!
    const at = this.#held.indexOf(closing)
    if (at === 0 || (at > 0 && this.#held.slice(0, at).trim() === '')) {
      this.#place = 'closed'
      return { kind: 'gap', raw: this.#held.slice(0, at + closing.length) }
    }
    const safe = at > 0 ? at : isEnd ? this.#held.length : this.#held.length - overlap(this.#held, closing)
    const length = isEnd && at < 0 ? safe : this.#held.slice(0, safe).trimEnd().length
    return length === 0 ? null : { kind: 'reasoning', raw: this.#held.slice(0, length) }
  }
}

function spaceBefore (text: string): number { return text.length - text.trimStart().length }

/** Characters at the end of `text` that begin `marker`. */
function overlap (text: string, marker: string): number {
  let length = Math.min(marker.length - 1, text.length)
  while (!text.endsWith(marker.slice(0, length))) length--
  return length
}
