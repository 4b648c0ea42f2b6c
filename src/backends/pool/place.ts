import type { WorkerState } from './status.ts'

/** What the choice of a worker looks at. */
export interface Candidate {
  readonly state: WorkerState
  readonly slots: number
  readonly busySlots: number
  /** Isolation domains whose prompts the worker may still have cached → when it served them last, as a rising number. */
  readonly served: ReadonlyMap<string, number>
}

/**
 * The ready worker with the most free slots; among equals the one that served this domain last, because its prompt
 * cache may fit, then the first. Pure.
 * @returns null when no ready worker has `slots` free ones
 */
export function place<C extends Candidate> (workers: readonly C[], isolation: string, slots = 1): C | null {
  let best: C | null = null
  for (const worker of workers) {
    if (freeSlots(worker) >= slots && (best === null || isBetter(worker, best, isolation))) best = worker
  }
  return best
}

export function freeSlots (worker: Candidate): number {
  return worker.state === 'ready' ? Math.max(0, worker.slots - worker.busySlots) : 0
}

function isBetter (one: Candidate, other: Candidate, isolation: string): boolean {
  const more = freeSlots(one) - freeSlots(other)
  return more > 0 || (more === 0 && (one.served.get(isolation) ?? 0) > (other.served.get(isolation) ?? 0))
}
