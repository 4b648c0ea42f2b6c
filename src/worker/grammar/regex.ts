/**
 * The part of ECMAScript's regular expressions that describes a regular language: no backreferences, no lookbehind, no
 * word boundaries, and lookahead only where a pattern begins. Source: ECMA-262, "Patterns", with the `u` flag, as JSON
 * Schema 2020-12, 6.3.3 asks for.
 */
import { charsOf, complement, intersection, union, UNIVERSE, type Ranges } from './ranges.ts'

export type Regex =
  | { readonly kind: 'chars', readonly set: Ranges }
  | { readonly kind: 'sequence', readonly items: readonly Regex[] }
  | { readonly kind: 'choice', readonly items: readonly Regex[] }
  | { readonly kind: 'repeat', readonly item: Regex, readonly least: number, readonly most: number }
  | { readonly kind: 'start' }
  | { readonly kind: 'end' }

export interface Pattern {
  readonly body: Regex
  /** What has to follow, or must not follow, right from the start of the text. */
  readonly lookaheads: readonly { readonly isNegative: boolean, readonly body: Regex }[]
}

/** Not understood, for the reason that the message gives; it begins like "uses a backreference". */
export class RegexRefusal extends Error {
  override readonly name = 'RegexRefusal'
}

const MAX_CHARACTERS = 4000
const MAX_GROUPS_WITHIN = 50
const MAX_QUANTIFIER = 10_000

const DIGIT = charsOf('0-9')
const WORD = charsOf('a-zA-Z0-9_')
const SPACE = union(charsOf('\t\n\v\f\r \u00A0\u1680\u2028\u2029\u202F\u205F\u3000\uFEFF'), [[0x2000, 0x200A]])
const NEWLINE = charsOf('\n\r\u2028\u2029')
const CLASSES: Readonly<Record<string, Ranges>> = {
  d: DIGIT, D: complement(DIGIT), w: WORD, W: complement(WORD), s: SPACE, S: complement(SPACE)
}
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 }

/** @throws RegexRefusal */
export function parseRegex (source: string): Pattern {
  if (source.length > MAX_CHARACTERS) throw new RegexRefusal(`has ${source.length} characters; at most ${MAX_CHARACTERS} are taken`)
  return new Parser(source).pattern()
}

class Parser {
  readonly #points: readonly string[]
  #at = 0
  #depth = 0

