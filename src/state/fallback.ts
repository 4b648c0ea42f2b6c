import { GatewayError } from '../errors.ts'
import type { Bucket, Hold, SharedState, Take } from './state.ts'

export interface FallbackOptions {
  /** `local`: this process counts by itself until `primary` is back. `refuse`: calls are refused. */
  readonly onLoss: 'local' | 'refuse'
  /** After a failure one call in this time goes and asks `primary` again; the others do not wait for it. */
  readonly pauseMs?: number
  readonly now?: () => number
}

/**
 * Shared counters that outlive the loss of Redis. A lease names the state that granted it (`home`), so what was taken
 * in one is never given back to the other.
 */
export class FallbackState implements SharedState {
  readonly #primary: SharedState
  readonly #local: SharedState
  readonly #refuses: boolean
  readonly #pauseMs: number
  readonly #now: () => number
  /** Until then `primary` is left alone; null while it works. */
  #askAgainMs: number | null = null

  constructor (primary: SharedState, local: SharedState, { onLoss, pauseMs = 1_000, now = () => performance.now() }: FallbackOptions) {
    this.#primary = primary
    this.#local = local
    this.#refuses = onLoss === 'refuse'
    this.#pauseMs = pauseMs
    this.#now = now
  }

  /** Calls are counted by this process alone, or refused. */
  get degraded (): boolean { return this.#askAgainMs !== null }

  async take (buckets: readonly Bucket[], holds: readonly Hold[]): Promise<Take> {
    if (this.#mayAsk()) {
      try {
        const take = await this.#primary.take(buckets, holds)
        this.#askAgainMs = null
        return take
      } catch (error) {
        if (!(error instanceof GatewayError) || error.code !== 'state_unavailable') throw error
        this.#askAgainMs = this.#now() + this.#pauseMs
        if (this.#refuses) throw error
      }
    }
    if (this.#refuses) throw new GatewayError('state_unavailable', 'Redis, which keeps the limits, does not answer.', { retryAfterS: 1 })
    return this.#local.take(buckets, holds)
  }

  /** Closes both. */
  async close (): Promise<void> {
    await Promise.all([this.#primary.close(), this.#local.close()])
  }

  #mayAsk (): boolean {
    if (this.#askAgainMs === null) return true
    const nowMs = this.#now()
    if (nowMs < this.#askAgainMs) return false
    this.#askAgainMs = nowMs + this.#pauseMs
    return true
  }
}
