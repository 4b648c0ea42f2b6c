import type { PoolConfig } from '../../config/schema.ts'

export type WatchdogRules = PoolConfig['watchdog']

/** What a worker says of itself twice a second, from its event loop. */
export interface Sign {
  /** Steps that the model has computed since it was loaded. */
  readonly steps: number
  /** A step is due or under way. */
  readonly isBusy: boolean
}

/** How often the watchdog is to look. */
export const LOOK_MS = 250

/**
 * Finds out a worker that has stopped, or a computation that does not come to its end. Pure: the caller brings the clock.
 * It counts the time in which the gateway itself was awake: of a longer gap between two looks (a laptop that was
 * closed, a gateway that was stopped or starved) no more than two looks' worth is held against the worker, whose signs
 * may have been waiting to be read.
 */
export class Watchdog {
  readonly #rules: WatchdogRules
  #lookedAt: number
  #silentMs = 0
  #stuckMs = 0
  #sign: Sign = { steps: 0, isBusy: false }

  constructor (rules: WatchdogRules, now: number) {
    this.#rules = rules
    this.#lookedAt = now
  }

  heard (sign: Sign): void {
    this.#silentMs = 0
    if (!sign.isBusy || sign.steps !== this.#sign.steps || !this.#sign.isBusy) this.#stuckMs = 0
    this.#sign = sign
  }

  /** @returns what is wrong, in words, or null */
  look (now: number): string | null {
    const passed = Math.min(now - this.#lookedAt, 2 * LOOK_MS)
    this.#lookedAt = now
    this.#silentMs += passed
    if (this.#sign.isBusy) this.#stuckMs += passed
    const { silentMs, stepMs } = this.#rules
    if (this.#silentMs >= silentMs) return `no sign of life for ${silentMs} ms`
    if (this.#stuckMs >= stepMs) return `one step took longer than ${stepMs} ms`
    return null
  }
}