  constructor (source: string) { this.#points = [...source] }

  pattern (): Pattern {
    const isAnchored = this.#take('^')
    const lookaheads = isAnchored ? this.#lookaheads() : []
    const first = this.#sequence()
    // `^a|b` means `(^a)|b`.
    const items = [isAnchored ? sequenceOf([{ kind: 'start' }, first]) : first]
    while (this.#take('|')) items.push(this.#sequence())
    if (this.#at < this.#points.length) throw new RegexRefusal('has a ")" too many')
    if (lookaheads.length > 0 && items.length > 1) throw new RegexRefusal('uses lookahead in one of several alternatives; put them into a group')
    return { body: choiceOf(items), lookaheads }
  }

  #lookaheads (): Pattern['lookaheads'] {
    const found: { isNegative: boolean, body: Regex }[] = []
    while (this.#peek('(?=') || this.#peek('(?!')) {
      const isNegative = this.#peek('(?!')
      this.#at += 3
      found.push({ isNegative, body: this.#group() })
    }
    return found
  }

  #choice (): Regex {
    const items = [this.#sequence()]
    while (this.#take('|')) items.push(this.#sequence())
    return choiceOf(items)
  }

  #sequence (): Regex {
    const items: Regex[] = []
    while (this.#at < this.#points.length && !this.#peek('|') && !this.#peek(')')) items.push(this.#quantified())
    return sequenceOf(items)
  }

  #quantified (): Regex {
    const isAnchor = this.#peek('^') || this.#peek('$')
    const item = this.#term()
    const range = this.#quantifier()
    if (range === null) return item
    if (isAnchor) throw new RegexRefusal('repeats an anchor')
    if (this.#quantifier() !== null) throw new RegexRefusal('has one quantifier after another')
    return { kind: 'repeat', item, ...range }
  }

  #quantifier (): { least: number, most: number } | null {
    const range = this.#take('*') ? { least: 0, most: Infinity } : this.#take('+') ? { least: 1, most: Infinity } : this.#take('?') ? { least: 0, most: 1 } : this.#braces()
    // Lazy or greedy makes no difference to what matches as a whole.
    if (range !== null) this.#take('?')
    return range
  }

  #braces (): { least: number, most: number } | null {
    if (!this.#peek('{')) return null
    const [whole, least, comma, most] = /^\{(\d+)(,?)(\d*)\}/.exec(this.#points.slice(this.#at, this.#at + 16).join('')) ?? []
    if (whole === undefined) return null
    this.#at += whole.length
    const range = { least: Number(least), most: comma === '' ? Number(least) : most === '' ? Infinity : Number(most) }
    if (range.least > range.most) throw new RegexRefusal(`has the quantifier ${whole}, which is out of order`)
    if (Math.max(range.least, range.most === Infinity ? 0 : range.most) > MAX_QUANTIFIER) throw new RegexRefusal(`has the quantifier ${whole}; at most ${MAX_QUANTIFIER} are counted`)
    return range
  }

  #term (): Regex {
    if (this.#take('^')) return { kind: 'start' }
    if (this.#take('$')) return { kind: 'end' }
    if (this.#take('.')) return { kind: 'chars', set: complement(NEWLINE) }
    if (this.#take('[')) return { kind: 'chars', set: this.#class() }
    if (this.#take('(')) {
      this.#openGroup()
      return this.#group()
    }
    if (this.#peek('*') || this.#peek('+') || this.#peek('?')) throw new RegexRefusal('has a quantifier after nothing')
    if (this.#take('\\')) return { kind: 'chars', set: this.#escape(false) }
    return { kind: 'chars', set: single(this.#next()) }
  }

  #openGroup (): void {
    if (!this.#take('?')) return
    if (this.#take(':')) return
    if (this.#peek('=') || this.#peek('!')) throw new RegexRefusal('uses lookahead elsewhere than right after ^')
    if (this.#peek('<=') || this.#peek('<!')) throw new RegexRefusal('uses lookbehind')
    if (!this.#take('<')) throw new RegexRefusal('uses modifiers')
    while (!this.#take('>')) this.#next()
  }

  #group (): Regex {
    if (++this.#depth > MAX_GROUPS_WITHIN) throw new RegexRefusal(`has more than ${MAX_GROUPS_WITHIN} groups within each other`)
    const inner = this.#choice()
    if (!this.#take(')')) throw new RegexRefusal('lacks a ")"')
    this.#depth--
    return inner
  }

  #class (): Ranges {
    const isNegated = this.#take('^')
    const sets: Ranges[] = []
    while (!this.#take(']')) {
      const first = this.#member()
      const isSpan = this.#peek('-') && this.#points[this.#at + 1] !== ']' && isSingle(first)
      if (!isSpan) { sets.push(first); continue }
      this.#at++
      const last = this.#member()
      if (!isSingle(last)) { sets.push(first, single('-'), last); continue }
      if (last[0]![0] < first[0]![0]) throw new RegexRefusal('has a class with a range out of order')
      sets.push(intersection(UNIVERSE, [[first[0]![0], last[0]![0]]]))
    }
    const set = union(...sets)
    return isNegated ? complement(set) : set
  }

  #member (): Ranges { return this.#take('\\') ? this.#escape(true) : single(this.#next()) }

  #escape (isInClass: boolean): Ranges {
    const letter = this.#next()
    const named = CLASSES[letter]
    if (named !== undefined) return named
    if (letter === '0' && /\d/.test(this.#points[this.#at] ?? '')) throw new RegexRefusal('uses an octal escape')
    const control = CONTROLS[letter]
    if (control !== undefined) return [[control, control]]
    if (letter === 'x') return point(this.#hex(2))
    if (letter === 'u') return point(this.#unicode())
    if (letter === 'c') return point(this.#next().codePointAt(0)! % 32)
    if (letter === 'b' && isInClass) return point(8)
    if (letter === 'b' || letter === 'B') throw new RegexRefusal('uses a word boundary')
    if (letter === 'p' || letter === 'P') throw new RegexRefusal('uses a Unicode property')
    if (letter === 'k' || /[1-9]/.test(letter)) throw new RegexRefusal('uses a backreference')
    if (/[a-zA-Z]/.test(letter)) throw new RegexRefusal(`uses the unknown escape \\${letter}`)
    return single(letter)
  }

  #unicode (): number {
    if (this.#take('{')) {
      let digits = ''
      while (!this.#take('}')) digits += this.#next()
      if (!/^[0-9a-fA-F]{1,6}$/.test(digits) || parseInt(digits, 16) > 0x10FFFF) throw new RegexRefusal('has a \\u that is no code point')
      return parseInt(digits, 16)
    }
    const high = this.#hex(4)
    if (high < 0xD800 || high > 0xDBFF || !this.#peek('\\u')) return high
    this.#at += 2
    const low = this.#hex(4)
    if (low < 0xDC00 || low > 0xDFFF) throw new RegexRefusal('has half a surrogate pair')
    return 0x10000 + (high - 0xD800) * 0x400 + (low - 0xDC00)
  }

  #hex (count: number): number {
    const digits = this.#points.slice(this.#at, this.#at + count).join('')
    if (!/^[0-9a-fA-F]+$/.test(digits) || digits.length !== count) throw new RegexRefusal('has a \\x or \\u without its digits')
    this.#at += count
    return parseInt(digits, 16)
  }

  #peek (expected: string): boolean {
    for (let i = 0; i < expected.length; i++) if (this.#points[this.#at + i] !== expected[i]) return false
    return true
  }

  #take (expected: string): boolean {
    const isThere = this.#peek(expected)
    if (isThere) this.#at += expected.length
    return isThere
  }

  #next (): string {
    const found = this.#points[this.#at++]
    if (found === undefined) throw new RegexRefusal('ends in the middle')
    return found
  }
}

const single = (character: string): Ranges => point(character.codePointAt(0)!)
const isSingle = (set: Ranges): boolean => set.length === 1 && set[0]![0] === set[0]![1]

function point (code: number): Ranges {
  if (code >= 0xD800 && code <= 0xDFFF) throw new RegexRefusal('has half a surrogate pair')
  return [[code, code]]
}

function choiceOf (items: readonly Regex[]): Regex { return items.length === 1 ? items[0]! : { kind: 'choice', items } }
function sequenceOf (items: readonly Regex[]): Regex { return items.length === 1 ? items[0]! : { kind: 'sequence', items } }
