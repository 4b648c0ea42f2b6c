/** A schema document: its places, its references, and the words that are understood in it. */
import { below, invalid, unsupported, type Path } from './refusal.ts'

export type Members = Readonly<Record<string, unknown>>

/** A place in the document that holds a schema. The same schema object is the same node. */
export interface Node {
  readonly id: number
  readonly path: Path
  /** Last part of the path that says something: the name of a property or of a definition. */
  readonly name: string
  readonly schema: Members | boolean
}

const MAX_OBJECTS = 5000
const MAX_DEPTH = 100
const MAX_REFERENCES = 100

/** Keywords that are read. */
const READ = new Set([
  'type', 'nullable', 'enum', 'const', 'anyOf', 'oneOf', 'allOf', '$ref', '$defs', 'definitions',
  'properties', 'patternProperties', 'additionalProperties', 'unevaluatedProperties', 'required', 'propertyNames', 'minProperties', 'maxProperties',
  'items', 'prefixItems', 'additionalItems', 'unevaluatedItems', 'minItems', 'maxItems', 'uniqueItems',
  'minLength', 'maxLength', 'pattern', 'format',
  'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'
])

/** Keywords that say nothing about what is valid. Those that begin with `x-` say nothing either. */
const ANNOTATIONS = new Set([
  'title', 'description', 'default', 'example', 'examples', 'deprecated', 'readOnly', 'writeOnly',
  '$schema', '$id', '$comment', '$anchor', '$vocabulary', 'id',
  'contentEncoding', 'contentMediaType', 'contentSchema', 'discriminator', 'externalDocs', 'xml',
  'markdownDescription', 'enumDescriptions', 'enumNames', 'propertyOrdering', '~standard'
])

/** Of them, `$ref` is meant to stand alone. */
const CONTAINERS = new Set(['$defs', 'definitions'])

export class Document {
  readonly root: Node
  readonly #path: Path
  readonly #schema: unknown
  readonly #nodes = new Map<object, Node>()
  readonly #ids = new Map<string, { readonly schema: unknown, readonly path: Path }>()
  #count = 0
  #objects = 0

  /** @throws GatewayError `invalid_value` or `unsupported_value` when it is no schema, or too large */
  constructor (schema: unknown, path: Path) {
    this.#path = path
    this.#schema = schema
    this.#measure(schema, path, 1, false)
    this.root = this.node(schema, path)
  }

  node (schema: unknown, path: Path): Node {
    if (typeof schema === 'boolean') return { id: schema ? 0 : -1, path, name: 'value', schema }
    if (!isMembers(schema)) throw invalid(path, 'a schema: an object, true or false')
    const known = this.#nodes.get(schema)
    if (known !== undefined) return known
    const node = { id: ++this.#count, path, name: nameIn(path), schema }
    this.#nodes.set(schema, node)
    for (const keyword of Object.keys(schema)) checkKeyword(keyword, path)
    return node
  }

  /** The schema under a keyword of `parent`, or under a member of it. */
  child (parent: Node, value: unknown, ...keys: readonly (string | number)[]): Node {
    return this.node(value, keys.reduce<Path>(below, parent.path))
  }

  /** What a `$ref` of `node` means, through references that are nothing else but references. */
  resolve (node: Node): Node {
    let now = node
    for (let count = 0; isOnly(now, '$ref'); count++) {
      const path = below(now.path, '$ref')
      if (count >= MAX_REFERENCES) throw unsupported(path, 'the reference leads round in a circle.')
      now = this.target((now.schema as Members)['$ref'], path)
    }
    return now
  }

  /** @param path of the `$ref` itself */
  target (reference: unknown, path: Path): Node {
    if (typeof reference !== 'string') throw invalid(path, 'a string')
    const named = this.#ids.get(reference)
    if (named !== undefined) return this.node(named.schema, named.path)
    if (!/^#(\/|$)/.test(reference)) throw unsupported(path, 'a reference has to be to a place in this schema, as "#/$defs/name".')
    let found = this.#schema
    let place = this.#path
    for (const token of reference.slice(1).split('/').slice(1)) {
      const key = decode(token, path).replaceAll('~1', '/').replaceAll('~0', '~')
      if (typeof found !== 'object' || found === null || !Object.hasOwn(found, key)) throw invalid(path, `a place that exists; there is no ${JSON.stringify(key.slice(0, 64))} in ${place}`)
      place = below(place, Array.isArray(found) ? Number(key) : key)
      found = (found as Members)[key]
    }
    return this.node(found, place)
  }

  /** Bounds everything that comes after, which may then recurse as deep as the document. Finds the schemas with names. */
  #measure (value: unknown, path: Path, depth: number, hasOwnId: boolean): void {
    if (typeof value !== 'object' || value === null) return
    if (depth > MAX_DEPTH) throw unsupported(this.#path, `the schema is nested deeper than ${MAX_DEPTH}.`)
    if (Array.isArray(value)) {
      value.forEach((item, i) => { this.#measure(item, below(path, i), depth + 1, hasOwnId) })
      return
    }
    if (++this.#objects > MAX_OBJECTS) throw unsupported(this.#path, `the schema has more than ${MAX_OBJECTS} objects.`)
    const { $id, $ref } = value as Members
    if (typeof $id === 'string') this.#ids.set($id, { schema: value, path })
    const isOwn = hasOwnId || (typeof $id === 'string' && depth > 1)
    if (isOwn && typeof $ref === 'string' && $ref.startsWith('#')) throw unsupported(below(path, '$ref'), 'a reference within a schema that has an $id of its own; leave the $id out.')
    for (const [key, member] of Object.entries(value)) this.#measure(member, below(path, key), depth + 1, isOwn)
  }
}

/** Has `node` this keyword alone, but for what says nothing about validity? */
export function isOnly ({ schema }: Node, keyword: string): boolean {
  return typeof schema === 'object' && Object.hasOwn(schema, keyword) &&
    Object.keys(schema).every(key => key === keyword || CONTAINERS.has(key) || isAnnotation(key))
}

export function isMembers (value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isAnnotation (keyword: string): boolean { return ANNOTATIONS.has(keyword) || keyword.startsWith('x-') }

function checkKeyword (keyword: string, path: Path): void {
  if (READ.has(keyword) || isAnnotation(keyword)) return
  throw unsupported(below(path, keyword), `the keyword ${JSON.stringify(keyword.slice(0, 64))} cannot be honoured by local models; leave it out.`)
}

function decode (token: string, path: Path): string {
  try {
    return decodeURIComponent(token)
  } catch {
    throw invalid(path, 'a reference with proper percent-encoding')
  }
}

function nameIn (path: Path): string {
  const parts = path.split(/[.[\]"]+/).filter(part => part !== '' && !/^\d+$/.test(part))
  return parts.findLast(part => !READ.has(part)) ?? 'value'
}
