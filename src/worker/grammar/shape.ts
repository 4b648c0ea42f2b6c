/**
 * What a schema asks, in one place: the keywords of one schema, or of several that all have to hold. Keywords that
 * ask for alternatives (anyOf, oneOf) are not in it; a schema with them has several shapes.
 */
import { FORMATS } from './formats.ts'
import type { Bound } from './number.ts'
import { below, invalid, unsupported, type Path } from './refusal.ts'
import { isMembers, type Document, type Members, type Node } from './schema.ts'

export type Type = 'null' | 'boolean' | 'number' | 'string' | 'object' | 'array'
export const TYPES: readonly Type[] = ['null', 'boolean', 'number', 'string', 'object', 'array']

/** Schemas that all have to hold. */
export type All = readonly Node[]

export interface Shape {
  /** null: not said */
  readonly types: ReadonlySet<Type> | null
  /** Of numbers, integers only. */
  readonly isInteger: boolean
  /** The only values, null for any. */
  readonly values: readonly unknown[] | null
  readonly least: Bound | null
  readonly most: Bound | null
  readonly step: { readonly value: number, readonly path: Path } | null
  readonly minLength: number
  readonly maxLength: number
  readonly languages: readonly Language[]
  readonly properties: ReadonlyMap<string, All>
  readonly patterns: readonly { readonly language: Language, readonly value: Node }[]
  readonly required: ReadonlySet<string>
  /** For members that are not among the properties; null: not said. */
  readonly additional: All | null
  readonly names: All
  readonly minProperties: number
  readonly maxProperties: number
  readonly prefix: readonly All[]
  /** For items after the prefix; null: not said. */
  readonly items: All | null
  readonly minItems: number
  readonly maxItems: number
  /** Which branch of which oneOf it comes from, by the node's id. */
  readonly branches: ReadonlyMap<number, Branch>
  /** Where it was said, for complaints. */
  readonly path: Path
}

export interface Branch { readonly index: number, readonly path: Path }

/** The texts of a pattern or a format. */
export interface Language { readonly path: Path, readonly source: string }

const MAX_VALUES = 1000

export const ANY: Shape = {
  types: null, isInteger: false, values: null, least: null, most: null, step: null,
  minLength: 0, maxLength: Infinity, languages: [],
  properties: new Map(), patterns: [], required: new Set(), additional: null, names: [], minProperties: 0, maxProperties: Infinity,
  prefix: [], items: null, minItems: 0, maxItems: Infinity, branches: new Map(), path: ''
}

/** The keywords of `node` itself, without those that hold alternatives or refer elsewhere. */
export function readShape (document: Document, node: Node): Shape {
  const { schema, path } = node
  if (typeof schema === 'boolean') return ANY
  const read = new Reader(document, node, schema)
  return {
    ...read.types(),
    values: read.values(),
    ...read.numbers(),
    minLength: read.count('minLength', 0),
    maxLength: read.count('maxLength', Infinity),
    languages: read.languages(),
    ...read.object(),
    ...read.array(),
    branches: ANY.branches,
    path
  }
}

class Reader {
  readonly #document: Document
  readonly #node: Node
  readonly #schema: Members

  constructor (document: Document, node: Node, schema: Members) {
    this.#document = document
    this.#node = node
    this.#schema = schema
  }

