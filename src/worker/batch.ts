/**
 * Many answers at once from one model. Each step computes one batch that holds the next token of every answer under
 * way and, in the room that is left, pieces of the prompts that are still being read. Everything else (taking in new
 * work, letting go of cancelled work, cutting caches) happens between two steps, when no computation holds the model.
 */
import { GatewayError } from '../errors.ts'
import type { Engine, Sampling, Scores, StepItem, StepResult } from './engine.ts'
import { chooseSlot } from './prefix.ts'

export interface Work {
  /** At least one token, and fewer than the context. */
  readonly prompt: readonly number[]
  /** Work of different domains never shares cached prompt state. */
  readonly isolation: string
  readonly sampling: Sampling
  readonly maxTokens: number
  /** Called with every token of the answer. Returns false when the answer is complete. */
  take (token: number, scores?: Scores): boolean
  /** Called once, when the answer is complete, in the order of its tokens. What it throws breaks the answer off. */
  end? (done: Done): void
}

export interface Done {
  /** `length`: `maxTokens` or the context is used up. */
  readonly reason: 'stop' | 'length'
  /** Tokens of the prompt that did not have to be computed. */
  readonly cachedTokens: number
  readonly generatedTokens: number
}

export interface SlotView {
  readonly id: number
  readonly busy: boolean
  readonly phase: 'idle' | 'prompt' | 'generating'
  readonly promptTokens: number
  readonly generatedTokens: number
  /** Of the prompt while busy; held for the next prompt while idle. */
  readonly cachedTokens: number
}

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

interface Job {
  readonly work: Work
  readonly call: Call
  readonly signal: AbortSignal
  readonly done: PromiseWithResolvers<Done>
  /** Rises with every call. */
  readonly arrival: number
  /** Tokens of the prompt that are in the slot. */
  read: number
  cached: number
  generated: number
  /** Sampled last and not yet in the slot; null while the prompt is read. */
  next: number | null
}

/** Answers to one prompt: the first job reads it, the others wait and get a copy of its state. */
interface Call {
  readonly jobs: Job[]
  /** Ends all when one fails. */
  readonly broken: AbortController
  isShared: boolean
}

interface Slot { readonly id: number, tokens: number[], isolation: string, usedAt: number, job: Job | null }

/** Waiting work per slot. The pool sends no more than there are slots; this bounds anyone else. */
const QUEUE_PER_SLOT = 4
/** What a step may take: an answer is cancelled, and an interactive one goes on, between two steps. */
const STEP_MS = 25
/** Fewer at once take llama.cpp three times as long per token (AVX2: 1.5 ms each by 32, 0.5 ms by 64). */
const LEAST_PROMPT_TOKENS = 64
const FIRST_PROMPT_TOKENS = 128

export class Batch {
  readonly stats: BatchStats = { steps: 0, sequences: 0, promptTokens: 0, cachedTokens: 0, generatedTokens: 0, computeMs: 0 }
  readonly #engine: Engine
  readonly #now: () => number
  readonly #slots: readonly Slot[]
  readonly #queue: Call[] = []
  #isRunning = false
  #arrivals = 0
  #uses = 0
  #promptTokensPerStep: number

