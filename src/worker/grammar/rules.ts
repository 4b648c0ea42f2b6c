/**
 * A grammar under construction, and its text in GBNF. Source: grammars/README.md and src/llama-grammar.cpp of
 * llama.cpp, read 2026-11-22.
 *
 * A rule is a choice of sequences. There are no groups: what has to be repeated or chosen within a sequence is a rule
 * of its own, because llama.cpp multiplies the repetitions of nested groups and refuses what exceeds 2,000.
 */
import { unsupported } from './refusal.ts'
import type { Ranges } from './ranges.ts'

export interface Text { readonly kind: 'text', readonly text: string }
export interface Chars { readonly kind: 'chars', readonly set: Ranges }
export interface Rule { readonly kind: 'rule', readonly name: string }
export type Unit = Text | Chars | Rule
/** `most` may be Infinity. */
export interface Times { readonly kind: 'times', readonly of: Unit, readonly least: number, readonly most: number }
export type Atom = Text | Chars | Rule | Times
export type Sequence = readonly Atom[]
export type Choice = readonly Sequence[]

/** Longest grammar, in characters. */
const MAX_CHARACTERS = 256 * 1024
/** llama.cpp unrolls repetitions: each costs some 2 µs and 200 bytes to every answer. */
const MAX_UNROLLED = 20_000
/** llama.cpp refuses more in one place, or takes them for "any number" without a word. */
const MAX_TIMES = 2000
/** Above this, a repetition is counted in blocks. */
const FEW_TIMES = 256
/** No context holds an answer of so many items or characters: a bound beyond it is met by every answer. */
const BEYOND_ANY_ANSWER = MAX_TIMES * MAX_TIMES
/** llama.cpp looks for left recursion along every path from every rule, without remembering where it has been. */
const MAX_LEFT_STEPS = 20_000_000

export const text = (value: string): Text => ({ kind: 'text', text: value })
export const chars = (set: Ranges): Text | Chars => set.length === 1 && set[0]![0] === set[0]![1] ? text(String.fromCodePoint(set[0]![0])) : { kind: 'chars', set }

export class Rules {
  readonly #rules = new Map<string, Choice>()
  readonly #names = new Map<string, string>()
  readonly #taken = new Set(['root'])
  readonly #hints = new Map<string, number>()

  /** A rule of this body; the same body gives the same rule. No sequence at all is a rule that nothing matches. */
  rule (hint: string, choice: Choice): Rule {
    const body = printChoice(choice)
    const known = this.#names.get(body)
    if (known !== undefined) return { kind: 'rule', name: known }
    const rule = this.reserve(hint)
    this.#names.set(body, rule.name)
    this.#rules.set(rule.name, choice)
    return rule
  }

