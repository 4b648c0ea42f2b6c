/**
 * A minimal circuit breaker: after five failures in a row a backend rests for five seconds, then traffic probes it again.
 * What a server says or fails to say about one model rests that model alone: behind an aggregator the others may be well.
 */
import type { ErrorCode, GatewayError } from '../errors.ts'

export interface Health {
  /** Failures since the last good answer. */
  readonly failures: number
  /** Until then, in milliseconds of a clock that never jumps, the backend rests. */
  readonly downUntil: number
}

export const HEALTHY: Health = { failures: 0, downUntil: -Infinity }

const FAILURES_IN_A_ROW = 5
const REST_MS = 5_000

/** Names of models come from callers where a public name ends in `*`. */
const MOST_MODELS = 1_000

/** These say that the backend is ill; every other error says something about the call, or nothing. */
const ILLNESSES: ReadonlySet<ErrorCode> = new Set(['backend_unreachable', 'backend_timeout', 'backend_failed'])

/** @param outcome error of the attempt, or null when it gave content */
export function healthAfter (health: Health, outcome: ErrorCode | null, now: number): Health {
  if (outcome === null) return HEALTHY
  if (!ILLNESSES.has(outcome)) return health
  const failures = health.failures + 1
  return { failures, downUntil: failures >= FAILURES_IN_A_ROW ? now + REST_MS : health.downUntil }
}

export function isDown (health: Health, now: number): boolean {
  return now < health.downUntil
}

/** The health of one backend and of each of its models that has failed of late. */
export class HealthRecord {
  readonly #models = new Map<string, Health>()
  #backend = HEALTHY

  isDown (model: string, now: number): boolean {
    return isDown(this.#backend, now) || isDown(this.#models.get(model) ?? HEALTHY, now)
  }

  /** `model` gave content. */
  answered (model: string): void {
    this.#backend = HEALTHY
    this.#models.delete(model)
  }

  failed (model: string, failure: GatewayError, now: number): void {
    if (isUnconnected(failure)) this.#backend = healthAfter(this.#backend, failure.code, now)
    else this.#note(model, healthAfter(this.#models.get(model) ?? HEALTHY, failure.code, now))
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

/** No model has heard of the call. */
function isUnconnected ({ code, cause }: GatewayError): boolean {
  return code === 'backend_unreachable' || (cause instanceof Error && 'code' in cause && cause.code === 'UND_ERR_CONNECT_TIMEOUT')
}
