/** Strings as JSON text: any, of a length, or those of an automaton. */
import { steps, type Automaton } from './automaton.ts'
import { charsOf, complement, minus, union, type Ranges } from './ranges.ts'
import { chars, text, type Atom, type Choice, type Rule, type Sequence } from './gbnf.ts'
import type { Rules } from './rules.ts'

const LAST_CONTROL = 0x1F
const ESCAPED = union(charsOf('"\\'), [[0, LAST_CONTROL]])
const RAW = complement(ESCAPED)
const HEX = charsOf('0-9A-Fa-f')
/** What stands for a character after a backslash. */
const SHORT: Readonly<Record<string, number>> = { '"': 34, '\\': 92, b: 8, f: 12, n: 10, r: 13, t: 9 }
const SHORT_POINTS: Ranges = union(...Object.values(SHORT).map((point): Ranges => [[point, point]]))

/** Any string of `least` to `most` characters, in whatever way they are escaped. */
export function plainString (rules: Rules, least: number, most: number): Sequence {
  const count = most === Infinity ? (least === 0 ? 'string' : `string-from-${least}`) : `string-${least}-${most}`
  return [rules.shared(count, () => [[text('"'), ...rules.times(anyCharacter(rules), least, most), text('"')]])]
}

/** One character. Half of a surrogate pair can be written, but it is no character and breaks whatever reads it. */
function anyCharacter (rules: Rules): Rule {
  const hex = chars(HEX)
  return rules.shared('char', () => [[chars(RAW)], [text('\\'), chars(charsOf('"\\/bfnrt'))], [text('\\u'), rules.rule('code-unit', [
    [chars(charsOf('0-9A-CEFa-cef')), hex, hex, hex],
    [chars(charsOf('Dd')), chars(charsOf('0-7')), hex, hex],
    [chars(charsOf('Dd')), chars(charsOf('89ABab')), hex, hex, text('\\u'), chars(charsOf('Dd')), chars(charsOf('C-Fc-f')), hex, hex]
  ])]])
}

/**
 * The strings of an automaton, each in one way: as JSON.stringify writes it. Without the opening quote, and with
 * `after` behind the closing one.
 */
export function stringOf (rules: Rules, automaton: Automaton, hint: string, after: Sequence = []): Sequence {
  return new StringRules(rules, automaton, hint, [text('"'), ...after]).sequence()
}

/** Longest sequence that is copied into another one instead of being a rule. */
const MAX_INLINE = 40

/**
 * One rule per state, but for chains: states that lead on in only one way and are reached in only one way. Rules are
 * made from the end on, so that states that go on in the same way become the same rule.
 */
class StringRules {
  readonly #rules: Rules
  readonly #automaton: Automaton
  readonly #hint: string
  readonly #end: Sequence
  readonly #arrivals: Int32Array
  /** How each finished state goes on, and the rules of those that were referred to before they were finished. */
  readonly #finished: (Sequence | undefined)[] = []
  readonly #reserved = new Map<number, Rule>()

  constructor (rules: Rules, automaton: Automaton, hint: string, end: Sequence) {
    this.#rules = rules
    this.#automaton = automaton
    this.#hint = hint
    this.#end = end
    this.#arrivals = new Int32Array(automaton.next.length)
    for (const row of automaton.next) for (const to of new Set(row)) if (to >= 0) this.#arrivals[to]!++
  }

  sequence (): Sequence {
    const stack = [0]
    const open = new Set<number>()
    while (stack.length > 0) {
      const state = stack.at(-1)!
      const targets = this.#finished[state] === undefined ? written(this.#automaton, state) : []
      const missing = open.has(state) ? [] : targets.map(({ to }) => to).filter(to => this.#finished[to] === undefined && !open.has(to))
      if (missing.length > 0) {
        open.add(state)
        stack.push(...missing)
        continue
      }
      stack.pop()
      if (this.#finished[state] === undefined) this.#finish(state, targets)
      open.delete(state)
    }
    return this.#finished[0]!
  }

  #finish (state: number, targets: readonly Target[]): void {
    const choice: Sequence[] = []
    for (const { to, by } of targets) for (const one of by) choice.push([...one, ...this.#goOn(to)])
    if (this.#automaton.accepts[state]!) choice.push(this.#end)
    const reserved = this.#reserved.get(state)
    if (reserved !== undefined) {
      this.#rules.define(reserved, choice)
      this.#finished[state] = [reserved]
    } else {
      const [only] = choice
      const isInline = choice.length === 1 && this.#arrivals[state]! <= 1 && only!.length <= MAX_INLINE
      this.#finished[state] = isInline ? only! : [this.#rules.rule(this.#hint, choice)]
    }
  }

  #goOn (state: number): Sequence {
    const finished = this.#finished[state]
    if (finished !== undefined) return finished
    let rule = this.#reserved.get(state)
    if (rule === undefined) {
      rule = this.#rules.reserve(this.#hint)
      this.#reserved.set(state, rule)
    }
    return [rule]
  }
}

interface Target { readonly to: number, readonly by: Choice }

/** By automaton and state: those of formats come again and again. */
const known = new WeakMap<Automaton, Target[][]>()

function written (automaton: Automaton, state: number): readonly Target[] {
  let states = known.get(automaton)
  if (states === undefined) known.set(automaton, states = [])
  return states[state] ??= [...steps(automaton, state)].map(([to, set]) => ({ to, by: characters(set) }))
}

/** One character of the set, as JSON.stringify writes it. */
function characters (set: Ranges): Choice {
  const raw = minus(set, ESCAPED)
  const choice: Atom[][] = raw.length > 0 ? [[chars(raw)]] : []
  const short = Object.entries(SHORT).filter(([, point]) => holds(set, point)).map(([letter]) => letter)
  if (short.length > 0) choice.push([text('\\'), chars(charsOf(short.join('')))])
  if (set[0]![0] > LAST_CONTROL) return choice
  for (const high of [0, 1]) {
    const digits = [...'0123456789abcdef'].filter((_, low) => holds(set, high * 16 + low) && !holds(SHORT_POINTS, high * 16 + low))
    if (digits.length > 0) choice.push([text(`\\u00${high}`), chars(charsOf(digits.join('')))])
  }
  return choice
}

function holds (set: Ranges, point: number): boolean { return set.some(([first, last]) => first <= point && point <= last) }
