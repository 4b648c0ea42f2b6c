import type { LimitsConfig } from '../config/schema.ts'
import type { Lease } from '../limits/limits.ts'

/** Of each limit of a tenant that its batches leave to calls that somebody waits for. */
const SHARE = 0.2

/** How many lines of the tenant may be under way at once. */
export function mostLines ({ concurrency = Infinity }: LimitsConfig): number {
  return Math.max(1, Math.floor(concurrency * (1 - SHARE)))
}

/** How long batches of the tenant rest after a call, so that others find room in what is left of its minute. */
export function restMs (lease: Pick<Lease, 'requests' | 'tokens'> | null): number {
  const missing = [lease?.requests, lease?.tokens].map(standing => {
    if (standing === null || standing === undefined) return 0
    return SHARE - standing.remaining / standing.limit
  })
  return Math.max(0, ...missing) * 60_000
}
