/**
 * The small vocabulary in which a request is described: every word is a check, larger checks are made of smaller ones.
 * A check looks and allocates nothing while all is well. Only a fault travels back up, and each level that it passes
 * puts its own name in front of the path. Wording is OpenAI's ("Invalid type for 'temperature': expected a decimal,
 * but got a string instead."), as observed in its answers and in public bug reports, read 2026-11-22.
 */
import { GatewayError, type ErrorCode } from '../errors.ts'
import { numberSchema, objectSchema, schemaOf, variantSchema, withSchema } from './schema.ts'

/** What is wrong, with the path from the value that was checked to the value at fault: `[2].content`. */
export interface Fault { readonly code: ErrorCode, readonly path: string, readonly says: (path: string) => string }

export type Check = (value: unknown) => Fault | null

export type Members = Record<string, unknown>

export function toError (fault: Fault): GatewayError {
  return new GatewayError(fault.code, fault.says(fault.path), { param: fault.path })
}

/** A caller's own member name that is no plain word becomes `?`: it might be prompt text. */
export function within (name: string | number, fault: Fault): Fault {
  const step = typeof name === 'number' ? `[${name}]` : /^[\w.-]{1,64}$/.test(name) ? name : '?'
  const joint = fault.path === '' || fault.path.startsWith('[') ? '' : '.'
  return { ...fault, path: step + joint + fault.path }
}

// Faults.

export function wrongType (expected: string, value: unknown): Fault {
  return { code: 'invalid_type', path: '', says: path => `Invalid type for '${path}': expected ${expected}, but got ${kindOf(value)} instead.` }
}

/** `problem` and `expected` go into "Invalid 'stop': array too long. Expected an array with …." */
export function outOfRange (problem: string, expected: string): Fault {
  return { code: 'invalid_value', path: '', says: path => `Invalid '${path}': ${problem}. Expected ${expected}.` }
}

export function invalidValue (why: string): Fault {
  return { code: 'invalid_value', path: '', says: path => `Invalid value for '${path}': ${why}` }
}

export function missing (name: string): Fault {
  return { code: 'missing_required_parameter', path: name, says: path => `Missing required parameter: '${path}'.` }
}

/** OpenAI repeats the value. So does this, when it looks like a name: anything else might be prompt text or a key. */
function notOneOf (value: string, names: readonly string[]): Fault {
  const echo = /^[\w.-]{1,24}$/.test(value) ? `: '${value}'` : ''
  return { code: 'invalid_value', path: '', says: () => `Invalid value${echo}. Supported values are: ${listed(names)}.` }
}

function listed (names: readonly string[]): string {
  const quoted = names.map(name => `'${name}'`)
  if (quoted.length < 3) return quoted.join(' and ')
  return `${quoted.slice(0, -1).join(', ')}, and ${quoted.at(-1)}`
}

function kindOf (value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'number') return Number.isFinite(value) ? Number.isInteger(value) ? 'an integer' : 'a decimal' : 'a number too large'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

// Single values.

/** Whatever it is, it must survive being serialised: 1e309 would come out as null. */
const unknown: Check = value => value === Infinity || value === -Infinity ? wrongType('a finite number', value) : null

export const boolean: Check = withSchema(value => typeof value === 'boolean' ? null : wrongType('a boolean', value), () => ({ type: 'boolean' }))

/** An object of any shape. */
export const object: Check = withSchema(value => isObject(value) ? null : wrongType('an object', value), () => ({ type: 'object' }))

