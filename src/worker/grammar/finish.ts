/** From the rules that a schema made to those that llama.cpp is given. */
import { actual, printChoice, ruleOf, type Alias, type Atom, type Choice, type Rule } from './gbnf.ts'
import { unsupported, type Path } from './refusal.ts'

/** Longest grammar, in characters. */
const MAX_CHARACTERS = 256 * 1024
/** llama.cpp unrolls repetitions: each that may be left out is a rule, and costs every answer some 1 µs. */
const MAX_UNROLLED = 20_000
/** Those that may not be left out are copies within a rule, and cost this much less. */
const COPIES_PER_RULE = 20
/** llama.cpp looks for left recursion along every path from every rule, without remembering where it has been. */
const MAX_LEFT_STEPS = 20_000_000

/**
 * The text, from the rule `root` on: without what nothing matches, and without what nobody refers to.
 * @returns null when nothing at all matches
 * @throws GatewayError `unsupported_value` when it would be too much for llama.cpp
 */
export function finish (all: ReadonlyMap<string, Choice>, start: Rule, path: Path): string | null {
  const rules = prune(all)
  if (!rules.has(start.name)) return null
  const alias = aliases(rules)
  const reachable = reach(rules, alias, start)
  checkSize(reachable, alias, path)
  const lines = [`root ::= ${actual(alias, start.name)}`]
  for (const [name, choice] of reachable) lines.push(`${name} ::= ${printChoice(choice, alias)}`)
  const grammar = lines.join('\n') + '\n'
  if (grammar.length > MAX_CHARACTERS) {
    throw unsupported(path, `the schema makes a grammar of ${grammar.length} characters; at most ${MAX_CHARACTERS} are taken. Make it smaller.`)
  }
  return grammar
}

/** Leaves out every sequence that can never be completed, be it impossible or endless. */
function prune (rules: ReadonlyMap<string, Choice>): ReadonlyMap<string, Choice> {
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
  if (productive.size === rules.size) return rules
  return new Map([...rules].filter(([name]) => productive.has(name)).map(([name, choice]) => [name, choice
    .filter(sequence => sequence.flatMap(needed).every(need => productive.has(need)))
    .map(sequence => sequence.filter(atom => { const rule = ruleOf(atom); return rule === null || productive.has(rule) }))]))
}

function needed (atom: Atom): string[] {
  const name = ruleOf(atom)
  return name === null || (atom.kind === 'times' && atom.least === 0) ? [] : [name]
}

/** Rules that are nothing but another name for a rule. */
function aliases (rules: ReadonlyMap<string, Choice>): Map<string, string> {
  const alias = new Map<string, string>()
  for (const [name, choice] of rules) {
    const [only] = choice
    if (choice.length === 1 && only!.length === 1 && only![0]!.kind === 'rule') alias.set(name, only![0]!.name)
  }
  return alias
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
    for (const atom of choice.flat()) if (atom.kind === 'times') unrolled += atom.least / COPIES_PER_RULE + (atom.most === Infinity ? 1 : atom.most - atom.least)
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
