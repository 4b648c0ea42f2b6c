/**
 * Many answers at once from one model. Each step computes one batch that holds the next token of every answer under
 * way and, in the room that is left, pieces of the prompts that are still being read. Everything else (taking in new
 * work, letting go of cancelled work, cutting caches) happens between two steps, when no computation holds the model.
 */
import { GatewayError } from '../errors.ts'
import type { Engine, Scores, StepItem, StepResult } from './engine.ts'
import { chooseSlot, commonPrefix, marksFor } from './prefix.ts'
import { isWaiting, viewOf, type Call, type Done, type Job, type Slot, type SlotView, type Work } from './slot.ts'
import type { Spill } from './spill.ts'
import { Pace, planStep } from './step.ts'

/** Sums since the start. */
export interface BatchStats {
  steps: number
  /** Items of all steps: `sequences / steps` answers were computed together on average. */
  sequences: number
  promptTokens: number
  cachedTokens: number
  generatedTokens: number
  computeMs: number
}

/** Waiting work per slot. The pool sends no more than there are slots; this bounds anyone else. */
const QUEUE_PER_SLOT = 4
export class Batch {
  readonly stats: BatchStats = { steps: 0, sequences: 0, promptTokens: 0, cachedTokens: 0, generatedTokens: 0, computeMs: 0 }
  readonly #engine: Engine
  readonly #now: () => number
  readonly #slots: readonly Slot[]
  readonly #pace: Pace
  readonly #queue: Call[] = []
  /** Where states go that have to make room, and come from; null to forget them. */
  spill: Spill | null = null
  #isRunning = false
  #arrivals = 0
  #uses = 0

  constructor (engine: Engine, now: () => number = () => performance.now()) {
    this.#engine = engine
    this.#now = now
    this.#slots = Array.from({ length: engine.slots }, (_, id) => ({ id, tokens: [], isolation: '', usedAt: 0, job: null }))
    this.#pace = new Pace(engine.batchTokens)
  }

