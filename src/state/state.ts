/**
 * Fast shared counters that may be lost. Two implementations, one contract: test/conformance/state.ts.
 * A bucket refills continuously (a token bucket, so there is no window edge to exploit); a hold is a place that
 * expires by itself, so that a killed process leaks nothing for longer than `ttlMs`.
 */
export interface SharedState {
  /** Takes every bucket's cost and every hold's place, or nothing at all. Atomic across gateway replicas. */
  take (buckets: readonly Bucket[], holds: readonly Hold[]): Promise<Take>
  /**
   * Ends a lease: gives `amount` back to each bucket (negative: charges more, the level may fall below zero)
   * and frees the holds. Giving back a hold twice, or one that has expired, does nothing.
   */
  give (refunds: readonly Refund[], holds: readonly Hold[]): Promise<void>
  /** Keeps holds of long calls from expiring. A hold that has expired meanwhile is taken again without a check. */
  renew (holds: readonly Hold[]): Promise<void>
  close (): Promise<void>
}

export interface Bucket {
  /** `tenant:acme:tokens`: no prompt text, no key material. */
  readonly key: string
  readonly capacity: number
  readonly refillPerS: number
  readonly cost: number
}

export interface Refund { readonly key: string, readonly capacity: number, readonly refillPerS: number, readonly amount: number }

export interface Hold {
  readonly key: string
  /** Places under this key. */
  readonly capacity: number
  /** Unique per call. */
  readonly id: string
  readonly ttlMs: number
}

export type Take =
  /** `remaining[i]`: level of `buckets[i]` after the take. */
  | { readonly granted: true, readonly remaining: readonly number[] }
  /** `key` was short; `retryAfterS` until its bucket suffices, or null when it was a hold (nobody knows). */
  | { readonly granted: false, readonly key: string, readonly retryAfterS: number | null, readonly remaining: readonly number[] }
