import { GatewayError } from '../../errors.ts'
import type { Availability } from '../backend.ts'
import { freeSlots, type Placement } from './place.ts'
import { FairQueue, type Place } from './queue.ts'
import type { PoolObserver, WaitingStatus } from './status.ts'
import type { PooledWorker, Slot } from './worker.ts'

/** Before anything has been measured. */
const ASSUMED_HOLD_MS = 1000
/** Calls that must have been measured before one is refused for what it would have to wait. */
const LEAST_MEASURED = 8
const LONGEST_RETRY_S = 60
/** Weight of the newest measurement in the mean. */
const NEWEST = 0.1

export interface AdmissionSetup {
  readonly pool: string
  readonly model: string
  /** Calls that may wait. */
  readonly length: number
  readonly timeoutMs: number
  readonly workers: readonly PooledWorker[]
  readonly observer: PoolObserver
  /** Calls that a tenant has in its turn. */
  readonly weightOf: (isolation: string) => number
  readonly life: Life
}

/** Whether the model is in memory, and who sees to it. */
export interface Life {
  /** It is not in memory, and is loaded when a call waits. */
  readonly isLoadable: boolean
  place (isolation: string, slots: number): Placement<PooledWorker>
  /** Why it can never be loaded; null when it can. */
  refusal (): string | null
  begun (): void
  ended (keepAliveMs: number | null): void
  /** A call has begun to wait, or has stopped waiting without a slot. */
  changed (): void
}

export interface Want {
  readonly callId: string
  readonly isolation: string
  /** One for each choice of the answer; all of one worker. */
  readonly slots: number
  readonly signal: AbortSignal
  /** The call has had a slot before and lost it with its worker: it waits ahead of all others, unless nobody waits for it, and is never refused for length. */
  readonly isRetry: boolean
  /** Nobody waits for its answer: it waits behind all calls that somebody waits for. */
  readonly isBatch: boolean
  /** How long the model is to stay when the call is over; null for as long as usual. */
  readonly keepAliveMs: number | null
}

/**
 * Hands the slots of one model to the calls that want them, the others wait. A call that wants several is not overtaken
 * while they come free; otherwise no slot is free while a call waits.
 */
export class Admission {
  readonly #setup: AdmissionSetup
  readonly #queue: FairQueue<Waiting>
  #holdMs = ASSUMED_HOLD_MS
  #measured = 0

  constructor (setup: AdmissionSetup) {
    this.#setup = setup
    this.#queue = new FairQueue(setup.weightOf)
  }

  get queued (): number { return this.#queue.size }

  /** The first `most` calls that wait, the next one first. */
  waiting (most: number): WaitingStatus[] {
    return this.#queue.inOrder(most).map(({ want, waitedMs }, at) =>
      ({ position: at + 1, callId: want.callId, tenant: want.isolation, waitedMs: Math.round(waitedMs) }))
  }

  /** No worker is ready, and none will be before a quarantine is over. */
  get isDown (): boolean {
    return !this.#setup.life.isLoadable && !this.#setup.workers.some(({ state }) => state === 'ready' || state === 'starting' || state === 'backoff')
  }

