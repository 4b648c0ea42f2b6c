/** A grammar under construction. */
import type { Effort } from './effort.ts'
import { finish } from './finish.ts'
import { printChoice, type Choice, type Rule, type Sequence, type Unit } from './gbnf.ts'
import type { Path } from './refusal.ts'

/** llama.cpp refuses more in one place, or takes them for "any number" without a word. */
const MAX_TIMES = 2000
/** Above this, a repetition is counted in blocks. */
const FEW_TIMES = 256
/** No context holds an answer of so many items or characters: a bound beyond it is met by every answer. */
const BEYOND_ANY_ANSWER = MAX_TIMES * MAX_TIMES

export class Rules {
  readonly #effort: Effort
  readonly #rules = new Map<string, Choice>()
  readonly #names = new Map<string, string>()
  readonly #shared = new Map<string, Rule>()
  readonly #taken = new Set(['root'])
  readonly #hints = new Map<string, number>()

  constructor (effort: Effort) { this.#effort = effort }

  /** A rule of this body; the same body gives the same rule. No sequence at all is a rule that nothing matches. */
  rule (hint: string, choice: Choice): Rule {
    const body = this.#body(choice)
    const known = this.#names.get(body)
    if (known !== undefined) return { kind: 'rule', name: known }
    const rule = this.reserve(hint)
    this.#set(rule, body, choice)
    return rule
  }

  /** A rule that many places want: made once. */
  shared (name: string, make: () => Choice): Rule {
    let rule = this.#shared.get(name)
    if (rule === undefined) this.#shared.set(name, rule = this.rule(name, make()))
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

  define (rule: Rule, choice: Choice): void {
    const body = this.#body(choice)
    const known = this.#names.get(body)
    if (known === undefined) this.#set(rule, body, choice)
    else this.#rules.set(rule.name, [[{ kind: 'rule', name: known }]])
  }

  #body (choice: Choice): string {
    const body = printChoice(choice)
    this.#effort.spend(body.length)
    return body
  }

  #set (rule: Rule, body: string, choice: Choice): void {
    this.#names.set(body, rule.name)
    this.#rules.set(rule.name, choice)
  }

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
    if (count <= FEW_TIMES) return this.#exactlyFew(of, count)
    const size = Math.ceil(Math.sqrt(count))
    return [...this.#exactlyFew(this.#block(of, size), Math.floor(count / size)), ...this.#exactlyFew(of, count % size)]
  }

  #exactlyFew (of: Unit, count: number): Sequence {
    return count === 0 ? [] : [{ kind: 'times', of, least: count, most: count }]
  }

  /** Counting by ones takes `most` rules; by blocks and a rest, twice its square root. */
  #upTo (of: Unit, most: number): Sequence {
    if (most <= FEW_TIMES) return this.#upToFew(of, most)
    const size = Math.ceil(Math.sqrt(most + 1))
    const full = Math.floor(most / size)
    const block = this.#block(of, size)
    return [this.rule('up-to', [
      [...this.#upToFew(block, full - 1), ...this.#upToFew(of, size - 1)],
      [...this.#exactlyFew(block, full), ...this.#upToFew(of, most - full * size)]
    ])]
  }

  #upToFew (of: Unit, most: number): Sequence {
    return most === 0 ? [] : [{ kind: 'times', of, least: 0, most }]
  }

  #block (of: Unit, size: number): Rule {
    return this.rule('block', [[{ kind: 'times', of, least: size, most: size }]])
  }

  /** The text, from the rule `root` on. @see finish */
  print (start: Rule, path: Path): string | null { return finish(this.#rules, start, path) }
}

function wordOf (hint: string): string {
  if (/^[a-zA-Z0-9-]{1,32}$/.test(hint)) return hint
  return hint.replace(/[^a-zA-Z0-9]+/g, '-').slice(0, 32).replace(/^-|-$/g, '') || 'value'
}
