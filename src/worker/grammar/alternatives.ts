/** What a schema comes to: the shapes of which a value has to have one. */
import type { Effort } from './effort.ts'
import type { Languages } from './language.ts'
import { below, invalid, unsupported } from './refusal.ts'
import type { Document, Members, Node } from './schema.ts'
import { isMembers } from './schema.ts'
import { ANY, both, isBound, keyOf, readShape, TYPES, writtenTypes, type All, type Branch, type Shape, type Type } from './shape.ts'

/** Shapes of one place. Beyond that, the branches of several anyOf multiply. */
const MAX_SHAPES = 1000
const MAX_WITHIN = 100
/** How deep values are compared to tell two branches apart. */
const MAX_APART_DEPTH = 4

export class Alternatives {
  readonly #document: Document
  readonly #languages: Languages
  readonly #effort: Effort
  readonly #known = new Map<number, readonly Shape[]>()
  readonly #open = new Set<number>()

  constructor (document: Document, languages: Languages, effort: Effort) {
    this.#document = document
    this.#languages = languages
    this.#effort = effort
  }

  /** @throws GatewayError `unsupported_value` when the branches of a oneOf cannot be told apart */
  shapes (nodes: All): readonly Shape[] {
    const shapes = nodes.reduce<readonly Shape[]>((sum, node) => this.#product(node, sum, this.#ofNode(node)), [ANY])
    this.#checkBranches(shapes)
    return shapes
  }

  #ofNode (node: Node): readonly Shape[] {
    const { schema } = node
    if (typeof schema === 'boolean') return schema ? [ANY] : []
    const known = this.#known.get(node.id)
    if (known !== undefined) return known
    if (this.#open.size > MAX_WITHIN) throw unsupported(node.path, `more than ${MAX_WITHIN} allOf, anyOf, oneOf and $ref lie within each other.`)
    if (this.#open.has(node.id)) throw unsupported(node.path, 'a reference leads back here with no member or item in between.')
    this.#open.add(node.id)
    const shapes = this.#read(node, schema)
    this.#open.delete(node.id)
    this.#known.set(node.id, shapes)
    return shapes
  }

  #read (node: Node, schema: Members): readonly Shape[] {
    let shapes: readonly Shape[] = [readShape(this.#document, node)]
    if (schema['$ref'] !== undefined) shapes = this.#product(node, shapes, this.#ofNode(this.#document.target(schema['$ref'], below(node.path, '$ref'))))
    for (const part of this.branches(node, 'allOf')) shapes = this.#product(node, shapes, this.#ofNode(part))
    if (schema['anyOf'] !== undefined) shapes = this.#product(node, shapes, this.branches(node, 'anyOf').flatMap(branch => this.#ofNode(branch)))
    if (schema['oneOf'] !== undefined) shapes = this.#product(node, shapes, this.branches(node, 'oneOf').flatMap((branch, i) => this.#tagged(node, branch, i)))
    shapes = shapes.map(shape => closed(shape, schema, node))
    return this.isNullable(node) ? [...shapes, { ...ANY, types: new Set(['null']), path: node.path }] : shapes
  }

  /** OpenAPI 3.0: null is allowed as well, unless an enum of the same schema leaves it out. */
  isNullable ({ schema, path }: Node): boolean {
    const { nullable, enum: values, const: only } = schema as Members
    if (nullable !== undefined && typeof nullable !== 'boolean') throw invalid(below(path, 'nullable'), 'true or false')
    return nullable === true && only === undefined && (!Array.isArray(values) || values.includes(null))
  }

  /** The schemas in anyOf, oneOf or allOf. */
  branches (node: Node, keyword: 'anyOf' | 'oneOf' | 'allOf'): readonly Node[] {
    const branches = (node.schema as Members)[keyword]
    if (branches === undefined) return []
    if (!Array.isArray(branches) || branches.length === 0) throw invalid(below(node.path, keyword), 'an array with at least one schema')
    return branches.map((branch, i) => this.#document.child(node, branch, keyword, i))
  }

  #tagged (node: Node, branch: Node, index: number): Shape[] {
    return this.#ofNode(branch).map(shape => ({ ...shape, branches: new Map([...shape.branches, [node.id, { index, path: branch.path }]]) }))
  }

  #product (node: Node, some: readonly Shape[], others: readonly Shape[]): readonly Shape[] {
    if (some.length * others.length > MAX_SHAPES) throw unsupported(node.path, `there are more than ${MAX_SHAPES} combinations of alternatives.`)
    this.#effort.spend(others.length * sizesOf(some) + some.length * sizesOf(others))
    return some.flatMap(one => others.map(other => both(one, other)))
  }

  /** A value may match one branch of a oneOf only. The shapes know their branches, and all else that is asked with them. */
  #checkBranches (shapes: readonly Shape[]): void {
    const tagged = shapes.filter(({ branches }) => branches.size > 0)
    tagged.forEach((a, i) => {
      for (const b of tagged.slice(i + 1)) {
        const branch = conflict(a, b)
        if (branch !== null && !this.#areApart(a, b, 0)) {
          throw unsupported(branch.path, 'a value could match this branch of the oneOf and another one too. Use anyOf, or let a required property have another const in each branch.')
        }
      }
    })
  }

  /** No value that is written for one of them is valid for the other. */
  #areApart (a: Shape, b: Shape, depth: number): boolean {
    this.#effort.spend(sizeOf(a) + sizeOf(b))
    return this.#areApartAsWritten(a, b, depth) && this.#areApartAsWritten(b, a, depth)
  }

