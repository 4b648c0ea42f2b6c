import type { LimitsConfig } from '../config/schema.ts'

/** Grants places in the limits. Implemented on SharedState by limitsOn(). */
export interface Limits {
  /**
   * Takes a request, the estimated tokens and a concurrency place, all or none.
   * @throws GatewayError `rate_limit_exceeded` with `retryAfterS` (the lease standing is on `RateLimited.standing`),
   *   or `state_unavailable`
   */
  admit (who: Subject, want: { readonly callId: string, readonly tokens: number }): Promise<Lease>
  close (): Promise<void>
}

export interface Subject { readonly tenant: string, readonly limits: LimitsConfig }

/** A granted place. Settle exactly once, whatever happened to the call; a second settle does nothing. */
export interface Lease {
  /** For the x-ratelimit-* headers; null where there is no limit. */
  readonly requests: Standing | null
  readonly tokens: Standing | null
  /** @param used tokens really used; the difference to the estimate is given back or charged */
  settle (used: { readonly tokens: number }): Promise<void>
}

export interface Standing {
  readonly limit: number
  readonly remaining: number
  /** Seconds until the bucket is full again. */
  readonly resetS: number
}
