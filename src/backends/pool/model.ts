import type { LocalModelConfig, PoolConfig } from '../../config/schema.ts'
import type { Admission } from './admission.ts'
import type { ModelState, ModelView } from './place.ts'
import type { ModelStatus, PoolObserver, UnloadReason } from './status.ts'
import type { PooledWorker, PoolLog } from './worker.ts'

/** Waiting calls that the status names. */
const SHOWN_CALLS = 20

export interface ModelSetup {
  readonly pool: string
  readonly config: LocalModelConfig
  readonly swap: PoolConfig['swap']
  readonly workers: readonly PooledWorker[]
  readonly admission: Admission
  /** Bytes of one worker before any was loaded; null when nobody can tell. */
  readonly estimate: () => number | null
  readonly observer: PoolObserver
  readonly log: PoolLog
  /** The model may be unloaded now, or loaded. Called synchronously, after the change. */
  readonly changed: () => void
}

/** Calls that a model may still begin while another one waits for its memory. */
interface Turn { callsLeft: number, isOver: boolean, readonly timer: NodeJS.Timeout }

/** One model of a pool: its processes, its queue, and whether it is in memory. */
export class PooledModel implements ModelView<PooledWorker> {
  readonly name: string
  readonly workers: readonly PooledWorker[]
  readonly admission: Admission
  /** Loaded with the gateway: whoever waits for the pool waits for it. */
  isExpected: boolean
  usedAt = 0
  /** Since when it waits to be loaded; null when it does not. */
  wantedSince: number | null = null
  readonly #setup: ModelSetup
  #estimate: number | null | undefined
  #keepAliveMs: number
  #rest: { readonly timer: NodeJS.Timeout, readonly endsAt: number } | null = null
  #turn: Turn | null = null

  constructor (setup: ModelSetup) {
    this.#setup = setup
    this.name = setup.config.name
    this.workers = setup.workers
    this.admission = setup.admission
    this.isExpected = setup.config.load === 'start'
    this.#keepAliveMs = this.#usualKeepAliveMs
  }

  get isPinned (): boolean { return this.#setup.config.pinned }

  get state (): ModelState {
    const states = new Set(this.workers.map(({ state }) => state))
    if (states.has('ready')) return 'ready'
    if (states.has('stopping')) return 'unloading'
    if (states.has('starting') || states.has('backoff')) return 'loading'
    return states.has('stopped') ? 'unloaded' : 'down'
  }

  get needBytes (): number { return this.#workerBytes * this.workers.length }

  get heldBytes (): number { return this.#workerBytes * this.workers.filter(({ isHolding }) => isHolding).length }

  get isOpen (): boolean { return this.#turn === null || (this.#turn.callsLeft > 0 && !this.#turn.isOver) }

  get isIdle (): boolean {
    return this.workers.every(({ busySlots }) => busySlots === 0) && (this.admission.queued === 0 || !this.isOpen)
  }

  /** Never unloaded because nobody calls it. */
  get isKept (): boolean { return this.isPinned || this.#setup.config.load === 'start' }

  load (): void {
    this.#estimate = undefined
    this.wantedSince = null
    for (const worker of this.workers) worker.load()
    this.#setup.changed()
  }

  /** Only while it is idle. Its memory is free when its processes have ended. */
  unload (reason: UnloadReason): void {
    this.#stopRest()
    const { pool, observer } = this.#setup
    observer.modelUnloaded({ pool, model: this.name, reason })
    this.log('model is unloaded', { reason, heldBytes: this.heldBytes })
    for (const worker of this.workers) void worker.unload()
  }

  /** Another model waits for the memory of this one. A second time does nothing. */
  beginTurn (): void {
    if (this.#turn !== null || this.state !== 'ready') return
    const { afterCalls, afterMs } = this.#setup.swap
    const turn: Turn = {
      callsLeft: Math.max(afterCalls, this.admission.queued),
      isOver: false,
      timer: setTimeout(() => { turn.isOver = true; this.#setup.changed() }, afterMs)
    }
    this.#turn = turn
  }

  /** No other model waits for it any more. */
  endTurn (): void {
    if (this.#turn === null) return
    clearTimeout(this.#turn.timer)
    this.#turn = null
    this.admission.changed()
  }

  /** A call has got its slots. */
  begun (): void {
    this.#stopRest()
    this.usedAt = performance.now()
    if (this.#turn !== null) this.#turn.callsLeft--
  }

  /** A call has given its slots back. @param keepAliveMs what it asked for; null for what is usual */
  ended (keepAliveMs: number | null): void {
    this.usedAt = performance.now()
    this.#keepAliveMs = keepAliveMs ?? this.#usualKeepAliveMs
  }

  /** To be called when anything has changed: starts or ends the time after which it is unloaded. */
  settle (): void {
    const rests = this.state === 'ready' && this.isIdle && !this.isKept && Number.isFinite(this.#keepAliveMs)
    if (!rests) return this.#stopRest()
    if (this.#rest !== null) return
    const timer = setTimeout(() => { this.#rest = null; this.unload('idle') }, this.#keepAliveMs)
    this.#rest = { timer: timer.unref(), endsAt: performance.now() + this.#keepAliveMs }
  }

  /** Stops its clocks. */
  close (): void {
    this.#stopRest()
    if (this.#turn !== null) clearTimeout(this.#turn.timer)
  }

  status (): ModelStatus {
    const { admission, state, workers } = this
    const rest = this.#rest
    return {
      model: this.name,
      state,
      loadFraction: state === 'loading' ? Math.min(...workers.map(({ loadFraction }) => loadFraction)) : null,
      memoryBytes: this.#workerBytes === 0 ? null : this.needBytes,
      isMeasured: this.#measured !== null,
      unloadsInMs: rest === null ? null : Math.max(0, Math.round(rest.endsAt - performance.now())),
      contextTokens: admission.contextTokens,
      queued: admission.queued,
      waiting: admission.waiting(SHOWN_CALLS),
      workers: workers.map(worker => worker.status())
    }
  }

  get #usualKeepAliveMs (): number { return this.#setup.config.keepAliveMs }

  get #workerBytes (): number {
    if (this.#measured !== null) return this.#measured
    this.#estimate ??= this.#setup.estimate()
    return this.#estimate ?? 0
  }

  get #measured (): number | null {
    return this.workers.reduce<number | null>((most, { memoryBytes }) => memoryBytes === null ? most : Math.max(most ?? 0, memoryBytes), null)
  }

  #stopRest (): void {
    if (this.#rest !== null) clearTimeout(this.#rest.timer)
    this.#rest = null
  }

  /** One line about it. */
  log (msg: string, facts: Record<string, unknown>): void {
    this.#setup.log({ level: 'info', msg, pool: this.#setup.pool, model: this.name, ...facts })
  }
}
