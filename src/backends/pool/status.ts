/** What the pool shows of itself: a snapshot for metrics and the admin API, and events for counters. */

export interface PoolStatus { readonly pool: string, readonly models: readonly ModelStatus[] }

export interface ModelStatus {
  readonly model: string
  readonly contextTokens: number | null
  /** Calls waiting for a slot. */
  readonly queued: number
  readonly workers: readonly WorkerStatus[]
}

export interface WorkerStatus {
  /** `w0`, `w1`, …: the place in the pool, not the process. */
  readonly worker: string
  readonly state: WorkerState
  readonly pid: number | null
  readonly slots: number
  readonly busySlots: number
  /** Starts after the first. */
  readonly restarts: number
  /** Why the last process ended, if one did: `SIGKILL`, `exit 70`, `load failed: …`. */
  readonly lastExit: string | null
}

export type WorkerState = 'starting' | 'ready' | 'backoff' | 'quarantined' | 'stopping' | 'stopped'

/** Called synchronously; must not throw. */
export interface PoolObserver {
  /** A process ended that nobody had asked to end, or failed to load. */
  workerLost (event: { pool: string, model: string, worker: string, reason: 'crash' | 'load_failed' | 'hung' }): void
  workerReady (event: { pool: string, model: string, worker: string, loadMs: number }): void
  /** A call left the queue, however. */
  queueLeft (event: { pool: string, model: string, waitedMs: number }): void
  admissionRejected (event: { pool: string, model: string, reason: 'queue_full' | 'queue_timeout' | 'draining' }): void
}
