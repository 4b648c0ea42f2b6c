/** What went wrong at a backend, in the gateway's own words. Pure: no sockets, no clock. */
import { GatewayError, type ErrorOptions } from '../errors.ts'
import { wireErrorOf, type WireError } from '../wire/observe.ts'
import { identifier, scrub, type Confidential } from './scrub.ts'

/** Longest time that a backend may ask callers to wait. */
const MAX_RETRY_AFTER_S = 60

export interface Asked extends Confidential {
  /** Name of the backend, for messages. */
  readonly name: string
}

export interface Refusal {
  readonly status: number
  readonly headers: Headers
  /** What was read of the body; empty when nothing was. */
  readonly body: Buffer
}

const SILENT: WireError = { message: null, type: null, code: null, param: null }

type Headers = Readonly<Record<string, string | string[] | undefined>>

/** An answer with any status but 200. */
export function refused (asked: Asked, { status, headers, body }: Refusal, now = Date.now()): GatewayError {
  if (status >= 300 && status < 400) {
    return new GatewayError('backend_invalid_answer', `${asked.name} redirected (${status}); redirects are never followed.`)
  }
  if (status < 400) return new GatewayError('backend_invalid_answer', `${asked.name} answered ${status} where 200 is expected.`)
  return failed(asked, status, errorInBody(body), retryAfterS(headers, now) ?? retryDelayS(body))
}

/** An error inside an answer that began with 200: as an event, or as the whole body. */
export function reported (asked: Asked, error: WireError): GatewayError {
  const status = typeof error.code === 'number' ? error.code : statusOf(error)
  return failed(asked, status >= 400 && status <= 599 ? status : 500, error, null)
}

/** The same after the first content: whatever the reason, the answer is broken off. */
export function reportedInStream (asked: Asked, error: WireError): GatewayError {
  const failure = reported(asked, error)
  if (failure.code !== 'backend_failed') return failure
  return new GatewayError('backend_interrupted', `${asked.name} broke off with an error${after(asked, error)}`)
}

/** Nothing usable came over the wire. `began` is true once the headers of the answer are there. */
export function broken (name: string, thrown: unknown, { began, connectMs }: { began: boolean, connectMs: number | undefined }): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  const code = codeOf(thrown)
  const options = { cause: thrown }
  if (code === 'UND_ERR_CONNECT_TIMEOUT') {
    const within = connectMs === undefined ? 'in time' : `within ${connectMs} ms`
    return new GatewayError('backend_timeout', `${name} did not connect ${within}.`, options)
  }
  if (began) return new GatewayError('backend_interrupted', `${name} broke off in the middle of its answer (${code}).`, options)
  if (code.startsWith('HPE_') || code === 'HTTPParserError' || code === 'UND_ERR_HEADERS_OVERFLOW') {
    return new GatewayError('backend_invalid_answer', `${name} answered something that is not HTTP/1.1 (${code}).`, options)
  }
  return new GatewayError('backend_unreachable', `${name} cannot be reached: ${REASONS[code] ?? code}.`, options)
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'it refused the connection',
  ECONNRESET: 'it reset the connection',
  EPIPE: 'it closed the connection',
  UND_ERR_SOCKET: 'it closed the connection',
  UND_ERR_CLOSED: 'its connections are closed',
  UND_ERR_DESTROYED: 'its connections are closed',
  ENOTFOUND: 'its name does not resolve',
  EAI_AGAIN: 'its name cannot be resolved now',
  EHOSTUNREACH: 'no route to it',
  ENETUNREACH: 'no route to it',
  ENOENT: 'its socket does not exist',
  CERT_HAS_EXPIRED: 'its TLS certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its TLS certificate is for another name',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its TLS certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'its TLS certificate is signed by an unknown authority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its TLS certificate is signed by an unknown authority'
}