  /** A rule that is going to be defined, for those that refer to themselves. */
  reserve (hint: string): Rule {
    const word = wordOf(hint)
    let count = this.#hints.get(hint) ?? 0
    let name = count === 0 ? word : `${word}-${count}`
    while (this.#taken.has(name)) name = `${word}-${++count}`
    this.#taken.add(name)
    this.#hints.set(hint, count + 1)
    return { kind: 'rule', name }
  }

  define (rule: Rule, choice: Choice): void { this.#rules.set(rule.name, choice) }

  /** One of the sequences, as something that fits into a sequence. */
  choice (hint: string, choice: Choice): Sequence {
    return choice.length === 1 ? choice[0]! : [this.rule(hint, choice)]
  }

  /** @param of matches something always; repeating nothing would never end */
  times (of: Unit, least: number, most: number): Sequence {
    if (most < BEYOND_ANY_ANSWER) return [...this.#exactly(of, least), ...this.#upTo(of, most - least)]
    if (least >= BEYOND_ANY_ANSWER) return [this.rule('never', [])]
    return [...this.#exactly(of, least), { kind: 'times', of, least: 0, most: Infinity }]
  }

  #exactly (of: Unit, count: number): Sequence {
    if (count === 0) return []
    if (count <= FEW_TIMES) return [{ kind: 'times', of, least: count, most: count }]
    const size = Math.ceil(Math.sqrt(count))
    return [...this.#exactlyFew(this.#block(of, size), Math.floor(count / size)), ...this.#exactlyFew(of, count % size)]
  }

  #exactlyFew (of: Unit, count: number): Sequence {
    return count === 0 ? [] : [{ kind: 'times', of, least: count, most: count }]
  }

  /** Counting by ones takes `most` rules; by blocks and a rest, twice its square root. */
  #upTo (of: Unit, most: number): Sequence {
    if (most === 0) return []
    if (most <= FEW_TIMES) return [{ kind: 'times', of, least: 0, most }]
    const size = Math.ceil(Math.sqrt(most + 1))
    const full = Math.floor(most / size)
    const block = this.#block(of, size)
    return [this.rule('up-to', [
      [{ kind: 'times', of: block, least: 0, most: full - 1 }, { kind: 'times', of, least: 0, most: size - 1 }],
      [...this.#exactlyFew(block, full), { kind: 'times', of, least: 0, most: most - full * size }]
    ])]
  }

  #block (of: Unit, size: number): Rule {
    return this.rule('block', [[{ kind: 'times', of, least: size, most: size }]])
  }

  /**
   * The text, from the rule `root` on: without what nothing matches, and without what nobody refers to.
   * @returns null when nothing at all matches
   * @throws GatewayError `unsupported_value` when it would be too much for llama.cpp
   */
  print (start: Rule, path: string): string | null {
    const rules = prune(this.#rules)
    if (!rules.has(start.name)) return null
    const alias = aliases(rules)
    const reachable = reach(rules, alias, start)
    checkSize(reachable, alias, path)
    const lines = ['root ::= ' + actual(alias, start.name)]
    for (const [name, choice] of reachable) lines.push(`${name} ::= ${printChoice(choice, alias)}`)
    const grammar = lines.join('\n') + '\n'
    if (grammar.length > MAX_CHARACTERS) {
      throw unsupported(path, `the schema makes a grammar of ${grammar.length} characters; at most ${MAX_CHARACTERS} are taken. Make it smaller.`)
    }
    return grammar
  }
}

function wordOf (hint: string): string {
  if (/^[a-zA-Z0-9-]{1,32}$/.test(hint)) return hint
  return hint.replace(/[^a-zA-Z0-9]+/g, '-').slice(0, 32).replace(/^-|-$/g, '') || 'value'
}

/** Leaves out every sequence that can never be completed, be it impossible or endless. */
function prune (rules: ReadonlyMap<string, Choice>): Map<string, Choice> {
  const waiting = new Map<string, { name: string, missing: number }[]>()
  const ready: string[] = []
  const productive = new Set<string>()
  const found = (name: string): void => {
    if (productive.has(name)) return
    productive.add(name)
    ready.push(name)
  }
  for (const [name, choice] of rules) {
    for (const sequence of choice) {
      const needs = new Set(sequence.flatMap(needed))
      const entry = { name, missing: needs.size }
      if (needs.size === 0) found(name)
      for (const need of needs) {
        const others = waiting.get(need)
        if (others === undefined) waiting.set(need, [entry])
        else others.push(entry)
      }
    }
  }
  for (let name = ready.pop(); name !== undefined; name = ready.pop()) {
    for (const entry of waiting.get(name) ?? []) if (--entry.missing === 0) found(entry.name)
  }
  return new Map([...rules].filter(([name]) => productive.has(name)).map(([name, choice]) => [name, choice
    .filter(sequence => sequence.flatMap(needed).every(need => productive.has(need)))
    .map(sequence => sequence.filter(atom => { const rule = ruleOf(atom); return rule === null || productive.has(rule) }))]))
}

function needed (atom: Atom): string[] {
  const name = ruleOf(atom)
  return name === null || (atom.kind === 'times' && atom.least === 0) ? [] : [name]
}

function ruleOf (atom: Atom): string | null {
  if (atom.kind === 'rule') return atom.name
  return atom.kind === 'times' && atom.of.kind === 'rule' ? atom.of.name : null
}

type Alias = ReadonlyMap<string, string>

/** Rules that are nothing but another name for a rule. */
function aliases (rules: ReadonlyMap<string, Choice>): Map<string, string> {
  const alias = new Map<string, string>()
  for (const [name, choice] of rules) {
    const [only] = choice
    if (choice.length === 1 && only!.length === 1 && only![0]!.kind === 'rule') alias.set(name, only![0]!.name)
  }
  return alias
}

/** Ends on a circle of names too: that is left recursion, and found as such. */
function actual (alias: Alias, name: string): string {
  const seen = new Set<string>()
  let now = name
  for (let next = alias.get(now); next !== undefined && !seen.has(now); next = alias.get(now)) {
    seen.add(now)
    now = next
  }
  return now
}

function reach (rules: ReadonlyMap<string, Choice>, alias: Alias, start: Rule): Map<string, Choice> {
  const reached = new Map<string, Choice>()
  const queue = [actual(alias, start.name)]
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (reached.has(name)) continue
    const choice = rules.get(name)!
    reached.set(name, choice)
    for (const atom of choice.flat()) {
      const rule = ruleOf(atom)
      if (rule !== null) queue.push(actual(alias, rule))
    }
  }
  return reached
}

function checkSize (rules: ReadonlyMap<string, Choice>, alias: Alias, path: string): void {
  let unrolled = 0
  for (const choice of rules.values()) {
    for (const atom of choice.flat()) if (atom.kind === 'times') unrolled += atom.most === Infinity ? atom.least + 1 : atom.most
  }
  if (unrolled > MAX_UNROLLED) throw unsupported(path, 'the bounds of the schema (maxLength, maxItems, …) add up to too much. Make them smaller, or leave some out.')
  const steps = leftSteps(rules, alias)
  if (steps === null) throw unsupported(path, 'a $ref leads back to itself with nothing in between.')
  if (steps > MAX_LEFT_STEPS) throw unsupported(path, 'too many choices begin with further choices. Merge nested anyOf.')
}

/** Steps that llama.cpp's search for left recursion takes at most, or null when there is some. */
function leftSteps (rules: ReadonlyMap<string, Choice>, alias: Alias): number | null {
  const empty = emptyRules(rules, alias)
  const steps = new Map<string, number>()
  const open = new Set<string>()
  let total = 0
  for (const start of rules.keys()) {
    const stack = [start]
    for (let name = stack.at(-1); name !== undefined; name = stack.at(-1)) {
      if (steps.has(name)) { stack.pop(); continue }
      const left = leftOf(rules.get(name)!, alias, empty)
      const missing = left.filter(rule => !steps.has(rule))
      if (missing.some(rule => open.has(rule) || rule === name)) return null
      if (missing.length > 0) {
        open.add(name)
        stack.push(...missing)
        continue
      }
      const own = 1 + left.reduce((sum, rule) => sum + steps.get(rule)!, 0)
      steps.set(name, own)
      total += own
      open.delete(name)
      stack.pop()
    }
  }
  return total
}

function leftOf (choice: Choice, alias: Alias, empty: ReadonlySet<string>): string[] {
  const left: string[] = []
  for (const sequence of choice) {
    for (const atom of sequence) {
      const rule = ruleOf(atom)
      if (rule !== null) left.push(actual(alias, rule))
      if (!isEmptyAtom(atom, alias, empty)) break
    }
  }
  return left
}

function isEmptyAtom (atom: Atom, alias: Alias, empty: ReadonlySet<string>): boolean {
  if (atom.kind === 'text') return atom.text === ''
  if (atom.kind === 'times') return atom.least === 0
  return atom.kind === 'rule' && empty.has(actual(alias, atom.name))
}

function emptyRules (rules: ReadonlyMap<string, Choice>, alias: Alias): Set<string> {
  const empty = new Set<string>()
  for (let size = -1; size !== empty.size;) {
    size = empty.size
    for (const [name, choice] of rules) {
      if (choice.some(sequence => sequence.every(atom => isEmptyAtom(atom, alias, empty)))) empty.add(name)
    }
  }
  return empty
}

const NO_ALIAS: Alias = new Map()

function printChoice (choice: Choice, alias = NO_ALIAS): string {
  return [...new Set(choice.map(sequence => printSequence(sequence, alias)))].join(' | ')
}

function printSequence (sequence: Sequence, alias: Alias): string {
  const parts: string[] = []
  for (let at = 0; at < sequence.length;) {
    const atom = sequence[at]!
    let end = at + 1
    // Literals next to each other are one literal; the same characters several times over are a repetition.
    if (atom.kind === 'text') while (sequence[end]?.kind === 'text') end++
    if (atom.kind === 'chars') while (isSameChars(sequence[end], atom)) end++
    if (atom.kind === 'text') parts.push(printText(sequence.slice(at, end).map(one => (one as Text).text).join('')))
    else if (atom.kind === 'chars') parts.push(printChars(atom.set) + printTimes(end - at, end - at))
    else parts.push(printAtom(atom, alias))
    at = end
  }
  // An empty sequence before the end of a line would swallow the rule on the next one.
  return parts.length === 0 ? '""' : parts.join(' ')
}

function isSameChars (atom: Atom | undefined, { set }: Chars): boolean {
  return atom?.kind === 'chars' && (atom.set === set || (atom.set.length === set.length && atom.set.every(([first, last], i) => first === set[i]![0] && last === set[i]![1])))
}

function printAtom (atom: Atom, alias: Alias): string {
  if (atom.kind === 'text') return printText(atom.text)
  if (atom.kind === 'rule') return actual(alias, atom.name)
  if (atom.kind === 'chars') return printChars(atom.set)
  return printAtom(atom.of, alias) + printTimes(atom.least, atom.most)
}

function printTimes (least: number, most: number): string {
  if (most === Infinity) return least === 0 ? '*' : least === 1 ? '+' : `{${least},}`
  if (least === most) return least === 1 ? '' : `{${least}}`
  return least === 0 && most === 1 ? '?' : `{${least},${most}}`
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

function printText (value: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what it is about
  return `"${value.replace(/[\\"\x00-\x1F\x7F]/g, character => ESCAPES[character] ?? hex(character.codePointAt(0)!))}"`
}

function printChars (set: Ranges): string {
  return `[${set.map(([first, last]) => first === last ? printPoint(first) : `${printPoint(first)}-${printPoint(last)}`).join('')}]`
}

function printPoint (point: number): string {
  const character = String.fromCodePoint(point)
  return /^[a-zA-Z0-9]$/.test(character) ? character : hex(point)
}

function hex (point: number): string {
  const digits = point.toString(16).toUpperCase()
  if (point <= 0xFF) return `\\x${digits.padStart(2, '0')}`
  return point <= 0xFFFF ? `\\u${digits.padStart(4, '0')}` : `\\U${digits.padStart(8, '0')}`
}
