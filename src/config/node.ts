/** The part of JSON Schema that the configuration is written in, and how its demands are put into words. */
import type { TSchema } from 'typebox'
import { listed, quoted } from './problems.ts'

export interface Node extends TSchema {
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'
  readonly title?: string
  readonly description?: string
  readonly default?: unknown
  readonly properties?: Readonly<Record<string, Node>>
  readonly required?: readonly string[]
  readonly patternProperties?: Readonly<Record<string, Node>>
  readonly items?: Node
  readonly anyOf?: readonly Node[]
  readonly enum?: readonly string[]
  readonly const?: string | boolean
  readonly minimum?: number
  readonly maximum?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  /** What the pattern demands, in words; editors show it too. */
  readonly patternErrorMessage?: string
  /** The value may be a secret: it is never repeated. */
  readonly writeOnly?: boolean
  /** Need not be written where a `preset` stands, which then says it. */
  readonly byPreset?: boolean
}

export function isSecret (node: Node): boolean { return node.title === 'Secret' }

/** A union told apart by `kind`: the branch of each kind. Null when the node is something else. */
export function kindsOf (node: Node): ReadonlyMap<string, Node> | null {
  if (node.anyOf?.[0]?.properties?.['kind'] === undefined) return null
  return new Map(node.anyOf.map(branch => [String(branch.properties?.['kind']?.const), branch]))
}

/** The values that an enumeration or a union of literals allows; null when anything of the type may come. */
export function choicesOf (node: Node): readonly (string | boolean)[] | null {
  if (node.enum !== undefined) return node.enum
  if (node.const !== undefined) return [node.const]
  const constants = node.anyOf?.map(branch => branch.const)
  return constants?.every(constant => constant !== undefined) === true ? constants : null
}

/** A record's names and values: `environment`, `headers`. Null when the node is something else. */
export function entriesOf (node: Node): { readonly names: RegExp, readonly value: Node } | null {
  const entry = Object.entries(node.patternProperties ?? {})[0]
  return entry === undefined ? null : { names: new RegExp(entry[0], 'u'), value: entry[1] }
}

export function isOptional (parent: Node, name: string): boolean {
  return parent.properties?.[name]?.default !== undefined || parent.required?.includes(name) !== true
}

/**
 * Whether a value fits a node that has no members. TypeBox says the same, but its check is 300 modules, a fifth of the
 * time from the command to the first call; a test holds both against each other.
 */
export function fits (node: Node, value: unknown): boolean {
  const choices = choicesOf(node)
  if (choices !== null) return choices.some(choice => choice === value)
  if (node.type === 'boolean') return typeof value === 'boolean'
  if (node.type === 'integer') return typeof value === 'number' && Number.isInteger(value) && isBetween(value, node.minimum, node.maximum)
  if (node.type === 'number') return Number.isFinite(value) && isBetween(value as number, node.minimum, node.maximum)
  if (node.type !== 'string' || typeof value !== 'string') return false
  if (!isBetween([...value].length, node.minLength, node.maxLength)) return false
  return node.pattern === undefined || new RegExp(node.pattern, 'u').test(value)
}

function isBetween (value: number, least = -Infinity, most = Infinity): boolean { return value >= least && value <= most }

/** What may stand here: `a whole number from 1 to 64`, `local, domain or cloud`. */
export function expected (node: Node): string {
  const choices = choicesOf(node)
  if (choices !== null) return listed(choices.map(String))
  if (isSecret(node)) return '{ env: NAME }, { file: PATH } or { command: [PROGRAM, …] }'
  if (node.anyOf !== undefined || node.type === 'object') return 'a map'
  if (node.type === 'array') return `a list${expectedItems(node)}`
  if (node.type === 'integer') return `a whole number from ${node.minimum} to ${node.maximum}`
  if (node.type === 'number') return `a number from ${node.minimum} to ${node.maximum}`
  if (node.type === 'boolean') return 'true or false'
  return node.patternErrorMessage ?? `a text${expectedLength(node)}`
}

function expectedItems ({ minItems = 0, maxItems }: Node): string {
  if (maxItems === undefined) return ''
  return minItems === 0 ? ` of at most ${maxItems} items` : ` of ${minItems} to ${maxItems} items`
}

function expectedLength ({ minLength = 0, maxLength }: Node): string {
  if (maxLength !== undefined) return ` of ${minLength} to ${maxLength} characters`
  return minLength > 0 ? ' that is not empty' : ''
}

/** What stands there, in as few words as help. A text is quoted only where no secret can be: never a URL, never long. */
export function got (value: unknown, node: Node): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return `a list${value.length === 0 ? ' of none' : ''}`
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (typeof value !== 'string') return 'a map'
  if (value === '') return 'an empty text'
  if (isTelling(value, node)) return quoted(value)
  return node.type === 'string' ? 'another text' : 'a text'
}

const LONGEST_TELLING = 40

function isTelling (text: string, node: Node): boolean {
  if (text.length > LONGEST_TELLING || text.includes('://') || node.writeOnly === true) return false
  return choicesOf(node) !== null || node.pattern !== undefined || node.type === 'integer' || node.type === 'number' || node.type === 'boolean'
}
