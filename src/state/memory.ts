import { levelAt, waitS, type Level } from './bucket.ts'
import { Expiring } from './expiring.ts'
import { Places } from './places.ts'
import type { Bucket, Hold, Home, Refund, SharedState, Take } from './state.ts'

/** `endsAtMs`: when the bucket is full again and need not be remembered. */
interface Kept extends Level { readonly endsAtMs: number }

/**
 * Counters of this process alone. Nothing in it waits, so each call is atomic by itself.
 * Buckets that are full again and holds that have expired are forgotten a few at a time, with each `take`.
 */
export class MemoryState implements SharedState, Home {
  readonly #now: () => number
  readonly #levels = new Expiring<Kept>()
  readonly #places = new Expiring<Places>()

  /** @param options.now milliseconds on a clock that never jumps */
  constructor ({ now = () => performance.now() }: { now?: () => number } = {}) {
    this.#now = now
  }

  /** Keys that are remembered: buckets that are not full and holds that are taken. */
  get size (): number { return this.#levels.size + this.#places.size }

  async take (buckets: readonly Bucket[], holds: readonly Hold[]): Promise<Take> {
    const nowMs = this.#sweep()
    const levels = buckets.map(bucket => levelAt(this.#levels.get(bucket.key), bucket, nowMs))
    const short = shortest(buckets, levels) ?? this.#full(holds, nowMs)
    if (short !== null) return { granted: false, ...short, remaining: levels }
    const remaining = buckets.map((bucket, i) => this.#setLevel(bucket, levels[i]! - bucket.cost, nowMs))
    for (const hold of holds) this.#hold(hold, nowMs)
    return { granted: true, remaining, home: this }
  }

  async give (refunds: readonly Refund[], holds: readonly Hold[]): Promise<void> {
    const nowMs = this.#now()
    for (const hold of holds) this.#free(hold)
    for (const refund of refunds) {
      this.#setLevel(refund, levelAt(this.#levels.get(refund.key), refund, nowMs) + refund.amount, nowMs)
    }
  }

  async renew (holds: readonly Hold[]): Promise<void> {
    const nowMs = this.#now()
    for (const hold of holds) this.#hold(hold, nowMs)
  }

  async close (): Promise<void> {}

  #sweep (): number {
    const nowMs = this.#now()
    this.#levels.sweep(nowMs)
    this.#places.sweep(nowMs)
    return nowMs
  }

  #setLevel ({ key, capacity, refillPerS }: { key: string, capacity: number, refillPerS: number }, wanted: number, nowMs: number): number {
    const level = Math.min(capacity, wanted)
    if (level === capacity) this.#levels.delete(key)
    else this.#levels.set(key, { level, atMs: nowMs, endsAtMs: nowMs + (capacity - level) / refillPerS * 1000 })
    return level
  }

  /** The first of `holds` that finds no place. */
  #full (holds: readonly Hold[], nowMs: number): { key: string, retryAfterS: null } | null {
    const full = holds.find(hold => this.#places.get(hold.key)?.admits(hold, nowMs) === false)
    return full === undefined ? null : { key: full.key, retryAfterS: null }
  }

  #hold (hold: Hold, nowMs: number): void {
    let places = this.#places.get(hold.key)
    if (places === undefined) this.#places.set(hold.key, places = new Places())
    places.put(hold, nowMs)
  }

  #free (hold: Hold): void {
    const places = this.#places.get(hold.key)
    if (places === undefined) return
    places.free(hold.id)
    if (places.isEmpty) this.#places.delete(hold.key)
  }
}

/** The bucket with the longest wait; null when all suffice. */
function shortest (buckets: readonly Bucket[], levels: readonly number[]): { key: string, retryAfterS: number | null } | null {
  let longestS = 0
  let key: string | null = null
  for (const [i, bucket] of buckets.entries()) {
    const s = waitS(bucket, levels[i]!)
    if (s <= longestS) continue
    longestS = s
    key = bucket.key
  }
  return key === null ? null : { key, retryAfterS: Number.isFinite(longestS) ? longestS : null }
}