/** Happy eyeballs fail with one error per address; the first one speaks for all. */
function codeOf (thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return codeOf(thrown.errors[0])
  if (thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string') return thrown.code
  return thrown instanceof Error ? thrown.name : 'unknown error'
}

/** How the credential was refused, or that model or route are not there. */
export class Refused extends Error {
  readonly status: number

  constructor (status: number) {
    super(`status ${status}`)
    this.status = status
  }
}

function failed (asked: Asked, status: number, error: WireError, retryS: number | null): GatewayError {
  const { name } = asked
  const why = after(asked, error)
  const retry = { retryAfterS: retryS }
  if (status === 401 || status === 402 || status === 403 || blamesTheKey(error)) {
    return new GatewayError('backend_auth_failed', `${name} refused the credential of the gateway (${status}).`, { cause: new Refused(status) })
  }
  if (status === 404) return new GatewayError('backend_invalid_answer', `${name} does not know the model or the route (404)${why}`, { cause: new Refused(404) })
  if (status === 408) return new GatewayError('backend_timeout', `${name} gave up waiting (408)${why}`)
  if (status === 429) return new GatewayError('backend_rate_limited', `${name} is rate limited (429)${why}`, retry)
  if (status >= 500) return new GatewayError('backend_failed', `${name} answered ${status}${why}`, retry)
  return rejected(asked, status, error)
}

/** The backend blames the request. Its code, param and message go to the caller, whose request it is. */
function rejected (asked: Asked, status: number, error: WireError): GatewayError {
  const message = error.message === null ? `${asked.name} rejected the request (${status}).` : scrub(error.message, asked)
  const options: ErrorOptions = { param: identifier(error.param, asked) }
  if (isTooLong(error)) return new GatewayError('context_length_exceeded', message, options)
  if (error.code === 'unsupported_value') return new GatewayError('unsupported_value', message, options)
  return new GatewayError('rejected_by_backend', message, { ...options, upstream: { status, code: identifier(error.code, asked) } })
}

/** Some say so with a 400, too. The key is the gateway's: a caller must never read it as a word about its own. */
function blamesTheKey ({ code, type, message }: WireError): boolean {
  return type === 'authentication_error' || /api_?key|authentication/i.test(String(code)) ||
    /^(incorrect|invalid) api key|api key (not valid|expired)|credit balance is too low/i.test(message?.slice(0, 500) ?? '')
}

/** OpenAI has a code for it, llama-server a type, vLLM, Anthropic and Gemini only a sentence. */
function isTooLong ({ code, type, message }: WireError): boolean {
  return code === 'context_length_exceeded' || type === 'exceed_context_size_error' ||
    /maximum context length|exceeds? the (available |maximum )?context|exceed context limit|prompt is too long|context (length|window|size) exceeded|input token count .{0,40}exceeds the maximum/i.test(message?.slice(0, 500) ?? '')
}

/** Anthropic's `error.type` and the status that goes with it. Source: "Errors", read 2026-11-22. */
const STATUS_OF_TYPE: ReadonlyMap<string | null, number> = new Map([
  ['invalid_request_error', 400],
  ['authentication_error', 401],
  ['billing_error', 402],
  ['permission_error', 403],
  ['not_found_error', 404],
  ['request_too_large', 413],
  ['rate_limit_error', 429],
  ['api_error', 500],
  ['timeout_error', 504],
  ['overloaded_error', 529]
])

function statusOf ({ code, type }: WireError): number {
  if (code === 'context_length_exceeded' || type === 'exceed_context_size_error') return 400
  if (code === 'rate_limit_exceeded') return 429
  if (code === 'invalid_api_key') return 401
  return STATUS_OF_TYPE.get(type) ?? 500
}

/** How a sentence about this error ends. */
function after (asked: Asked, error: WireError): string {
  const said = scrub(error.message ?? '', asked)
  return said === '' ? '.' : `: ${said}`
}

/** OpenAI's shape, FastAPI's `detail`, a bare `message`, or Google's list of one. HTML and empty bodies say nothing. */
function errorInBody (body: Buffer): WireError {
  const value = valueOf(body)
  const known = wireErrorOf(value)
  if (known !== null) return known
  if (typeof value !== 'object' || value === null) return SILENT
  const { detail, message } = value as { detail?: unknown, message?: unknown }
  const text = typeof message === 'string' ? message : detail
  return typeof text === 'string' ? { ...SILENT, message: text } : SILENT
}

function valueOf (body: Buffer): unknown {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return Array.isArray(value) ? value[0] : value
  } catch {
    return null
  }
}

/** Google says it in the error: `google.rpc.RetryInfo` among the details, with a duration such as `34.07s`. */
function retryDelayS (body: Buffer): number | null {
  const { error } = (valueOf(body) ?? {}) as { error?: { details?: unknown } | null }
  const details: unknown[] = Array.isArray(error?.details) ? error.details : []
  const delay = details.map(detail => (detail as { retryDelay?: unknown } | null)?.retryDelay).find(value => typeof value === 'string' && /^\d{1,9}(\.\d+)?s$/.test(value))
  return delay === undefined ? null : capped(Number((delay as string).slice(0, -1)))
}

/** Seconds, rounded up, 60 at most; null when the backend gave no usable hint. Headers: retry-after-ms, then Retry-After. */
export function retryAfterS (headers: Headers, now: number): number | null {
  const milliseconds = numberOf(headers['retry-after-ms'])
  if (milliseconds !== null) return capped(milliseconds / 1000)
  const value = headers['retry-after']
  const seconds = numberOf(value)
  if (seconds !== null) return capped(seconds)
  const date = typeof value === 'string' && /^[A-Za-z]{3},/.test(value) ? Date.parse(value) : NaN
  return Number.isNaN(date) ? null : capped((date - now) / 1000)
}

function numberOf (header: string | string[] | undefined): number | null {
  return typeof header === 'string' && /^\s*\d+(\.\d+)?\s*$/.test(header) ? Number(header) : null
}

function capped (seconds: number): number {
  return Math.min(MAX_RETRY_AFTER_S, Math.max(0, Math.ceil(seconds)))
}