  get queued (): number { return this.#queue.length }

  /** Steps are computed, or are due. */
  get isBusy (): boolean { return this.#isRunning }

  view (): SlotView[] { return this.#slots.map(viewOf) }

  /** One answer, as `runAll`. */
  async run (work: Work, options: { signal: AbortSignal }): Promise<Done> {
    return (await this.runAll([work], options))[0]!
  }

  /**
   * Several answers to one prompt, which is read once. They begin together, when there are slots for all.
   * Resolves when all are complete. Rejects at once when `signal` aborts, in whatever phase; the slots are free at
   * the end of the step under way. When one fails, all fail.
   * @param works of the same prompt and isolation
   * @throws GatewayError `backend_overloaded` when the queue is full, `backend_failed` when the model could not compute,
   *   `unsupported_value` when there are more answers than slots
   */
  async runAll (works: readonly Work[], { signal }: { signal: AbortSignal }): Promise<Done[]> {
    signal.throwIfAborted()
    this.#checkRoom(works.length)
    const broken = new AbortController()
    const call: Call = { jobs: [], broken, isShared: works.length === 1 }
    const either = works.length === 1 ? signal : AbortSignal.any([signal, broken.signal])
    for (const work of works) {
      const [done, arrival] = [Promise.withResolvers<Done>(), ++this.#arrivals]
      call.jobs.push({ work, call, signal: either, done, arrival, read: 0, marks: [], cached: 0, generated: 0, sampling: work.sampling, next: null })
    }
    const leave = (): void => { this.#leave(call, either.reason) }
    either.addEventListener('abort', leave, { once: true })
    try {
      this.#queue.push(call)
      if (!this.#isRunning) void this.#loop()
      return await Promise.all(call.jobs.map(({ done }) => done.promise))
    } finally {
      either.removeEventListener('abort', leave)
    }
  }

  #checkRoom (answers: number): void {
    if (answers > this.#slots.length) {
      throw new GatewayError('unsupported_value', `n is ${answers}; this model gives at most ${this.#slots.length} choices per call.`, { param: 'n' })
    }
    const most = QUEUE_PER_SLOT * this.#slots.length
    const waiting = this.#queue.reduce((sum, { jobs }) => sum + jobs.length, 0)
    if (waiting - this.#freeSlots().length >= most) {
      throw new GatewayError('backend_overloaded', `All ${this.#slots.length} slots are busy and ${most} answers wait already.`, { retryAfterS: 1 })
    }
  }

  #freeSlots (): Slot[] { return this.#slots.filter(slot => slot.job === null) }

  #leave (call: Call, reason: unknown): void {
    const place = this.#queue.indexOf(call)
    if (place >= 0) this.#queue.splice(place, 1)
    for (const { done } of call.jobs) done.reject(reason)
  }

  /** Runs while there is work. Nothing in it may throw but a programming error, which then ends the process. */
  async #loop (): Promise<void> {
    this.#isRunning = true
    for (;;) {
      this.#sweep()
      await this.#admit()
      await this.#share()
      const items = planStep(this.#slots, this.#pace, this.stats.steps)
      if (items.length === 0) {
        if (this.#sweep()) continue
        break
      }
      const start = this.#now()
      const results = await this.#engine.step(items)
      this.#count(items, this.#now() - start)
      items.forEach((item, i) => { this.#settle(this.#slots[item.slot]!, item, results[i]!) })
      if (this.#engine.needsMarks) await this.#mark()
    }
    this.#isRunning = false
  }

  /** First come, first served: a call that wants several slots is not overtaken by those that want one. */
  async #admit (): Promise<void> {
    for (let call = this.#queue[0]; call !== undefined; call = this.#queue[0]) {
      const free = this.#freeSlots()
      const [first, ...others] = call.jobs
      const choice = chooseSlot(free, first!.work.prompt, first!.work.isolation)
      if (choice === null || free.length < call.jobs.length) return
      this.#queue.shift()
      const rest = free.filter(slot => slot !== choice.slot).toSorted((a, b) => a.usedAt - b.usedAt)
      for (const [i, job] of others.entries()) rest[i]!.job = job
      await this.#seat(first!, choice.slot, choice.keep)
    }
  }

  /**
   * Once all of a prompt but its last token is read, the others get a copy. The last token each reads by itself, for
   * its own first token; so nothing has to be taken back, which some networks cannot do.
   */
  async #share (): Promise<void> {
    for (const source of this.#slots) {
      const { job } = source
      if (job === null || job.call.isShared || job !== job.call.jobs[0] || job.read < job.work.prompt.length - 1) continue
      job.call.isShared = true
      for (const slot of this.#slots) {
        if (slot !== source && slot.job?.call === job.call) await this.#copy(source, slot, slot.job)
      }
    }
  }

  async #copy (source: Slot, slot: Slot, job: Job): Promise<void> {
    try {
      const kept = await this.#engine.copy(source.id, slot.id, source.tokens.length)
      slot.tokens = source.tokens.slice(0, kept)
      slot.isolation = source.isolation
      job.read = job.cached = kept
      this.stats.cachedTokens += kept
    } catch (thrown) {
      this.#fail(slot, job, thrown)
    }
  }

  /** Frees the slots of those who left while they waited for a copy: no step will. */
  #sweep (): boolean {
    const left = this.#slots.filter(({ job }) => job !== null && job.signal.aborted && isWaiting(job))
    for (const slot of left) this.#free(slot)
    return left.length > 0
  }

  async #seat (job: Job, slot: Slot, keep: number): Promise<void> {
    slot.job = job
    try {
      const kept = await this.#engine.rewind(slot.id, this.spill === null ? keep : await this.#swap(this.spill, job, slot, keep))
      slot.tokens.length = kept
      job.read = job.cached = kept
      if (this.#engine.needsMarks) job.marks = marksFor(job.work.prompt.length, keep, kept)
      slot.isolation = job.work.isolation
      this.stats.cachedTokens += kept
      if (job.signal.aborted) this.#free(slot)
    } catch (thrown) {
      this.#fail(slot, job, thrown)
    }
  }

  async #mark (): Promise<void> {
    for (const slot of this.#slots) {
      const { job } = slot
      if (job === null || job.next !== null || !job.marks.includes(job.read)) continue
      job.marks = job.marks.filter(at => at > job.read)
      try {
        await this.#engine.mark(slot.id)
      } catch (thrown) {
        this.#fail(slot, job, thrown)
      }
    }
  }

  /** @returns tokens of the prompt that the slot holds in the end */
  async #swap (spill: Spill, { work: { prompt, isolation } }: Job, slot: Slot, keep: number): Promise<number> {
    await spill.put(slot, keep)
    const held = await spill.take(slot.id, prompt, isolation, keep)
    if (held === null) return keep
    slot.tokens = held.slice()
    return Math.min(commonPrefix(held, prompt), prompt.length - 1)
  }

  /** Keeps what idle slots hold, for the worker that comes after this one. */
  async spillAll (): Promise<void> {
    for (const slot of this.#freeSlots()) await this.spill?.put(slot, 0)
  }

  #count (items: readonly StepItem[], ms: number): void {
    this.stats.steps++
    this.stats.sequences += items.length
    this.stats.computeMs += ms
    this.#pace.learn(items.reduce((sum, item) => sum + item.tokens.length, 0), ms)
  }

  #settle (slot: Slot, item: StepItem, result: StepResult): void {
    const job = slot.job!
    if ('error' in result) { this.#fail(slot, job, result.error); return }
    for (const token of item.tokens) slot.tokens.push(token)
    if (job.next === null) {
      job.read += item.tokens.length
      this.stats.promptTokens += item.tokens.length
    }
    if (job.signal.aborted) { this.#free(slot); return }
    if (result.token !== null) this.#advance(slot, job, result.token, result.scores)
  }

  #advance (slot: Slot, job: Job, token: number, scores?: Scores): void {
    try {
      if (this.#engine.isEnd(token)) { this.#finish(slot, job, 'stop'); return }
      job.next = [token]
      job.generated++
      this.stats.generatedTokens++
      const wanted = job.work.take(token, scores)
      if (wanted === false) this.#finish(slot, job, 'stop')
      else if (job.generated >= this.#roomOf(job)) this.#finish(slot, job, 'length')
      else if (wanted !== true) this.#putIn(slot, job, token, wanted)
    } catch (thrown) {
      this.#free(slot)
      this.#break(job, thrown)
    }
  }

  /** The answer goes on behind tokens that the model did not choose: it is sampled anew from there, as one that goes on from elsewhere is. */
  #putIn (slot: Slot, job: Job, token: number, tokens: readonly number[]): void {
    const { prompt, sampling: { said = [] } } = job.work
    const before = [...said, ...slot.tokens.slice(prompt.length), token]
    const next = [token]
    for (const one of tokens) {
      next.push(one)
      job.generated++
      this.stats.generatedTokens++
      if (job.work.take(one) === false) { this.#finish(slot, job, 'stop'); return }
      if (job.generated >= this.#roomOf(job)) { this.#finish(slot, job, 'length'); return }
    }
    this.#engine.release(slot.id)
    job.next = next
    job.sampling = { ...job.sampling, said: [...before, ...tokens] }
  }

  #roomOf ({ work }: Job): number { return Math.min(work.maxTokens, this.#engine.contextTokens - work.prompt.length) }

  #finish (slot: Slot, job: Job, reason: Done['reason']): void {
    const done = { reason, cachedTokens: job.cached, generatedTokens: job.generated }
    job.work.end?.(done)
    this.#free(slot)
    job.done.resolve(done)
  }

  #fail (slot: Slot, job: Job, cause: unknown): void {
    slot.tokens = []
    this.#free(slot)
    this.#break(job, new GatewayError('backend_failed', 'The model could not compute this answer.', { cause }))
  }

  #break ({ call, done }: Job, reason: unknown): void {
    done.reject(reason)
    call.broken.abort(reason)
  }

  #free (slot: Slot): void {
    this.#engine.release(slot.id)
    slot.job = null
    slot.usedAt = ++this.#uses
  }
}
