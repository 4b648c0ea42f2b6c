/** A minimal circuit breaker: after five failures in a row a backend rests for five seconds, then traffic probes it again. */
import type { ErrorCode } from '../errors.ts'

export interface Health {
  /** Failures since the last good answer. */
  readonly failures: number
  /** Until then, in milliseconds of a clock that never jumps, the backend rests. */
  readonly downUntil: number
}

export const HEALTHY: Health = { failures: 0, downUntil: -Infinity }

const FAILURES_IN_A_ROW = 5
const REST_MS = 5_000

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
