/** What the pool shows of itself: a snapshot for metrics and the admin API, and events for counters. */
import type { Isolation } from './isolation.ts'
import type { ModelState } from './place.ts'

export interface PoolStatus {
  readonly pool: string
  readonly isolation: Isolation
  /** What the models may take together; null without a limit. */
  readonly memoryBytes: number | null
  /** What they take now. */
  readonly usedBytes: number
  readonly models: readonly ModelStatus[]
}

export interface ModelStatus {
  readonly model: string
  readonly state: ModelState
  /** How far its load is, 0 to 1; null when it does not load. */
  readonly loadFraction: number | null
  /** What it takes when loaded, or would: as measured, else as estimated; null when nobody knows. */
  readonly memoryBytes: number | null
  readonly isMeasured: boolean
  /** Until it is unloaded if nobody calls it; null when it is in use or stays. */
  readonly unloadsInMs: number | null
  readonly contextTokens: number | null
  /** Calls waiting for a slot. */
  readonly queued: number
  /** The first of them, in the order in which they will be served. */
  readonly waiting: readonly WaitingStatus[]
  readonly workers: readonly WorkerStatus[]
}

export interface WaitingStatus {
  /** 1 is the next. */
  readonly position: number
  readonly callId: string
  readonly tenant: string
  readonly waitedMs: number
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

/** Why a model left memory: nobody called it for as long as it was to be kept, or another one needed the room. */
export type UnloadReason = 'idle' | 'evicted'

/** Called synchronously; must not throw. */
export interface PoolObserver {
  /** A process ended that nobody had asked to end, or failed to load. */
  workerLost (event: { pool: string, model: string, worker: string, reason: 'crash' | 'load_failed' | 'hung' }): void
  workerReady (event: { pool: string, model: string, worker: string, loadMs: number }): void
  /** A call left the queue, however. */
  queueLeft (event: { pool: string, model: string, waitedMs: number }): void
  admissionRejected (event: { pool: string, model: string, reason: 'queue_full' | 'queue_wait' | 'queue_timeout' | 'draining' }): void
  modelUnloaded (event: { pool: string, model: string, reason: UnloadReason }): void
}
