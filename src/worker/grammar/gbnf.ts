/**
 * The parts of a grammar, and how they are written in GBNF. Source: grammars/README.md and src/llama-grammar.cpp of
 * llama.cpp, read 2026-11-22.
 *
 * A rule is a choice of sequences. There are no groups: what has to be repeated or chosen within a sequence is a rule
 * of its own, because llama.cpp multiplies the repetitions of nested groups and refuses what exceeds 2,000.
 */
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

export const text = (value: string): Text => ({ kind: 'text', text: value })
export const chars = (set: Ranges): Text | Chars => set.length === 1 && set[0]![0] === set[0]![1] ? text(String.fromCodePoint(set[0]![0])) : { kind: 'chars', set }

/** Rules that are nothing but another name for a rule. */
export type Alias = ReadonlyMap<string, string>

const NO_ALIAS: Alias = new Map()

/** Ends on a circle of names too: that is left recursion, and found as such. */
export function actual (alias: Alias, name: string): string {
  if (!alias.has(name)) return name
  const seen = new Set<string>()
  let now = name
  for (let next = alias.get(now); next !== undefined && !seen.has(now); next = alias.get(now)) {
    seen.add(now)
    now = next
  }
  return now
}

export function ruleOf (atom: Atom): string | null {
  if (atom.kind === 'rule') return atom.name
  return atom.kind === 'times' && atom.of.kind === 'rule' ? atom.of.name : null
}

export function printChoice (choice: Choice, alias = NO_ALIAS): string {
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