  #areApartAsWritten (written: Shape, valid: Shape, depth: number): boolean {
    if (written.values !== null) return written.values.every(value => !this.keeps(written, value) || !this.#fitsShape(valid, value))
    if (valid.values !== null) return valid.values.every(value => !this.keeps(valid, value) || !this.#fitsShape(written, value))
    return [...writtenTypes(written)].every(type => (valid.types !== null && !valid.types.has(type)) || this.#areApartIn(type, written, valid, depth))
  }

  #areApartIn (type: Type, a: Shape, b: Shape, depth: number): boolean {
    if (type === 'number') return isBelow(a, b) || isBelow(b, a)
    if (type === 'string') return a.maxLength < b.minLength || b.maxLength < a.minLength
    return type === 'object' && depth < MAX_APART_DEPTH && (this.#differsInMember(a, b, depth) || this.#differsInMember(b, a, depth))
  }

  /** Does a member that `a` requires keep its objects from being valid for `b`? */
  #differsInMember (a: Shape, b: Shape, depth: number): boolean {
    return [...a.required].some(name => {
      const there = b.properties.get(name) ?? b.additional
      if (there === null || there === undefined) return false
      const here = this.#unchecked(a.properties.get(name) ?? a.additional ?? [])
      return here.every(one => this.#unchecked(there).every(other => this.#areApart(one, other, depth + 1)))
    })
  }

  #unchecked (nodes: All): readonly Shape[] {
    return nodes.reduce<readonly Shape[]>((sum, node) => this.#product(node, sum, this.#ofNode(node)), [ANY])
  }

  /** Is the value valid? The value comes from the schema, and so is bounded with it. */
  fits (nodes: All, value: unknown): boolean {
    const fitting = this.#unchecked(nodes).filter(shape => this.#fitsShape(shape, value))
    return fitting.length > 0 && !fitting.some((a, i) => fitting.slice(i + 1).some(b => conflict(a, b) !== null))
  }

  #fitsShape (shape: Shape, value: unknown): boolean {
    this.#effort.spend(sizeOf(shape))
    const key = shape.values === null ? '' : keyOf(value)
    return (shape.values === null || shape.values.some(one => keyOf(one) === key)) && this.keeps(shape, value)
  }

  /** Is the value valid, besides being listed? */
  keeps (shape: Shape, value: unknown): boolean {
    this.#effort.spend(10)
    const type = typeOf(value)
    if (shape.types !== null && !shape.types.has(type)) return false
    if (!isBound(shape, type)) return true
    switch (type) {
      case 'number': return fitsNumber(shape, value as number)
      case 'string': return this.#fitsString(shape, value as string)
      case 'array': return this.#fitsArray(shape, value as readonly unknown[])
      default: return this.#fitsObject(shape, value as Members)
    }
  }

  #fitsArray ({ prefix, items, minItems, maxItems }: Shape, value: readonly unknown[]): boolean {
    return value.length >= minItems && value.length <= maxItems && value.every((item, i) => this.fits(prefix[i] ?? items ?? [], item))
  }

