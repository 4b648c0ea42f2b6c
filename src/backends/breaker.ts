/**
 * When a backend, or one of its models, is left alone, and how it comes back.
 *
 * It *rests*, and is asked nothing: after five failures in a row, for five seconds; after a `Retry-After`, for as long as it says; with a
 * refused key, for a minute, since only the operator can mend it.
 *
 * It is *weak*, and comes after all that are well, when of late too many calls failed or its streams took far longer to begin
 * than they use to; and after a rest for failures. Then one call in a while is tried on it all the same, and each that goes well halves
 * the wait for the next: five, and it is well again. Where it is the only target it gets all calls, so a weak one is better than none.
 */
import type { ErrorCode } from '../errors.ts'
import type { DownReason } from './backend.ts'
import { Refused } from './failure.ts'
import { Window } from './window.ts'

/** What a failed attempt says about the backend, or about the model it asked for; a GatewayError says it. */
export interface Failure {
  readonly code: ErrorCode
  readonly retryAfterS: number | null
  readonly cause?: unknown
}

/** Why something rests, and for how long yet. */
export interface Rest { readonly reason: DownReason, readonly retryAfterS: number }

const FAILURES_IN_A_ROW = 5
const REST_MS = 5_000
const REFUSED_REST_MS = 60_000

/** Of fewer calls in the window nothing is concluded. */
const FEWEST_CALLS = 20
const WEAK_SHARE = 0.1
/** Times what streams took to begin before, and at least so much: a slow start that nobody would notice is no weakness. */
const SLOW_TIMES = 4
const SLOW_MS = 500
/** Of one new measurement in what a stream usually takes. */
const BASELINE_SHARE = 0.01
/** Of a slow one while it is weak: at one probe a second, what stays slow is the usual after two or three minutes. */
const SLOW_SHARE = 0.002

const PROBE_MS = 1_000
const GOOD_PROBES = 5

/** These say that the backend is ill, when there are many; most other errors say something about the call. */
const ILLNESSES: ReadonlySet<ErrorCode> = new Set(['backend_unreachable', 'backend_timeout', 'backend_failed', 'backend_interrupted', 'backend_auth_failed'])

/** All times in milliseconds of a clock that never jumps. */
export class Breaker {
  #failures = 0
  #downUntil = -Infinity
  #reason: DownReason = 'failing'
  readonly #window = new Window()
  /** Streams to their first content, while it was well; null before the first. */
  #usualMs: number | null = null
  #recovery: { good: number, nextProbeMs: number } | null = null

  /** Null while it can be asked. */
  rest (now: number): Rest | null {
    return now < this.#downUntil ? { reason: this.#reason, retryAfterS: Math.ceil((this.#downUntil - now) / 1000) } : null
  }

  /** True while it comes after what is well, but for a probe that is due. */
  isWeak (now: number): boolean {
    return this.#recovery !== null && now < this.#recovery.nextProbeMs
  }

  /** A call goes to it now; while it is weak, that is the probe. */
  asked (now: number): void {
    if (this.#recovery !== null && now >= this.#recovery.nextProbeMs) this.#recovery.nextProbeMs = now + probeMs(this.#recovery.good)
  }

  /** It gave content. @param firstMs from the start of a stream to its content; null for what is no stream */
  succeeded (now: number, firstMs: number | null): void {
    // A call that was let in before the limit was reached says nothing about the limit.
    if (this.#reason !== 'rate_limited' || now >= this.#downUntil) this.#downUntil = -Infinity
    this.#failures = 0
    this.#window.succeeded(now, firstMs)
    const isSlow = firstMs !== null && this.#isSlow(firstMs)
    if (this.#recovery !== null) {
      if (isSlow) this.#learn(firstMs, SLOW_SHARE)
      this.#recover(this.#recovery, now, isSlow)
    } else if (isSlow) this.#judge(now)
    else if (firstMs !== null) this.#learn(firstMs, BASELINE_SHARE)
  }

  failed (failure: Failure, now: number): void {
    const { code, retryAfterS } = failure
    const isIll = ILLNESSES.has(code)
    if (isIll) {
      this.#failures++
      this.#window.failed(now)
      if (this.#recovery !== null) Object.assign(this.#recovery, { good: 0, nextProbeMs: Math.max(this.#recovery.nextProbeMs, now + PROBE_MS) })
    }
    if (code === 'backend_auth_failed') {
      if (isDeadKey(failure) || this.#failures >= FAILURES_IN_A_ROW) this.#restUntil('key_refused', now + REFUSED_REST_MS)
      return
    }
    if (retryAfterS !== null && (isIll || code === 'backend_rate_limited')) {
      this.#restUntil(code === 'backend_rate_limited' ? 'rate_limited' : 'failing', now + retryAfterS * 1000)
    }
    if (isIll && this.#failures >= FAILURES_IN_A_ROW) {
      this.#restUntil('failing', now + REST_MS)
      this.#recovery = { good: 0, nextProbeMs: this.#downUntil }
    } else if (isIll && this.#recovery === null) this.#judge(now)
  }

  /** A rest is never cut short by a failure of another call that was running beside. */
  #restUntil (reason: DownReason, until: number): void {
    if (until <= this.#downUntil) return
    this.#downUntil = until
    this.#reason = reason
  }

  #learn (firstMs: number, share: number): void {
    this.#usualMs = this.#usualMs === null ? firstMs : this.#usualMs + share * (firstMs - this.#usualMs)
  }

  #isSlow (firstMs: number): boolean {
    return this.#usualMs !== null && firstMs > Math.max(SLOW_MS, SLOW_TIMES * this.#usualMs)
  }

  #judge (now: number): void {
    const { calls, failures, firsts, firstMs } = this.#window.seen(now)
    const fails = calls >= FEWEST_CALLS && failures >= WEAK_SHARE * calls
    if (fails || (firsts >= FEWEST_CALLS && this.#isSlow(firstMs))) this.#recovery = { good: 0, nextProbeMs: now + PROBE_MS }
  }

  #recover (recovery: { good: number, nextProbeMs: number }, now: number, isSlow: boolean): void {
    recovery.good = isSlow ? 0 : recovery.good + 1
    if (recovery.good < GOOD_PROBES) {
      recovery.nextProbeMs = isSlow ? now + PROBE_MS : Math.min(recovery.nextProbeMs, now + probeMs(recovery.good))
      return
    }
    this.#recovery = null
    // What led here is over, and must not lead here again.
    this.#window.clear()
  }
}

function probeMs (good: number): number { return PROBE_MS / 2 ** good }

/** A 403 may also be about one model or one prompt, so that one alone says nothing. */
export function isDeadKey ({ code, cause }: Failure): boolean {
  return code === 'backend_auth_failed' && !(cause instanceof Refused && cause.status === 403)
}
