import type { Bucket } from './state.ts'

/** A level as it was at one moment; from there it refills. `atMs` is on the clock of whoever keeps it. */
export interface Level { readonly level: number, readonly atMs: number }

/**
 * Rounding may leave a bucket this far below the cost after exactly `retryAfterS`. The level then goes below zero by
 * as much, so nothing is given away.
 */
export const TOLERANCE = 1e-6

/** A clock that went backwards refills nothing; a bucket nobody knows is full. */
export function levelAt (known: Level | undefined, bucket: { capacity: number, refillPerS: number }, nowMs: number): number {
  if (known === undefined) return bucket.capacity
  const elapsedMs = Math.max(0, nowMs - known.atMs)
  return Math.min(bucket.capacity, known.level + elapsedMs * bucket.refillPerS / 1000)
}

/** Seconds until `bucket` suffices: 0 when it does already, Infinity when it never will. */
export function waitS (bucket: Bucket, level: number): number {
  if (level + TOLERANCE >= bucket.cost) return 0
  return bucket.cost > bucket.capacity ? Infinity : (bucket.cost - level) / bucket.refillPerS
}
