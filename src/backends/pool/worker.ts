import type { Dispatcher } from 'undici'
import type { LocalModelConfig, PoolConfig } from '../../config/schema.ts'
import type { Isolation } from './isolation.ts'
import type { Candidate } from './place.ts'
import { WorkerProcess, type Loaded } from './process.ts'
import { CrashRecord, restAfter } from './restart.ts'
import type { PoolObserver, WorkerState, WorkerStatus } from './status.ts'

/** From the end of a process until its last words and messages have surely been read. */
const LAST_WORDS_MS = 100

export type PoolLog = (line: { level: 'info' | 'warn' | 'error', msg: string, [extra: string]: unknown }) => void

export interface WorkerSetup {
  readonly pool: string
  /** `w0`: the place in the pool. */
  readonly worker: string
  readonly model: LocalModelConfig
  readonly loadMs: number
  readonly restart: PoolConfig['restart']
  readonly watchdog: PoolConfig['watchdog']
  readonly isolation: Isolation
  readonly entry: string
  /** A fresh path for every process. */
  readonly socketPath: () => string
  readonly observer: PoolObserver
  readonly log: PoolLog
  /** The state or a slot has changed. Called synchronously, after the change. */
  readonly changed: () => void
}

/** One place in a worker, held by one call. */
export interface Slot {
  readonly worker: string
  readonly dispatcher: Dispatcher
  /** Resolves when the process that has the call has ended. */
  readonly ended: Promise<void>
  /** Why it ended. */
  lastExit (): string
  /** The process lives, but takes no calls: it is ended once its running ones are over, and another one started in its place. */
  distrust (): void
  /** Gives the place back; a second time does nothing. */
  release (): void
}

/** A place for one process after the other: starts it, counts its slots, starts the next one when it dies. */
export class PooledWorker implements Candidate {
  readonly #setup: WorkerSetup
  readonly #crashes = new CrashRecord()
  readonly #served = new Map<string, number>()
  #state: WorkerState = 'stopped'
  #process: WorkerProcess | null = null
  #last: WorkerProcess | null = null
  #loaded: Loaded | null = null
  #busySlots = 0
  #starts = 0
  #takes = 0
  #timer: NodeJS.Timeout | null = null
  #isClosing = false
  /** The process that is ended to free its memory. */
  #unloading: WorkerProcess | null = null
  /** After a quarantine it is started again unasked. */
  #isLasting: boolean
  /** The process that is to be ended because it takes no calls. */
  #distrusted: WorkerProcess | null = null
  #reported = ''

  constructor (setup: WorkerSetup) {
    this.#setup = setup
    this.#isLasting = setup.model.load === 'start'
  }

