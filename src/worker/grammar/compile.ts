/**
 * JSON Schema to GBNF: every text that the grammar allows is valid JSON that the schema allows. Not the other way
 * round: of the many ways to write a value the grammar has one, without line breaks and with members in the order in
 * which the schema declares them. What cannot be honoured is refused by name; nothing is left out silently.
 *
 * Drafts 4 to 2020-12, as far as they can be told apart, and OpenAPI's `nullable`.
 */
import { Alternatives } from './alternatives.ts'
import { anyBoolean, anyObject, anyValue } from './any.ts'
import { arrayChoice } from './array.ts'
import { Effort } from './effort.ts'
import { Languages } from './language.ts'
import { anyNumber, included, integers, numbers, type Bound } from './number.ts'
import { objectChoice, type Context } from './object.ts'
import { invalid, unsupported, type Path } from './refusal.ts'
import { text, type Choice, type Rule, type Sequence } from './gbnf.ts'
import { Rules } from './rules.ts'
import { Document, isOnly, type Node } from './schema.ts'
import { distinct, isBound, writtenTypes, type All, type Shape, type Type } from './shape.ts'
import { plainString, stringOf } from './string.ts'
import { listed } from './values.ts'

export interface Grammar { readonly grammar: string, readonly root: 'root' }

export interface CompileOptions {
  /** OpenAI's strict mode: an object without additionalProperties has no other members than those it declares. */
  readonly strict?: boolean
  /** Where the schema stands in the request, for `param` of errors. */
  readonly path?: Path
}

/** Values that a multipleOf is spelled out for. */
const MAX_MULTIPLES = 1000

/**
 * @throws GatewayError `unsupported_value` for what local models cannot be held to, `invalid_value` for what is no
 *   schema; `param` is the keyword at fault
 */
export function compileSchema (schema: unknown, { strict = false, path = 'response_format.json_schema.schema' }: CompileOptions = {}): Grammar {
  const compiler = new Compiler(new Document(schema, path), strict, new Effort(path))
  return { grammar: compiler.compile(path), root: 'root' }
}

let jsonObject: Grammar | undefined

/** Any JSON object, for response_format json_object. */
export function jsonObjectGrammar (): Grammar {
  if (jsonObject === undefined) {
    const rules = new Rules(new Effort('response_format'))
    jsonObject = { grammar: rules.print(anyObject(rules), 'response_format')!, root: 'root' }
  }
  return jsonObject
}

class Compiler implements Context {
  readonly rules: Rules
  readonly languages: Languages
  readonly strict: boolean
  readonly #document: Document
  readonly #alternatives: Alternatives
  readonly #known = new Map<string, Rule>()
  readonly #queue: { rule: Rule, nodes: All }[] = []

  constructor (document: Document, strict: boolean, effort: Effort) {
    this.#document = document
    this.strict = strict
    this.rules = new Rules(effort)
    this.languages = new Languages(effort)
    this.#alternatives = new Alternatives(document, this.languages, effort)
  }

