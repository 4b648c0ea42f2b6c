import type { CallRecord, Recorder } from '../usage/record.ts'

/** The last calls, for the operator to look at. */
export interface Recent {
  readonly record: Recorder
  /** Newest first. */
  records (): readonly CallRecord[]
}

/** Keeps the last `capacity` records in memory and forgets older ones. */
export function createRecent (capacity = 200): Recent {
  const ring: CallRecord[] = []
  let next = 0
  return {
    record (record) {
      ring[next] = record
      next = (next + 1) % capacity
    },
    records: () => [...ring.slice(next), ...ring.slice(0, next)].toReversed()
  }
}
