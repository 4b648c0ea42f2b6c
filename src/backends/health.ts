/**
 * A minimal circuit breaker. Three things make a backend rest, each as long as makes sense:
 * five failures in a row, for five seconds; a `Retry-After`, for as long as it says; a refused key, for a minute, since only the
 * operator can mend it. After a rest traffic probes it again: the first call that fails so again begins the next rest.
 * What a server says or fails to say about one model rests that model alone: behind an aggregator the others may be well.
 */
import type { ErrorCode, GatewayError } from '../errors.ts'
import type { DownReason } from './backend.ts'
import { Refused } from './failure.ts'

export interface Health {
  /** Failures since the last good answer. */
  readonly failures: number
  /** Until then, in milliseconds of a clock that never jumps, the backend rests. */
  readonly downUntil: number
  /** Why it rests, or last did. */
  readonly reason: DownReason
}

/** What a failed attempt says about the backend, or about the model it asked for; a GatewayError says it. */
export interface Outcome {
  readonly code: ErrorCode
  readonly retryAfterS: number | null
  readonly cause?: unknown
}

/** Why something rests, and for how long yet. */
export interface Rest { readonly reason: DownReason, readonly retryAfterS: number }

export const HEALTHY: Health = { failures: 0, downUntil: -Infinity, reason: 'failing' }

const FAILURES_IN_A_ROW = 5
const REST_MS = 5_000
const REFUSED_REST_MS = 60_000

/** Names of models come from callers where a public name ends in `*`. */
const MOST_MODELS = 1_000

/** These say that the backend is ill, when there are several in a row; most other errors say something about the call. */
const ILLNESSES: ReadonlySet<ErrorCode> = new Set(['backend_unreachable', 'backend_timeout', 'backend_failed', 'backend_auth_failed'])

/** @param outcome failure of the attempt, or null when it gave content */
export function healthAfter (health: Health, outcome: Outcome | null, now: number): Health {
  if (outcome === null) return afterContent(health, now)
  const { code, retryAfterS } = outcome
  const isIll = ILLNESSES.has(code)
  const isSure = isDeadKey(outcome)
  const failures = health.failures + Number(isIll)
  const after = isIll ? { ...health, failures } : health
  if (code === 'backend_auth_failed') return isSure || failures >= FAILURES_IN_A_ROW ? resting(after, 'key_refused', now + REFUSED_REST_MS) : after
  if (retryAfterS !== null && (isIll || code === 'backend_rate_limited')) {
    return resting(after, code === 'backend_rate_limited' ? 'rate_limited' : 'failing', now + retryAfterS * 1000)
  }
  return isIll && failures >= FAILURES_IN_A_ROW ? resting(after, 'failing', now + REST_MS) : after
}

/** A call that was let in before the limit was reached says nothing about the limit. */
function afterContent (health: Health, now: number): Health {
  if (health.reason !== 'rate_limited' || !isDown(health, now)) return HEALTHY
  return health.failures === 0 ? health : { ...health, failures: 0 }
}

/** A 403 may also be about one model or one prompt, so that one alone says nothing. */
function isDeadKey ({ code, cause }: Outcome): boolean {
  return code === 'backend_auth_failed' && !(cause instanceof Refused && cause.status === 403)
}

/** A rest is never cut short by a failure of another call that was running beside. */
function resting (health: Health, reason: DownReason, until: number): Health {
  return until > health.downUntil ? { ...health, reason, downUntil: until } : health
}

export function isDown (health: Health, now: number): boolean {
  return now < health.downUntil
}

/** The health of one backend and of each of its models that has failed of late. */
export class HealthRecord {
  readonly #models = new Map<string, Health>()
  #backend = HEALTHY

  isDown (model: string, now: number): boolean { return this.rest(model, now) !== null }

  /** Null while `model` can be asked. */
  rest (model: string, now: number): Rest | null {
    const ofModel = this.#models.get(model) ?? HEALTHY
    const health = this.#backend.downUntil > ofModel.downUntil ? this.#backend : ofModel
    return isDown(health, now) ? { reason: health.reason, retryAfterS: Math.ceil((health.downUntil - now) / 1000) } : null
  }

  /** `model` gave content. */
  answered (model: string, now: number): void {
    this.#backend = healthAfter(this.#backend, null, now)
    const before = this.#models.get(model)
    if (before === undefined) return
    const health = healthAfter(before, null, now)
    if (health === HEALTHY) this.#models.delete(model)
    else this.#models.set(model, health)
  }

  failed (model: string, failure: GatewayError, now: number): void {
    if (isOfBackend(failure)) this.#backend = healthAfter(this.#backend, failure, now)
    else this.#note(model, healthAfter(this.#models.get(model) ?? HEALTHY, failure, now))
  }

  #note (model: string, health: Health): void {
    if (health === HEALTHY) return
    // Behind the others, so that the model which has not failed for longest is forgotten first.
    this.#models.delete(model)
    this.#models.set(model, health)
    for (const oldest of this.#models.keys()) {
      if (this.#models.size <= MOST_MODELS) return
      this.#models.delete(oldest)
    }
  }
}

/** No model has heard of the call, or the key that all of them share is dead. */
function isOfBackend (failure: GatewayError): boolean {
  const { code, cause } = failure
  return code === 'backend_unreachable' || isDeadKey(failure) || (cause instanceof Error && 'code' in cause && cause.code === 'UND_ERR_CONNECT_TIMEOUT')
}