  compile (path: Path): string {
    const root = this.value([this.#document.root])
    for (let next = this.#queue.pop(); next !== undefined; next = this.#queue.pop()) this.rules.define(next.rule, this.#choice(next.nodes))
    const grammar = this.rules.print(root, path)
    if (grammar === null) throw invalid(path, 'a schema that some value can satisfy: what it asks contradicts itself, or never ends')
    return grammar
  }

  strings (nodes: All): readonly Shape[] { return this.#alternatives.shapes(nodes).filter(({ types }) => types === null || types.has('string')) }
  member (shape: Shape, name: string): All { return this.#alternatives.member(shape, name) }
  fits (nodes: All, value: unknown): boolean { return this.#alternatives.fits(nodes, value) }

  // The work waits in a queue: schemas that refer to themselves are finite, but endless to follow.
  value (nodes: All): Rule {
    const all = distinct(nodes.map(node => this.#essence(node)))
    const key = all.map(({ id }) => id).toSorted((a, b) => a - b).join()
    let rule = this.#known.get(key)
    if (rule === undefined) {
      if (all.length === 0) rule = anyValue(this.rules)
      else {
        rule = this.rules.reserve(all[0]!.name)
        this.#queue.push({ rule, nodes: all })
      }
      this.#known.set(key, rule)
    }
    return rule
  }

  /** What a schema that only passes on to another one passes on to. */
  #essence (node: Node): Node {
    let now = this.#document.resolve(node)
    for (let count = 0; isOnly(now, 'allOf') && count < 100; count++) {
      const parts = this.#alternatives.branches(now, 'allOf')
      if (parts.length !== 1) break
      now = this.#document.resolve(parts[0]!)
    }
    return now
  }

  #choice (nodes: All): Choice {
    const [only] = nodes
    if (nodes.length === 1) {
      if (isOnly(only!, 'anyOf')) return this.#branches(only!, 'anyOf')
      if (isOnly(only!, 'oneOf')) {
        this.#alternatives.shapes(nodes)
        return this.#branches(only!, 'oneOf')
      }
    }
    return this.#alternatives.shapes(nodes).flatMap(shape => this.#ofShape(shape))
  }

  #branches (node: Node, keyword: 'anyOf' | 'oneOf'): Choice {
    return this.#alternatives.branches(node, keyword).map(branch => [this.value([branch])])
  }

  #ofShape (shape: Shape): Choice {
    if (shape.values !== null) {
      const values = shape.values.filter(value => this.#alternatives.keeps(shape, value))
      return listed(this.rules, values)
    }
    return [...writtenTypes(shape)].flatMap(type => this.#ofType(type, shape))
  }

  #ofType (type: Type, shape: Shape): Choice {
    switch (type) {
      case 'null': return [[text('null')]]
      case 'boolean': return [[anyBoolean(this.rules)]]
      case 'number': return isBound(shape, type) ? this.#number(shape) : [[anyNumber(this.rules)]]
      case 'string': return this.#string(shape)
      case 'array': return arrayChoice(this, shape)
      case 'object': return isBound(shape, type) || this.strict ? objectChoice(this, shape) : [[anyObject(this.rules)]]
    }
  }

  #string (shape: Shape): Sequence[] {
    if (shape.minLength > shape.maxLength) return []
    if (shape.languages.length === 0) return [plainString(this.rules, shape.minLength, shape.maxLength)]
    const automaton = this.languages.strings(shape)
    return automaton === null ? [] : [[text('"'), ...stringOf(this.rules, automaton, 'text')]]
  }

  #number ({ isInteger, least, most, step }: Shape): Choice {
    if (step !== null && !(step.value === 1)) return this.#multiples(step.value, least, most, isInteger, step.path)
    if (isInteger || step !== null) return integers(this.rules, whole(least, 1), whole(most, -1))
    return numbers(this.rules, least, most, Infinity)
  }

  /** Powers of ten below 1 bound the decimals; other steps are spelled out, where there are few enough. */
  #multiples (step: number, least: Bound | null, most: Bound | null, isInteger: boolean, path: Path): Choice {
    const decimals = /^1e-(\d+)$/.exec(step.toExponential())?.[1]
    if (decimals !== undefined && !isInteger) return numbers(this.rules, least, most, Number(decimals))
    if (Number.isSafeInteger(step) && least !== null && most !== null && (most.value - least.value) / step <= MAX_MULTIPLES) {
      const multiples: number[] = []
      for (let value = Math.ceil(least.value / step) * step; value <= most.value; value += step) multiples.push(value + 0)
      return listed(this.rules, multiples.filter(value => !(least.isExclusive && value === least.value) && !(most.isExclusive && value === most.value)))
    }
    throw unsupported(path, `local models can be held to multiples of 1, of 0.1, 0.01 and so on, and of a whole number between a minimum and a maximum at most ${MAX_MULTIPLES} steps apart.`)
  }
}

/** The nearest integer within the bound. @param direction 1 for lower bounds */
function whole (bound: Bound | null, direction: 1 | -1): bigint | null {
  if (bound === null) return null
  const { value, isExclusive } = included(bound, direction)
  if (!Number.isInteger(value)) return BigInt(direction === 1 ? Math.ceil(value) : Math.floor(value))
  return BigInt(value) + (isExclusive ? BigInt(direction) : 0n)
}
