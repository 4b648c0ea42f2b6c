/**
 * Fast shared counters that may be lost. Two implementations, one contract: test/conformance/state.ts.
 * A bucket refills continuously (a token bucket, so there is no window edge to exploit); a hold is a place that
 * expires by itself, so that a killed process leaks nothing for longer than `ttlMs`.
 */
export interface SharedState {
  /**
   * Takes every bucket's cost and every hold's place, or nothing at all. Atomic across gateway replicas.
   * Keys are distinct within one take, and share the part in braces, so that a Redis Cluster keeps them together.
   * @throws GatewayError `state_unavailable`
   */
  take (buckets: readonly Bucket[], holds: readonly Hold[]): Promise<Take>
  close (): Promise<void>
}

/**
 * Where a lease lives. Only the state that granted it can end or renew it: while Redis is away leases are granted in
 * memory, and those must not be given back to Redis later.
 */
export interface Home {
  /**
   * Ends a lease: gives `amount` back to each bucket (negative: charges more, the level may fall below zero)
   * and frees the holds. Giving back a hold twice, or one that has expired, does nothing.
   * @throws GatewayError `state_unavailable`
   */
  give (refunds: readonly Refund[], holds: readonly Hold[]): Promise<void>
  /**
   * Keeps holds of long calls from expiring. A hold that has expired meanwhile is taken again without a check.
   * @throws GatewayError `state_unavailable`
   */
  renew (holds: readonly Hold[]): Promise<void>
}

export interface Bucket {
  /** `tenant:{acme}:tokens`: no prompt text, no key material. */
  readonly key: string
  /** More than 0. A bucket that nobody has used for long is full. */
  readonly capacity: number
  /** More than 0. */
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
  /** `remaining[i]`: level of `buckets[i]` after the take. `home` is who ends and renews the lease. */
  | { readonly granted: true, readonly remaining: readonly number[], readonly home: Home }
  | Short

/**
 * `key` was short: of several buckets the one with the longest wait, a hold only if no bucket was. `retryAfterS` until
 * the bucket suffices; null when nobody knows (a hold) or it never will (`cost` above `capacity`).
 */
export interface Short { readonly granted: false, readonly key: string, readonly retryAfterS: number | null, readonly remaining: readonly number[] }