  #fitsObject (shape: Shape, value: Members): boolean {
    const names = Object.keys(value)
    return names.length >= shape.minProperties && names.length <= shape.maxProperties &&
      [...shape.required].every(name => Object.hasOwn(value, name)) &&
      names.every(name => this.fits(shape.names, name) && this.fits(this.member(shape, name), value[name]))
  }

  #fitsString ({ minLength, maxLength, languages }: Shape, value: string): boolean {
    const length = [...value].length
    return length >= minLength && length <= maxLength && languages.every(language => this.#languages.has(language, value))
  }

  /** What a member of this name has to be. */
  member (shape: Shape, name: string): All {
    const named = shape.properties.get(name)
    const patterned = shape.patterns.filter(({ language }) => this.#languages.has(language, name)).map(({ value }) => value)
    return named === undefined && patterned.length === 0 ? shape.additional ?? [] : [...named ?? [], ...patterned]
  }
}

function sizesOf (shapes: readonly Shape[]): number { return shapes.reduce((total, shape) => total + sizeOf(shape), 0) }

/** What it takes to go through a shape, in units of effort. */
function sizeOf ({ properties, values, prefix, required }: Shape): number {
  return 20 + 4 * (properties.size + required.size + prefix.length) + 10 * (values?.length ?? 0)
}

/** unevaluatedProperties and unevaluatedItems speak of what no other keyword speaks of: in one shape, all are known. */
function closed (shape: Shape, { unevaluatedProperties: properties, unevaluatedItems: items }: Members, node: Node): Shape {
  if (properties === undefined && items === undefined) return shape
  for (const [name, value] of [['unevaluatedProperties', properties], ['unevaluatedItems', items]] as const) {
    if (value !== undefined && typeof value !== 'boolean') throw unsupported(below(node.path, name), 'only true or false can be honoured by local models.')
  }
  const never: All = [{ id: -1, path: node.path, name: 'value', schema: false }]
  return {
    ...shape,
    additional: properties === false ? shape.additional ?? never : shape.additional,
    items: items === false ? shape.items ?? never : shape.items
  }
}

/** The branch of `b`, when the shapes come from different branches of a oneOf. */
function conflict (a: Shape, b: Shape): Branch | null {
  for (const [node, { index }] of a.branches) {
    const branch = b.branches.get(node)
    if (branch !== undefined && branch.index !== index) return branch
  }
  return null
}

function isBelow (a: Shape, b: Shape): boolean {
  if (a.most === null || b.least === null) return false
  return a.most.value < b.least.value || (a.most.value === b.least.value && (a.most.isExclusive || b.least.isExclusive))
}

function fitsNumber ({ isInteger, least, most, step }: Shape, value: number): boolean {
  if (isInteger && !Number.isInteger(value)) return false
  if (least !== null && (least.isExclusive ? value <= least.value : value < least.value)) return false
  if (most !== null && (most.isExclusive ? value >= most.value : value > most.value)) return false
  return step === null || isMultiple(value, step.value)
}

/** In decimals, where 0.07 is a multiple of 0.01. */
function isMultiple (value: number, step: number): boolean {
  const scale = 10 ** Math.max(decimals(value), decimals(step))
  return Math.round(value * scale) % Math.round(step * scale) === 0
}

function decimals (value: number): number {
  const [, fraction = '', exponent = '0'] = /^-?\d+(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value)) ?? []
  return Math.max(0, fraction.length - Number(exponent))
}

export function typeOf (value: unknown): Type {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return TYPES.find(type => type === typeof value) ?? (isMembers(value) ? 'object' : 'null')
}