export function isObject (value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function integer (least: number, most: number): Check {
  const check: Check = value => Number.isInteger(value) ? between(value as number, least, most, 'integer') : wrongType('an integer', value)
  return withSchema(check, () => numberSchema('integer', least, most))
}

/** Takes integers too. Infinity, which is what JSON.parse makes of 1e309, is above every maximum. */
export function decimal (least: number, most: number): Check {
  const check: Check = value => typeof value === 'number' ? between(value, least, most, 'decimal') : wrongType('a decimal', value)
  return withSchema(check, () => numberSchema('number', least, most))
}

function between (value: number, least: number, most: number, kind: string): Fault | null {
  if (value > most) return outOfRange(`${kind} above maximum value`, `a value <= ${most}, but got ${value} instead`)
  if (value < least) return outOfRange(`${kind} below minimum value`, `a value >= ${least}, but got ${value} instead`)
  return null
}

export interface TextRule { least?: number, most?: number, pattern?: RegExp }

/** Lengths in UTF-16 units. The pattern is tried only on a string of allowed length. */
export function text ({ least = 0, most = Infinity, pattern }: TextRule = {}): Check {
  const check: Check = value => {
    if (typeof value !== 'string') return wrongType('a string', value)
    if (value.length < least) return outOfRange('empty string', `a string with minimum length ${least}, but got an empty string instead`)
    if (value.length > most) return outOfRange('string too long', `a string with maximum length ${most}, but got a string with length ${value.length} instead`)
    if (pattern !== undefined && !pattern.test(value)) {
      return outOfRange('string does not match pattern', `a string that matches the pattern '${pattern.source}'`)
    }
    return null
  }
  return withSchema(check, () => ({
    type: 'string', ...least > 0 && { minLength: least }, ...most < Infinity && { maxLength: most }, ...pattern !== undefined && { pattern: pattern.source }
  }))
}

/** A string that is safe in a header or a log line. */
export function line (rule: { least?: number, most: number }): Check {
  const length = text(rule)
  const check: Check = value => length(value) ?? (/\p{Cc}/u.test(value as string) ? invalidValue('the string contains control characters.') : null)
  return withSchema(check, () => schemaOf(length))
}

export function oneOf (...names: string[]): Check {
  const check: Check = value => {
    if (typeof value !== 'string') return wrongType(`one of ${listed(names)}`, value)
    return names.includes(value) ? null : notOneOf(value, names)
  }
  return withSchema(check, () => ({ type: 'string', enum: names }))
}

// Values made of values.

/** The first check decides about the type, the next may rely on it. */
export function all (first: Check, ...others: Check[]): Check {
  const every: Check = value => {
    const fault = first(value)
    if (fault !== null) return fault
    for (const check of others) {
      const another = check(value)
      if (another !== null) return another
    }
    return null
  }
  return withSchema(every, () => schemaOf(first))
}

export function list (item: Check, { of, least = 1, most = Infinity }: { of: string, least?: number, most?: number }): Check {
  const check: Check = value => {
    if (!Array.isArray(value)) return wrongType(`an array of ${of}`, value)
    if (value.length < least) return outOfRange('empty array', `an array with minimum length ${least}, but got an empty array instead`)
    if (value.length > most) return outOfRange('array too long', `an array with maximum length ${most}, but got an array with length ${value.length} instead`)
    for (let index = 0; index < value.length; index++) {
      const fault = item(value[index])
      if (fault !== null) return within(index, fault)
    }
    return null
  }
  return withSchema(check, () => ({ type: 'array', items: schemaOf(item) ?? false, ...least > 0 && { minItems: least }, ...most < Infinity && { maxItems: most } }))
}

/** A string, or a list of whatever `items` says. */
export function stringOr (items: Check, of: string): Check {
  const check: Check = value => {
    if (typeof value === 'string') return null
    return Array.isArray(value) ? items(value) : wrongType(`one of a string or array of ${of}`, value)
  }
  return withSchema(check, () => ({ anyOf: [{ type: 'string' }, schemaOf(items)] }))
}

/**
 * An object with these members, of which `required` must be there. Members without a check stay as they came, null or not.
 * An optional member that is null means its default, in OpenAI's words and here, and is removed.
 */
export function shape (members: Record<string, Check>, ...required: string[]): Check {
  const checks = new Map(Object.entries(members))
  const whole: Check = value => {
    if (!isObject(value)) return wrongType('an object', value)
    for (const name in value) {
      const member = value[name]
      const check = checks.get(name) ?? unknown
      if (member === null && check !== unknown && !required.includes(name)) delete value[name]
      else {
        const fault = check(member)
        if (fault !== null) return within(name, fault)
      }
    }
    for (const name of required) {
      if (value[name] === undefined) return missing(name)
    }
    return null
  }
  return withSchema(whole, () => objectSchema(members, required))
}

/** An object whose member `tag` says which of the checks applies to it. */
export function variant (tag: string, kinds: Record<string, Check>): Check {
  const checks = new Map(Object.entries(kinds))
  const names = Object.keys(kinds)
  const known = oneOf(...names)
  const told: Check = value => {
    if (!isObject(value)) return wrongType('an object', value)
    const kind = value[tag]
    if (kind === undefined) return missing(tag)
    const check = checks.get(kind as string)
    return check === undefined ? within(tag, known(kind)!) : check(value)
  }
  return withSchema(told, () => variantSchema(tag, kinds))
}