  get isReady (): boolean { return this.#setup.workers.some(({ state }) => state === 'ready') }

  /**
   * The slots as soon as there are so many. The caller releases them.
   * @throws GatewayError `backend_overloaded` when the queue is full or the wait in it too long, `backend_unavailable` when
   *   no worker is left to wait for, `unsupported_value` when no worker has so many slots, or what `signal` was aborted with
   */
  take (want: Want): Promise<Slot> {
    if (want.signal.aborted) return Promise.reject(want.signal.reason)
    if (this.isDown) return Promise.reject(this.#unavailable())
    if (want.slots > this.#mostSlots) return Promise.reject(this.#tooMany(want.slots))
    const before = want.isBatch ? this.#queue.size : this.#queue.sizeInFront
    if (this.#isFull(want.slots, before) && !want.isRetry) return Promise.reject(this.#full())
    if (this.#expectedWaitMs(before) > this.#setup.timeoutMs && !want.isRetry) return Promise.reject(this.#wouldWait(before))
    const waiting = new Waiting(want, ms => { this.#left(ms) })
    waiting.place = this.#placeOf(want, waiting)
    this.#handOut()
    if (!waiting.isOver) {
      waiting.wait(this.#setup.timeoutMs, () => this.#tooLong(), () => { this.#setup.life.changed() })
      this.#setup.life.changed()
    }
    return waiting.slot
  }

  #placeOf ({ isBatch, isRetry, isolation }: Want, waiting: Waiting): Place {
    if (isBatch) return this.#queue.pushBehind(isolation, waiting)
    return isRetry ? this.#queue.pushAhead(waiting) : this.#queue.push(isolation, waiting)
  }

  /** To be called whenever a worker or a slot has changed. */
  changed (): void {
    this.#handOut()
    if (this.isDown) this.#refuseAll()
  }

  availability (): Availability {
    return {
      state: this.isDown ? 'down' : this.#isFull(1, this.#queue.sizeInFront) ? 'saturated' : this.isReady ? 'ready' : this.#setup.life.isLoadable ? 'idle' : 'loading',
      queued: this.queued,
      freeSlots: this.#freeSlots,
      contextTokens: this.contextTokens
    }
  }

  get contextTokens (): number | null {
    return this.#setup.workers.find(({ contextTokens }) => contextTokens !== null)?.contextTokens ?? null
  }

  get #freeSlots (): number { return this.#setup.workers.reduce((sum, worker) => sum + freeSlots(worker), 0) }

  get #mostSlots (): number { return Math.max(...this.#setup.workers.map(({ slots }) => slots)) }

  /** Would a call that wants so many slots, and has so many before it, have to wait where no more may? */
  #isFull (slots: number, before: number): boolean {
    const { workers, length } = this.#setup
    return before >= length && (before > 0 || !workers.some(worker => freeSlots(worker) >= slots))
  }

  #handOut (): void {
    for (let next = this.#queue.peek(); next !== undefined; next = this.#queue.peek()) {
      const placement = this.#setup.life.place(next.want.isolation, next.want.slots)
      if (placement.kind !== 'run') return
      this.#queue.shift()
      next.grant(this.#hold(placement.worker, next.want))
    }
  }

  #hold (worker: PooledWorker, { isolation, slots, keepAliveMs }: Want): Slot {
    const { life } = this.#setup
    const since = performance.now()
    life.begun()
    return worker.take(isolation, slots, () => {
      this.#measure(performance.now() - since)
      life.ended(keepAliveMs)
    })
  }

  #measure (heldMs: number): void {
    this.#holdMs = this.#measured++ === 0 ? heldMs : this.#holdMs + (heldMs - this.#holdMs) * NEWEST
  }

  #refuseAll (): void {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) next.refuse(this.#unavailable())
  }

  #left (waitedMs: number): void {
    const { observer, pool, model } = this.#setup
    observer.queueLeft({ pool, model, waitedMs })
  }

  #tooMany (choices: number): GatewayError {
    const { pool, model } = this.#setup
    return new GatewayError('unsupported_value', `n is ${choices}; ${model} in ${pool} gives at most ${this.#mostSlots} choices per call.`, { param: 'n' })
  }

  #full (): GatewayError {
    const { pool, model, length, observer } = this.#setup
    observer.admissionRejected({ pool, model, reason: 'queue_full' })
    return new GatewayError('backend_overloaded', `${pool}: all slots of ${model} are taken and ${length} calls wait already.`,
      { retryAfterS: this.#retryAfterS() })
  }

  #wouldWait (before: number): GatewayError {
    const { pool, model, timeoutMs, observer } = this.#setup
    observer.admissionRejected({ pool, model, reason: 'queue_wait' })
    return new GatewayError('backend_overloaded',
      `${pool}: ${before} calls wait for ${model}, which takes about ${Math.round(this.#expectedWaitMs(before))} ms; at most ${timeoutMs} ms are waited.`,
      { retryAfterS: this.#retryAfterS() })
  }

  #tooLong (): GatewayError {
    const { pool, model, timeoutMs, observer } = this.#setup
    observer.admissionRejected({ pool, model, reason: 'queue_timeout' })
    return new GatewayError('backend_overloaded', `${pool}: no slot of ${model} came free within ${timeoutMs} ms.`,
      { retryAfterS: this.#retryAfterS() })
  }

  #unavailable (): GatewayError {
    const { pool, model } = this.#setup
    return new GatewayError('backend_unavailable', `${pool}: no worker for ${model} is running; ${this.explain()}.`)
  }

  /** Why there is none: why the model is never loaded, or what each worker is doing, for a person: `w0 quarantined (load failed: no such file)`. */
  explain (): string {
    return this.#setup.life.refusal() ?? this.#setup.workers.map(each => each.status())
      .map(({ worker, state, lastExit }) => `${worker} ${state}${lastExit === null ? '' : ` (${lastExit})`}`).join(', ')
  }

  /** Until the calls that wait now have had their turn, by the mean time that calls have held a slot of late. */
  #retryAfterS (): number {
    return Math.min(LONGEST_RETRY_S, Math.max(1, Math.ceil((this.queued + 1) / this.#slots * this.#holdMs / 1000)))
  }

  /** For as many calls as come before to get their slots; 0 before enough is known. */
  #expectedWaitMs (before: number): number {
    return this.#measured < LEAST_MEASURED ? 0 : before / this.#slots * this.#holdMs
  }

  get #slots (): number { return this.#setup.workers.reduce((sum, worker) => sum + worker.slots, 0) }
}

/** One call in the queue. Leaves it once: with a slot or with an error. */
class Waiting {
  readonly want: Want
  readonly slot: Promise<Slot>
  place: { leave (): boolean } | null = null
  isOver = false
  readonly #since = performance.now()
  readonly #left: (waitedMs: number) => void
  readonly #resolve: (slot: Slot) => void
  readonly #reject: (error: unknown) => void
  readonly #abort = () => { this.refuse(this.want.signal.reason) }
  #timer: NodeJS.Timeout | null = null
  #refused: () => void = () => {}

  constructor (want: Want, left: (waitedMs: number) => void) {
    const { promise, resolve, reject } = Promise.withResolvers<Slot>()
    this.want = want
    this.slot = promise
    this.#left = left
    this.#resolve = resolve
    this.#reject = reject
  }

  get waitedMs (): number { return performance.now() - this.#since }

  /** @param refused called when it leaves without a slot */
  wait (ms: number, tooLong: () => GatewayError, refused: () => void): void {
    this.#refused = refused
    this.#timer = setTimeout(() => { this.refuse(tooLong()) }, ms)
    this.want.signal.addEventListener('abort', this.#abort, { once: true })
  }

  grant (slot: Slot): void {
    this.#leave()
    this.#resolve(slot)
  }

  refuse (error: unknown): void {
    this.#leave()
    this.#reject(error)
    this.#refused()
  }

  #leave (): void {
    this.isOver = true
    this.place?.leave()
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.want.signal.removeEventListener('abort', this.#abort)
    this.#left(this.waitedMs)
  }
}
