/** What the admin API may be asked, checked by hand: each message names the parameter and what would be right. */
import { DATA_CLASSES, type DataClass } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'

export interface ExplainQuery {
  readonly tenant: string
  readonly model: string
  /** What the caller would say with `x-torchgate-class`. */
  readonly class?: DataClass
  /** The body of the call, where it was given: an object with a `model`; nothing else of it is checked. */
  readonly request?: Readonly<Record<string, unknown>>
}

export interface UsageQuery { readonly from: Date, readonly until: Date, readonly tenant?: string }

const DAY_MS = 86_400_000
const DEFAULT_DAYS = 30
const MAX_NAME = 256

/**
 * Until now and from 30 days before, if nothing is said.
 * @throws GatewayError naming the parameter
 */
export function usageQuery (query: unknown, now: Date): UsageQuery {
  const members = only(query, ['from', 'until', 'tenant'])
  const until = date(members, 'until') ?? now
  const from = date(members, 'from') ?? new Date(until.getTime() - DEFAULT_DAYS * DAY_MS)
  if (from >= until) throw invalid('from', `expected a time before until (${until.toISOString()}), got ${from.toISOString()}`)
  const tenant = optional(members, 'tenant')
  return { from, until, ...(tenant === undefined ? {} : { tenant }) }
}

/** @throws GatewayError naming the parameter */
export function explainQuery (query: unknown): ExplainQuery {
  const members = only(query, ['tenant', 'model', 'class'])
  return { tenant: text(members, 'tenant'), model: text(members, 'model'), ...claimed(members) }
}

/** @throws GatewayError naming the parameter */
export function explainQueryOfBody (body: Readonly<Record<string, unknown>>): ExplainQuery {
  const members = only(body, ['tenant', 'class', 'request'])
  const { request } = members
  if (typeof request !== 'object' || request === null || Array.isArray(request)) throw invalid('request', 'expected the body of a call, an object')
  const call = request as Record<string, unknown>
  return { tenant: text(members, 'tenant'), model: text(call, 'model', 'request.model'), ...claimed(members), request: call }
}

type Members = Readonly<Record<string, unknown>>

/** A misspelt parameter is refused: an answer to another question than was asked is worse than none. */
function only (members: unknown, names: readonly string[]): Members {
  const given = (members ?? {}) as Members
  for (const name of Object.keys(given)) {
    if (!names.includes(name)) throw new GatewayError('unsupported_parameter', `Expected no other parameters than ${names.join(', ')}.`, { param: shown(name) })
  }
  return given
}

function optional (members: Members, name: string, param = name): string | undefined {
  const value = members[name]
  if (value === undefined) return undefined
  if (typeof value !== 'string') throw new GatewayError('invalid_type', `${param}: expected one string.`, { param })
  if (value === '' || value.length > MAX_NAME) throw invalid(param, `expected 1 to ${MAX_NAME} characters`)
  return value
}

function text (members: Members, name: string, param = name): string {
  const value = optional(members, name, param)
  if (value === undefined) throw new GatewayError('missing_required_parameter', `${param}: expected one.`, { param })
  return value
}

function claimed (members: Members): { class?: DataClass } {
  const said = optional(members, 'class')
  if (said === undefined) return {}
  const known = DATA_CLASSES.find(name => name === said)
  if (known === undefined) throw invalid('class', `expected one of ${DATA_CLASSES.join(', ')}`)
  return { class: known }
}

const ISO = /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/

/** A day, which begins at midnight UTC, or a moment with its zone. `2026-02-30` is neither, though Date takes it. */
function date (members: Members, name: string): Date | undefined {
  const said = optional(members, name)
  if (said === undefined) return undefined
  const day = ISO.exec(said)?.[1]
  const moment = new Date(said)
  if (day === undefined || Number.isNaN(moment.getTime()) || new Date(day).toISOString().slice(0, 10) !== day) {
    throw invalid(name, 'expected an ISO 8601 date or time with zone, as 2026-11-01 or 2026-11-01T08:00:00Z')
  }
  return moment
}

function invalid (param: string, expected: string): GatewayError {
  return new GatewayError('invalid_value', `${param}: ${expected}.`, { param })
}

function shown (name: string): string {
  return name.slice(0, 64).replace(/[^\x20-\x7e]/g, '?')
}