  constructor (engine: Engine, now: () => number = () => performance.now()) {
    this.#engine = engine
    this.#now = now
    this.#slots = Array.from({ length: engine.slots }, (_, id) => ({ id, tokens: [], isolation: '', usedAt: 0, job: null }))
    this.#promptTokensPerStep = Math.min(FIRST_PROMPT_TOKENS, engine.batchTokens)
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
      call.jobs.push({ work, call, signal: either, done: Promise.withResolvers(), arrival: ++this.#arrivals, read: 0, cached: 0, generated: 0, next: null })
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
      const items = this.#plan()
      if (items.length === 0) {
        if (this.#sweep()) continue
        break
      }
      const start = this.#now()
      const results = await this.#engine.step(items)
      this.#learn(items, this.#now() - start)
      items.forEach((item, i) => { this.#settle(this.#slots[item.slot]!, item, results[i]!) })
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
      const kept = await this.#engine.rewind(slot.id, keep)
      slot.tokens.length = kept
      job.read = job.cached = kept
      slot.isolation = job.work.isolation
      this.stats.cachedTokens += kept
      if (job.signal.aborted) this.#free(slot)
    } catch (thrown) {
      this.#fail(slot, job, thrown)
    }
  }

  /**
   * The next token of every answer, and in the room that is left one prompt after the other: a prompt is read three
   * times as fast in one large piece as in many small ones. The oldest and the shortest take turns to be the first,
   * so that a short one does not wait for a long one, nor a long one for ever.
   */
  #plan (): StepItem[] {
    const busy = this.#slots.filter(({ job }) => job !== null && !isWaiting(job))
    const [reading, answering] = [busy.filter(isReading), busy.filter(slot => !isReading(slot))]
    const items: StepItem[] = answering.map(({ id, job }) => ({ slot: id, tokens: [job!.next!], sampling: job!.work.sampling }))
    let room = Math.min(this.#promptTokensPerStep, this.#engine.batchTokens - items.length)
    for (const slot of reading.toSorted(this.stats.steps % 2 === 0 ? oldestFirst : shortestFirst)) {
      if (room <= 0) break
      const item = nextPiece(slot, room)
      items.push(item)
      room -= item.tokens.length
    }
    return items
  }

  /** Sizes the pieces of prompts so that a step takes STEP_MS, whatever computes. */
  #learn (items: readonly StepItem[], ms: number): void {
    const tokens = items.reduce((sum, item) => sum + item.tokens.length, 0)
    this.stats.steps++
    this.stats.sequences += items.length
    this.stats.computeMs += ms
    if (tokens < LEAST_PROMPT_TOKENS) return
    const fitting = Math.round(tokens * STEP_MS / Math.max(ms, 0.1))
    const smoothed = (this.#promptTokensPerStep + Math.min(fitting, this.#promptTokensPerStep * 4)) / 2
    this.#promptTokensPerStep = Math.min(this.#engine.batchTokens, Math.max(LEAST_PROMPT_TOKENS, Math.round(smoothed)))
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
      job.next = token
      job.generated++
      this.stats.generatedTokens++
      const wantsMore = job.work.take(token, scores)
      if (!wantsMore) this.#finish(slot, job, 'stop')
      else if (job.generated >= this.#roomOf(job)) this.#finish(slot, job, 'length')
    } catch (thrown) {
      this.#free(slot)
      this.#break(job, thrown)
    }
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

/** For the state of the first answer to the same prompt. */
function isWaiting (job: Job): boolean { return !job.call.isShared && job !== job.call.jobs[0] }
function isReading ({ job }: Slot): boolean { return job!.next === null }
function unread ({ job }: Slot): number { return job!.work.prompt.length - job!.read }
function oldestFirst (a: Slot, b: Slot): number { return a.job!.arrival - b.job!.arrival }
function shortestFirst (a: Slot, b: Slot): number { return unread(a) - unread(b) }

function nextPiece ({ id, job }: Slot, room: number): StepItem {
  const { prompt, sampling } = job!.work
  const end = Math.min(job!.call.isShared ? prompt.length : prompt.length - 1, job!.read + room)
  return { slot: id, tokens: prompt.slice(job!.read, end), sampling: end === prompt.length ? sampling : null }
}

function viewOf ({ id, job, tokens }: Slot): SlotView {
  if (job === null) return { id, busy: false, phase: 'idle', promptTokens: 0, generatedTokens: 0, cachedTokens: tokens.length }
  return {
    id,
    busy: true,
    phase: job.next === null ? 'prompt' : 'generating',
    promptTokens: job.work.prompt.length,
    generatedTokens: job.generated,
    cachedTokens: job.cached
  }
}