  types (): Pick<Shape, 'types' | 'isInteger'> {
    const type = this.#schema['type']
    if (type === undefined) return { types: null, isInteger: false }
    const names: readonly unknown[] = Array.isArray(type) ? type : [type]
    if (names.length === 0) throw invalid(this.#at('type'), 'at least one type')
    for (const name of names) {
      if (name !== 'integer' && !TYPES.includes(name as Type)) throw invalid(this.#at('type'), `${TYPES.join(', ')} or integer, or an array of them`)
    }
    return {
      types: new Set(names.map(name => name === 'integer' ? 'number' : name as Type)),
      isInteger: names.includes('integer') && !names.includes('number')
    }
  }

  values (): readonly unknown[] | null {
    const { enum: several, const: one } = this.#schema
    if (several !== undefined && !Array.isArray(several)) throw invalid(this.#at('enum'), 'an array')
    if (Array.isArray(several) && several.length > MAX_VALUES) throw unsupported(this.#at('enum'), `there are ${several.length} values; at most ${MAX_VALUES} are taken.`)
    if (!Object.hasOwn(this.#schema, 'const')) return several ?? null
    return several === undefined ? [one] : common([one], several)
  }

  numbers (): Pick<Shape, 'least' | 'most' | 'step'> {
    const { format } = this.#schema
    const width = format === 'int32' ? { least: -(2 ** 31), most: 2 ** 31 - 1 } : null
    const step = this.number('multipleOf')
    if (step !== null && step <= 0) throw invalid(this.#at('multipleOf'), 'a number above 0')
    return {
      least: tighter(this.#bound('minimum', 'exclusiveMinimum', 1), width === null ? null : { value: width.least, isExclusive: false }, 1),
      most: tighter(this.#bound('maximum', 'exclusiveMaximum', -1), width === null ? null : { value: width.most, isExclusive: false }, -1),
      step: step === null ? null : { value: step, path: this.#at('multipleOf') }
    }
  }

  /** In draft 4 and OpenAPI 3.0, `exclusiveMinimum` is true or false and speaks of `minimum`. */
  #bound (inclusive: string, exclusive: string, direction: 1 | -1): Bound | null {
    const value = this.number(inclusive)
    if (typeof this.#schema[exclusive] === 'boolean') return value === null ? null : { value, isExclusive: this.#schema[exclusive] }
    const beyond = this.number(exclusive)
    return tighter(value === null ? null : { value, isExclusive: false }, beyond === null ? null : { value: beyond, isExclusive: true }, direction)
  }

  languages (): Language[] {
    const { pattern, format } = this.#schema
    const languages: Language[] = []
    if (format !== undefined) {
      if (typeof format !== 'string') throw invalid(this.#at('format'), 'a string')
      const source = Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined
      if (source !== undefined) languages.push({ source, path: this.#at('format') })
      else if (!NUMBER_FORMATS.has(format) && (pattern === undefined || !WITH_PATTERN.has(format))) {
        throw unsupported(this.#at('format'), `the format ${JSON.stringify(format.slice(0, 64))} is not known to local models; these are: ${Object.keys(FORMATS).join(', ')}.`)
      }
    }
    if (pattern !== undefined) {
      if (typeof pattern !== 'string') throw invalid(this.#at('pattern'), 'a string')
      languages.push({ source: pattern, path: this.#at('pattern') })
    }
    return languages
  }

  object (): Pick<Shape, 'properties' | 'patterns' | 'required' | 'additional' | 'names' | 'minProperties' | 'maxProperties'> {
    const { required = [], additionalProperties, propertyNames } = this.#schema
    if (!Array.isArray(required) || !required.every(name => typeof name === 'string')) throw invalid(this.#at('required'), 'an array of strings')
    const patterns = this.#members('patternProperties')
    return {
      properties: new Map([...this.#members('properties')].map(([name, node]) => [name, [node]])),
      patterns: [...patterns].map(([source, value]) => ({ language: { source, path: value.path }, value })),
      required: new Set(required as string[]),
      additional: additionalProperties === undefined ? null : [this.#child(additionalProperties, 'additionalProperties')],
      names: propertyNames === undefined ? [] : [this.#child(propertyNames, 'propertyNames')],
      minProperties: this.count('minProperties', 0),
      maxProperties: this.count('maxProperties', Infinity)
    }
  }

  array (): Pick<Shape, 'prefix' | 'items' | 'minItems' | 'maxItems'> {
    const { items, prefixItems, additionalItems, uniqueItems } = this.#schema
    if (uniqueItems !== undefined && uniqueItems !== false && this.count('maxItems', Infinity) > 1) {
      throw unsupported(this.#at('uniqueItems'), 'a model cannot be kept from repeating an item; leave uniqueItems out.')
    }
    // Up to draft 2019-09, a tuple is an array of schemas in `items`, and `additionalItems` is what follows.
    const isOld = Array.isArray(items)
    const prefix: unknown = isOld ? items : prefixItems ?? []
    if (!Array.isArray(prefix)) throw invalid(this.#at('prefixItems'), 'an array of schemas')
    const rest = isOld ? additionalItems : items
    return {
      prefix: prefix.map((item, i) => [this.#child(item, isOld ? 'items' : 'prefixItems', i)]),
      items: rest === undefined ? null : [this.#child(rest, isOld ? 'additionalItems' : 'items')],
      minItems: this.count('minItems', 0),
      maxItems: this.count('maxItems', Infinity)
    }
  }

  count (keyword: string, otherwise: number): number {
    const value = this.number(keyword)
    if (value === null) return otherwise
    if (!Number.isInteger(value) || value < 0) throw invalid(this.#at(keyword), 'a whole number from 0')
    return value
  }

  number (keyword: string): number | null {
    const value = this.#schema[keyword]
    if (value === undefined) return null
    if (typeof value !== 'number' || !Number.isFinite(value)) throw invalid(this.#at(keyword), 'a number')
    return value
  }

  #members (keyword: string): Map<string, Node> {
    const value = this.#schema[keyword]
    if (value === undefined) return new Map()
    if (!isMembers(value)) throw invalid(this.#at(keyword), 'an object of schemas')
    return new Map(Object.entries(value).map(([name, schema]) => [name, this.#child(schema, keyword, name)]))
  }

  #child (value: unknown, ...keys: readonly (string | number)[]): Node { return this.#document.child(this.#node, value, ...keys) }
  #at (keyword: string): Path { return below(this.#node.path, keyword) }
}

/** OpenAPI's formats of numbers. Of them only int32 bounds a value. */
const NUMBER_FORMATS = new Set(['int32', 'int64', 'float', 'double'])
/** Formats that some libraries write next to the pattern that says all about them. */
const WITH_PATTERN = new Set(['cuid', 'cuid2', 'ulid', 'nanoid', 'xid', 'ksuid', 'guid', 'base64', 'base64url', 'e164', 'cidrv4', 'cidrv6', 'regex', 'emoji', 'lowercase', 'uppercase', 'starts_with', 'ends_with', 'includes', 'mac', 'hex', 'jwt'])

/** Of two bounds the one that allows less. @param direction 1 for lower bounds */
function tighter (a: Bound | null, b: Bound | null, direction: 1 | -1): Bound | null {
  if (a === null || b === null) return a ?? b
  if (a.value === b.value) return a.isExclusive ? a : b
  return (a.value - b.value) * direction > 0 ? a : b
}

/** Both hold. */
export function both (a: Shape, b: Shape): Shape {
  if (a === ANY) return b
  if (b === ANY) return a
  return {
    types: a.types === null || b.types === null ? a.types ?? b.types : new Set([...a.types].filter(type => b.types!.has(type))),
    isInteger: a.isInteger || b.isInteger,
    values: a.values === null || b.values === null ? a.values ?? b.values : common(a.values, b.values),
    least: tighter(a.least, b.least, 1),
    most: tighter(a.most, b.most, -1),
    step: bothSteps(a, b),
    minLength: Math.max(a.minLength, b.minLength),
    maxLength: Math.min(a.maxLength, b.maxLength),
    languages: [...a.languages, ...b.languages.filter(({ source }) => !a.languages.some(known => known.source === source))],
    ...bothObjects(a, b),
    ...bothArrays(a, b),
    branches: new Map([...a.branches, ...b.branches]),
    path: a.path
  }
}

function common (a: readonly unknown[], b: readonly unknown[]): readonly unknown[] {
  const keys = new Set(b.map(keyOf))
  return a.filter(value => keys.has(keyOf(value)))
}

function bothSteps (a: Shape, b: Shape): Shape['step'] {
  if (a.step === null || b.step === null) return a.step ?? b.step
  if (Number.isInteger(a.step.value / b.step.value)) return a.step
  if (Number.isInteger(b.step.value / a.step.value)) return b.step
  throw unsupported(b.step.path, 'it cannot be combined with another multipleOf.')
}

function bothObjects (a: Shape, b: Shape): Pick<Shape, 'properties' | 'patterns' | 'required' | 'additional' | 'names' | 'minProperties' | 'maxProperties'> {
  const patterned = [a, b].find(({ patterns }) => patterns.length > 0)
  const other = patterned === a ? b : a
  if (patterned !== undefined && (other.properties.size > 0 || other.additional !== null || other.patterns.length > 0)) {
    throw unsupported(patterned.patterns[0]!.language.path, 'patternProperties cannot be combined with the properties of another schema.')
  }
  const names = new Set([...a.properties.keys(), ...b.properties.keys()])
  return {
    properties: new Map([...names].map(name => [name, distinct([
      ...a.properties.get(name) ?? a.additional ?? [],
      ...b.properties.get(name) ?? b.additional ?? []
    ])])),
    patterns: [...a.patterns, ...b.patterns],
    required: new Set([...a.required, ...b.required]),
    additional: a.additional === null || b.additional === null ? a.additional ?? b.additional : distinct([...a.additional, ...b.additional]),
    names: distinct([...a.names, ...b.names]),
    minProperties: Math.max(a.minProperties, b.minProperties),
    maxProperties: Math.min(a.maxProperties, b.maxProperties)
  }
}

function bothArrays (a: Shape, b: Shape): Pick<Shape, 'prefix' | 'items' | 'minItems' | 'maxItems'> {
  return {
    prefix: Array.from({ length: Math.max(a.prefix.length, b.prefix.length) }, (_, i) => distinct([
      ...a.prefix[i] ?? a.items ?? [],
      ...b.prefix[i] ?? b.items ?? []
    ])),
    items: a.items === null || b.items === null ? a.items ?? b.items : distinct([...a.items, ...b.items]),
    minItems: Math.max(a.minItems, b.minItems),
    maxItems: Math.min(a.maxItems, b.maxItems)
  }
}

/** Without what holds always, and each once. */
export function distinct (nodes: All): All {
  const byId = new Map(nodes.map(node => [node.id, node]))
  byId.delete(0)
  return [...byId.values()]
}

/** The types that are written: those that are named, else those that the keywords speak of, else all. */
export function writtenTypes (shape: Shape): ReadonlySet<Type> {
  if (shape.types !== null) return shape.types
  if (shape.values !== null) return new Set(TYPES)
  const meant = TYPES.filter(type => isBound(shape, type))
  return new Set(meant.length === 0 ? TYPES : meant)
}

/** Does the shape ask anything of values of this type, besides to be of it? */
export function isBound (shape: Shape, type: Type): boolean {
  switch (type) {
    case 'number': return shape.isInteger || shape.least !== null || shape.most !== null || shape.step !== null
    case 'string': return shape.minLength > 0 || shape.maxLength < Infinity || shape.languages.length > 0
    case 'object': return shape.properties.size > 0 || shape.patterns.length > 0 || shape.required.size > 0 || shape.additional !== null ||
      shape.names.length > 0 || shape.minProperties > 0 || shape.maxProperties < Infinity
    case 'array': return shape.prefix.length > 0 || shape.items !== null || shape.minItems > 0 || shape.maxItems < Infinity
    default: return false
  }
}

/** The same for values that JSON Schema takes for equal: members in any order. */
export function keyOf (value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  return JSON.stringify(value, (_, member: unknown) => isMembers(member) ? sorted(member) : member)
}

function sorted (members: Members): Members {
  return Object.fromEntries(Object.entries(members).toSorted(([a], [b]) => a < b ? -1 : 1))
}