  get state (): WorkerState { return this.#state }
  get slots (): number { return this.#loaded?.slots ?? this.#setup.model.slots }
  get busySlots (): number { return this.#busySlots }
  get served (): ReadonlyMap<string, number> { return this.#served }
  get contextTokens (): number | null { return this.#loaded?.contextTokens ?? null }
  /** As the last load told; null before the first. */
  get memoryBytes (): number | null { return this.#loaded?.memoryBytes ?? null }
  get loadFraction (): number { return this.#process?.loadFraction ?? 0 }
  /** It takes memory, or will without being asked. */
  get isHolding (): boolean { return this.#state !== 'stopped' && (this.#state !== 'quarantined' || this.#isLasting) }

  status (): WorkerStatus {
    return {
      worker: this.#setup.worker,
      state: this.#state,
      pid: this.#process?.pid ?? null,
      slots: this.slots,
      busySlots: this.#busySlots,
      restarts: Math.max(0, this.#starts - 1),
      lastExit: this.#last?.lastExit ?? null
    }
  }

  /** Starts a process where there is none. One that is quarantined rests on. */
  load (): void { if (this.#state === 'stopped' && !this.#isClosing) this.#start() }

  /** Ends the process, to free its memory; from then on it is only started when it is asked. Resolves when it has ended. */
  async unload (): Promise<void> {
    this.#isLasting = false
    const process = this.#process
    if (process !== null) {
      this.#unloading = process
      this.#state = 'stopping'
    } else if (this.#state === 'backoff') {
      if (this.#timer !== null) clearTimeout(this.#timer)
      this.#timer = null
      this.#state = 'stopped'
    }
    this.#setup.changed()
    await process?.stop()
  }

  #start (): void {
    this.#timer = null
    this.#starts++
    this.#state = 'starting'
    this.#served.clear()
    const { entry, isolation, loadMs, socketPath, watchdog } = this.#setup
    this.#process = new WorkerProcess({ entry, model: ofPlace(this.#setup), isolation, loadMs, socketPath: socketPath(), watchdog }, {
      ready: loaded => { this.#ready(loaded) },
      said: line => { this.#log('warn', 'worker says', { line }) },
      ended: () => { this.#ended() }
    })
  }

  /**
   * Only while the state is `ready` and so many slots are free. They come back together.
   * @param released called once, when they come back
   */
  take (isolation: string, slots: number, released: () => void): Slot {
    const process = this.#process
    if (process === null) throw new Error(`worker ${this.#setup.worker} has no process to take a slot from`)
    this.#busySlots += slots
    this.#remember(isolation)
    let isHeld = true
    return {
      worker: this.#setup.worker,
      dispatcher: process.dispatcher,
      ended: process.ended,
      lastExit: () => process.lastExit,
      distrust: () => { this.#replace(process) },
      release: () => {
        if (!isHeld) return
        isHeld = false
        // The slots of a process that has ended went with it.
        if (this.#process === process) this.#busySlots -= slots
        released()
        this.#endReplaced()
        this.#setup.changed()
      }
    }
  }

  /** Ends the process and starts no other. Resolves when nothing of it is left. */
  async stop (): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const process = this.#process
    this.#isClosing = true
    this.#state = process === null ? 'stopped' : 'stopping'
    this.#setup.changed()
    await process?.stop()
  }

  #replace (process: WorkerProcess): void {
    if (this.#process !== process || this.#state !== 'ready') return
    this.#state = 'backoff'
    this.#distrusted = process
    this.#log('error', 'worker takes no calls and is replaced', { pid: process.pid })
    this.#endReplaced()
    this.#setup.changed()
  }

  #endReplaced (): void {
    if (this.#process !== null && this.#process === this.#distrusted && this.#busySlots === 0) void this.#process.stop()
  }

  #remember (isolation: string): void {
    this.#served.delete(isolation)
    this.#served.set(isolation, ++this.#takes)
    for (const oldest of this.#served.keys()) {
      if (this.#served.size <= this.slots) return
      this.#served.delete(oldest)
    }
  }

  #ready (loaded: Loaded): void {
    if (this.#state !== 'starting' || this.#process === null) return
    this.#loaded = loaded
    this.#state = 'ready'
    this.#reported = ''
    const { pool, model, worker } = this.#setup
    const loadMs = Math.round(performance.now() - this.#process.startedAt)
    this.#setup.observer.workerReady({ pool, model: model.name, worker, loadMs })
    const { contextTokens, slots, memoryBytes } = loaded
    this.#log('info', 'worker is ready', { loadMs, contextTokens, slots, memoryBytes, pid: this.#process.pid })
    this.#setup.changed()
  }

  #ended (): void {
    const process = this.#process
    if (process === null) return
    this.#process = null
    this.#last = process
    this.#busySlots = 0
    if (this.#isClosing || process === this.#unloading) this.#state = 'stopped'
    else this.#crashed(process)
    this.#setup.changed()
  }

  #crashed (process: WorkerProcess): void {
    const { pool, model, worker, restart, observer } = this.#setup
    const ranMs = process.readyAt === null ? 0 : performance.now() - process.readyAt
    const crashes = this.#crashes.add(ranMs, restart.windowMs)
    const rest = restAfter(crashes, restart, Math.random())
    this.#state = rest.state
    this.#timer = setTimeout(() => { this.#rested() }, rest.waitMs)
    const reason = process.readyAt === null ? 'load_failed' : process.isHung || process === this.#distrusted ? 'hung' : 'crash'
    observer.workerLost({ pool, model: model.name, worker, reason })
    setTimeout(() => { this.#report(process, crashes, rest.state) }, LAST_WORDS_MS).unref()
  }

  #rested (): void {
    if (this.#state === 'backoff' || this.#isLasting) this.#start()
    else this.#state = 'stopped'
    this.#timer = null
    this.#setup.changed()
  }

  /** Once per change: a worker that fails in the same way at every restart says so once, and once more when it is given up. */
  #report (process: WorkerProcess, crashes: number, next: WorkerState): void {
    const what = `${next} ${process.lastExit}`
    if (what === this.#reported) return
    this.#reported = what
    const msg = process.readyAt === null ? 'worker could not load its model' : 'worker ended unexpectedly'
    this.#log('error', msg, { exit: process.lastExit, crashes, next })
  }

  #log (level: 'info' | 'warn' | 'error', msg: string, facts: Record<string, unknown>): void {
    const { pool, model, worker, log } = this.#setup
    log({ level, msg, pool, model: model.name, worker, ...facts })
  }
}

/** The model as this one of its workers loads it: `{worker}` in its environment is the number of the worker. */
function ofPlace ({ model, worker }: Pick<WorkerSetup, 'model' | 'worker'>): WorkerSetup['model'] {
  const environment = Object.entries(model.environment).map(([name, value]) => [name, value.replaceAll('{worker}', worker.slice(1))])
  return { ...model, environment: Object.fromEntries(environment) }
}
