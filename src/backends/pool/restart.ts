import type { PoolConfig } from '../../config/schema.ts'

export type RestartRules = PoolConfig['restart']

/** What a worker does after a crash, and for how long. */
export interface Rest { readonly state: 'backoff' | 'quarantined', readonly waitMs: number }

/**
 * Counts crashes within `windowMs` of time in which the worker was ready. Loads and pauses do not age a crash: a worker
 * that dies in every slow load is given up just the same, and one that ran well for `windowMs` has a clean record.
 */
export class CrashRecord {
  #readyMs = 0
  #crashes: number[] = []

  /**
   * @param ranMs how long the process was ready before it ended
   * @returns crashes in the window, this one included
   */
  add (ranMs: number, windowMs: number): number {
    this.#readyMs += ranMs
    this.#crashes = this.#crashes.filter(at => this.#readyMs - at < windowMs)
    this.#crashes.push(this.#readyMs)
    return this.#crashes.length
  }
}

/**
 * Exponential back-off with full jitter, so that workers which fell together do not rise together. After a quarantine
 * the record still stands: one more crash, and the worker rests again.
 * @param random 0 ≤ random < 1
 */
export function restAfter (crashes: number, rules: RestartRules, random: number): Rest {
  if (crashes >= rules.quarantineAfter) return { state: 'quarantined', waitMs: rules.quarantineMs }
  const longestMs = Math.min(rules.maxBackoffMs, rules.backoffMs * 2 ** (crashes - 1))
  return { state: 'backoff', waitMs: Math.ceil(longestMs * random) }
}
