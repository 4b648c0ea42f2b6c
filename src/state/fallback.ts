import { GatewayError } from '../errors.ts'
import type { SharedState } from './state.ts'

export interface FallbackOptions {
  /** `local`: this process counts by itself until `primary` is back. `refuse`: calls are refused. */
  readonly onLoss: 'local' | 'refuse'
  /** After a failure one call in this time goes and asks `primary` again; the others do not wait for it. */
  readonly pauseMs?: number
  readonly now?: () => number
}

/** `degraded`: calls are counted by this process alone, or refused. */
export interface Fallback extends SharedState { readonly degraded: boolean }

/**
 * Shared counters that outlive the loss of Redis. A lease names the state that granted it (`home`), so what was taken
 * in one is never given back to the other. Closes both.
 */
export function withFallback (primary: SharedState, local: SharedState, { onLoss, pauseMs = 1_000, now = () => performance.now() }: FallbackOptions): Fallback {
  /** Until then `primary` is left alone; null while it works. */
  let askAgainMs: number | null = null

  const mayAsk = () => {
    if (askAgainMs === null) return true
    const nowMs = now()
    if (nowMs < askAgainMs) return false
    askAgainMs = nowMs + pauseMs
    return true
  }

  return {
    get degraded () { return askAgainMs !== null },
    async take (buckets, holds) {
      if (mayAsk()) {
        try {
          const take = await primary.take(buckets, holds)
          askAgainMs = null
          return take
        } catch (error) {
          if (!(error instanceof GatewayError) || error.code !== 'state_unavailable') throw error
          askAgainMs = now() + pauseMs
          if (onLoss === 'refuse') throw error
        }
      }
      if (onLoss === 'refuse') throw new GatewayError('state_unavailable', 'Redis, which keeps the limits, does not answer.', { retryAfterS: 1 })
      return local.take(buckets, holds)
    },
    async close () { await Promise.all([primary.close(), local.close()]) }
  }
}
