/**
 * Finds calls of tools in what a model writes, however it is cut. A call is shown when it is whole: until then nobody
 * knows whether it is one, and what turns out to be none is text as the model wrote it. Nothing is dropped but the
 * markers and the space around calls, and nothing is invented.
 */
import type { Family } from './family.ts'
import { JsonEnd, membersOf } from './json.ts'

export interface ToolCall {
  readonly name: string
  /** An object as JSON, as the model wrote it. */
  readonly arguments: string
}

/** What was said, in order. All `raw` together are what was pushed. */
export type Part =
  | { readonly kind: 'text', readonly raw: string }
  | { readonly kind: 'calls', readonly raw: string, readonly calls: readonly ToolCall[] }
  | { readonly kind: 'gap', readonly raw: string }

const MAX_HEAD_CHARACTERS = 256
const MAX_BEGINNING_CHARACTERS = 64
/** Members that an object with a call may begin with; another one tells early that it is none. */
const FIRST_MEMBERS = ['name', 'arguments', 'parameters', 'type', 'function', 'id']

export class CallParser {
  readonly #family: Family
  readonly #names: ReadonlySet<string>
  #held = ''
  /** Inside what may be a call: the length of its opening with the space before it. */
  #opened: number | null = null
  #json: JsonEnd | null = null
  #place: 'start' | 'text' | 'after' = 'start'

  /** @param names of the tools that may be called */
  constructor (family: Family, names: ReadonlySet<string>) {
    this.#family = family
    this.#names = names
  }

  push (text: string): Part[] {
    this.#held += text
    this.#json?.push(text)
    // Most of a long call passes here: looking at what is held would cost its whole length each time.
    return this.#json !== null && this.#json.end === null ? [] : this.#read(false)
  }

  /** What was held back, once it is known that nothing follows. */
  flush (): Part[] { return this.#read(true) }

  #read (isEnd: boolean): Part[] {
    const parts: Part[] = []
    while (this.#held !== '') {
      const part = this.#opened === null ? this.#text(isEnd) : this.#call(this.#opened, isEnd)
      if (part === null) break
      this.#held = this.#held.slice(part.raw.length)
      if (part.raw !== '') parts.push(part)
    }
    return parts
  }

  /** @returns null when more has to come; a part without `raw` when a call has begun at once */
  #text (isEnd: boolean): Part | null {
    const held = this.#held
    const space = (this.#place === 'after' ? this.#family.separator : /^\s*/).exec(held)![0].length
    const isEdge = this.#place === 'after' || (this.#place === 'start' && this.#family.isBare)
    if (isEdge && space === held.length && !isEnd) return null
    if (isEdge && this.#family.isBare && held[space] === '{') return this.#open(0, space)
    const ending = this.#place === 'after' ? this.#family.ending : null
    if (ending !== null && held.startsWith(ending, space)) return { kind: 'gap', raw: held.slice(0, space + ending.length) }
    if (ending?.startsWith(held.slice(space)) === true && !isEnd) return null
    if (this.#place === 'after' && space > 0) return { kind: 'gap', raw: held.slice(0, space) }
    const found = this.#firstOpening(held)
    if (found !== null) return this.#open(held.slice(0, found.at).trimEnd().length, found.end)
    const safe = isEnd ? held.length : this.#safeLength(held)
    if (safe === 0) return null
    this.#place = 'text'
    return { kind: 'text', raw: held.slice(0, safe) }
  }

  /** @returns the text before the call, which is on its way out; the rest of what is held begins with the opening */
  #open (textLength: number, end: number): Part {
    this.#opened = end - textLength
    this.#json = null
    return { kind: 'text', raw: this.#held.slice(0, textLength) }
  }

  #firstOpening (held: string): { at: number, end: number } | null {
    const found = this.#family.openings.map(opening => ({ at: held.indexOf(opening), end: held.indexOf(opening) + opening.length }))
    return found.filter(({ at }) => at >= 0).toSorted((a, b) => a.at - b.at)[0] ?? null
  }

  /** Without what may be the beginning of an opening, and the space before it. */
  #safeLength (held: string): number {
    const { openings } = this.#family
    if (openings.length === 0) return held.length
    const partial = Math.max(...openings.map(opening => overlap(held, opening)))
    return held.slice(0, held.length - partial).trimEnd().length
  }

  #call (opened: number, isEnd: boolean): Part | null {
    const found = this.#findCall(opened, isEnd)
    if (found === null) return null
    this.#opened = null
    this.#json = null
    if (found !== 'broken') {
      this.#place = 'after'
      return { kind: 'calls', raw: this.#held.slice(0, found.length), calls: found.calls }
    }
    this.#place = 'text'
    // At least one character, so that what follows is looked at anew and not for ever.
    return { kind: 'text', raw: this.#held.slice(0, Math.max(opened, this.#held.search(/\S/) + 1)) }
  }

  /** @returns null when more has to come */
  #findCall (opened: number, isEnd: boolean): { length: number, calls: readonly ToolCall[] } | 'broken' | null {
    const held = this.#held
    const unfinished = isEnd ? 'broken' : null
    const start = firstBracket(held, opened)
    const head = held.slice(opened, start ?? held.length)
    if (start === null) return head.length <= MAX_HEAD_CHARACTERS && this.#family.headSoFar.test(head) ? unfinished : 'broken'
    const match = head.length <= MAX_HEAD_CHARACTERS ? this.#family.head.exec(head) : null
    const mayBeCall = match === null ? false : match.groups?.['name'] !== undefined || beginsLikeCall(held.slice(start, start + MAX_BEGINNING_CHARACTERS))
    if (mayBeCall !== true) return mayBeCall === false ? 'broken' : unfinished
    const length = this.#jsonLength(start)
    if (typeof length !== 'number') return length ?? unfinished
    const end = start + length
    const calls = readCalls(held.slice(start, end), match?.groups?.['name'])
    const isMarked = this.#family.openings.some(opening => held.slice(0, opened).endsWith(opening))
    if (calls === null || (!isMarked && !calls.every(({ name }) => this.#names.has(name)))) return 'broken'
    const whole = this.#closed(end, isEnd)
    return typeof whole === 'number' ? { length: whole, calls } : whole
  }

  #jsonLength (start: number): number | 'broken' | null {
    if (this.#json === null) {
      this.#json = new JsonEnd()
      this.#json.push(this.#held.slice(start))
    }
    return this.#json.end
  }

  /** @returns the index behind the closing */
  #closed (end: number, isEnd: boolean): number | 'broken' | null {
    const { closing, openings } = this.#family
    if (closing === null) return end
    const rest = this.#held.slice(end)
    const said = rest.trimStart()
    const space = rest.length - said.length
    if (said.startsWith(closing)) return end + space + closing.length
    // Some models leave the closing out before the next call, or at the end.
    if (openings.some(opening => said.startsWith(opening))) return end
    if (![closing, ...openings].some(text => text.startsWith(said))) return 'broken'
    return isEnd ? this.#held.length : null
  }
}

/** The first `{`, or a `[` that stands first. */
function firstBracket (held: string, from: number): number | null {
  const first = /\S/g
  first.lastIndex = from
  const at = first.exec(held)?.index
  if (at !== undefined && held[at] === '[') return at
  const brace = held.indexOf('{', from)
  return brace < 0 ? null : brace
}

/** @returns null when more has to come */
function beginsLikeCall (json: string): boolean | null {
  if (json.startsWith('[')) return true
  const [, member = '', quote, other] = /^\{\s*(?:"([^"\\]*)("?)|(\S))/.exec(json) ?? []
  if (quote === '"') return FIRST_MEMBERS.includes(member)
  const isPossible = other === undefined && FIRST_MEMBERS.some(known => known.startsWith(member))
  return isPossible && json.length < MAX_BEGINNING_CHARACTERS ? null : false
}

/** Characters at the end of `text` that begin `marker`. */
function overlap (text: string, marker: string): number {
  let length = Math.min(marker.length - 1, text.length)
  while (!text.endsWith(marker.slice(0, length))) length--
  return length
}

/** @returns null when it is no call */
function readCalls (json: string, name: string | undefined): ToolCall[] | null {
  try {
    JSON.parse(json)
  } catch {
    return null
  }
  if (name !== undefined) return json.startsWith('{') ? [{ name, arguments: json }] : null
  const calls = (json.startsWith('[') ? membersOf(json).map(member => member.json) : [json]).map(readCall)
  return calls.length > 0 && calls.every(call => call !== null) ? calls : null
}

function readCall (json: string): ToolCall | null {
  if (!json.startsWith('{')) return null
  const members = new Map(membersOf(json).map(member => [member.name, member.json]))
  const wrapped = members.get('function')
  if (wrapped?.startsWith('{') === true) return readCall(wrapped)
  const name = members.get('name') ?? wrapped
  if (name?.startsWith('"') !== true || name === '""') return null
  const given = objectOf(members.get('arguments') ?? members.get('parameters') ?? '{}')
  return given === null ? null : { name: JSON.parse(name) as string, arguments: given }
}

/** Some models write the arguments as a string that holds JSON, as they see it on the wire. */
function objectOf (json: string): string | null {
  if (json.startsWith('{')) return json
  if (!json.startsWith('"')) return null
  const text = (JSON.parse(json) as string).trim()
  try {
    return text.startsWith('{') && JSON.parse(text) !== null ? text : null
  } catch {
    return null
  }
}
