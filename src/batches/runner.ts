/** Works off the batches of all tenants: checks what is new, answers line by line, writes the files of what is done. */
import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import type { Config } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import type { Files } from '../files/files.ts'
import type { Services } from '../pipeline/serve.ts'
import { routeOf } from '../pipeline/targets.ts'
import type { BatchRow, BatchStore, Lease, LineRow } from '../store/store.ts'
import { clear, finish, type OnStatus } from './finish.ts'
import { mostLines } from './headroom.ts'
import { answerLine, type LineParts } from './line.ts'
import { Rests } from './rests.ts'
import { validate, type Validated } from './validate.ts'

export interface RunnerParts extends Omit<LineParts, 'files' | 'tries'> {
  readonly config: Config['batches']
  readonly store: BatchStore
  readonly files: Files
  /** Longest line, in bytes. */
  readonly maxLineBytes: number
  /** Ended batches are forgotten after it. */
  readonly retentionHours: number
  readonly onStatus: OnStatus
  /** Told of what goes wrong here and is tried again. */
  readonly onError: (error: unknown) => void
}

/** How long a change made by another gateway may go unseen. */
const LOOK_MS = 1000
const AFTER_ERROR_MS = 1000
const SWEEP_MS = 60_000
const MOST_SWEPT = 1000
/** Running batches that are looked at for the next line. */
const MOST_RUNNING = 1000
const LINES_AT_ONCE = 500

/** A line under way. */
interface Running { readonly tenant: string, readonly line: LineRow, readonly done: Promise<void> }

export class BatchRunner {
  readonly #parts: RunnerParts
  readonly #services: Services
  /** Another one each time: what the gateway was at before it was killed is not its own any more. */
  readonly #owner = randomUUID()
  readonly #life = new AbortController()
  readonly #rests = new Rests()
  readonly #running = new Set<Running>()
  readonly #timers: readonly NodeJS.Timeout[]
  readonly #loop: Promise<void>
  #job: { readonly batch: BatchRow, readonly done: Promise<void> } | null = null
  #lookedMs = -Infinity
  /** As of `#listedMs`. */
  #batches: readonly BatchRow[] = []
  #listedMs = -Infinity
  #lastTenant = ''
  #wakeUp: () => void = () => {}
  /** Since the last look at what is to be done. */
  #hasChanged = false
  #isClosing = false

  constructor (parts: RunnerParts) {
    this.#parts = parts
    this.#services = behindOthers(parts.services)
    const { leaseMs } = parts.config
    const often = (work: () => Promise<unknown>, ms: number) => setInterval(() => { work().catch(parts.onError) }, ms).unref()
    this.#timers = [often(() => this.#renew(), leaseMs / 3), often(() => this.#sweep(), SWEEP_MS)]
    this.#loop = this.#run()
  }

  /** There is something new to do. */
  wake (): void {
    this.#lookedMs = this.#listedMs = -Infinity
    this.#notice()
  }

  /** Begins nothing more; what is under way ends by itself until `signal` aborts, and is given back then. */
  async close (signal: AbortSignal): Promise<void> {
    this.#isClosing = true
    this.#notice()
    const hurry = () => { this.#life.abort(new GatewayError('draining', 'The gateway is shutting down.')) }
    signal.addEventListener('abort', hurry, { once: true })
    if (signal.aborted) hurry()
    await this.#loop
    await Promise.all([...this.#running, ...this.#job === null ? [] : [this.#job]].map(({ done }) => done))
    signal.removeEventListener('abort', hurry)
    for (const timer of this.#timers) clearInterval(timer)
  }

  async #run (): Promise<void> {
    while (!this.#isClosing) {
      this.#hasChanged = false
      try {
        if (!await this.#step()) await this.#idle(Math.min(LOOK_MS, this.#rests.nextMs()))
      } catch (error) {
        this.#parts.onError(error)
        await this.#idle(AFTER_ERROR_MS)
      }
    }
  }

  /** @returns false when there is nothing that it could do at this moment */
  async #step (): Promise<boolean> {
    const next = this.#running.size < this.#parts.config.parallel ? await this.#nextLine() : null
    if (next !== null) this.#start(next.batch, next.line)
    // Whoever answers lines looks up from it now and then.
    const isTime = next === null || performance.now() - this.#lookedMs >= LOOK_MS
    return await (isTime ? this.#look() : false) || next !== null
  }

  async #look (): Promise<boolean> {
    if (this.#job !== null) return false
    this.#lookedMs = performance.now()
    const batch = await this.#parts.store.leaseBatch(this.#lease())
    if (batch === null) return false
    const done = this.#workOn(batch).catch(this.#parts.onError).finally(() => {
      this.#job = null
      this.wake()
    })
    this.#job = { batch, done }
    return true
  }

  async #workOn (batch: BatchRow): Promise<void> {
    const { store, files } = this.#parts
    try {
      if (batch.status === 'validating') await this.#validate(batch)
      else await finish({ store, files, owner: this.#owner, onStatus: this.#parts.onStatus }, batch, this.#life.signal)
    } catch (error) {
      // Not at once again: it would most likely fail again.
      if (!this.#life.signal.aborted) await this.#pause(AFTER_ERROR_MS)
      await store.releaseBatch(batch.id, this.#owner)
      if (!this.#life.signal.aborted) throw error
    }
  }

  async #validate (batch: BatchRow): Promise<void> {
    const { store, config, maxLineBytes, tenants, onStatus } = this.#parts
    const { signal } = this.#life
    const tenant = tenants.byName(batch.tenant)
    // What a gateway that was killed has left of it.
    await clear(store, batch.id)
    const input = await this.#open(batch)
    const checked = input === null ? GONE : await validate(input, {
      endpoint: batch.endpoint,
      maxLines: config.maxLines,
      maxLineBytes,
      assertModel: model => {
        if (tenant === null) throw new GatewayError('model_not_allowed', `The tenant ${batch.tenant} is no longer configured.`)
        routeOf(this.#services, tenant, model)
      }
    }, signal)
    if (checked.kind === 'bad') {
      const isEnded = await store.fail(batch.id, this.#owner, new Date(), JSON.stringify(checked.complaints))
      if (isEnded) onStatus({ batch: batch.id, tenant: batch.tenant, status: 'failed' })
      else await store.releaseBatch(batch.id, this.#owner)
      return
    }
    for (let at = 0; at < checked.lines.length; at += LINES_AT_ONCE) {
      signal.throwIfAborted()
      if (!await store.addLines(batch.id, this.#owner, checked.lines.slice(at, at + LINES_AT_ONCE))) return
      await turn()
    }
    const { lines: { length: total }, model } = checked
    const isBegun = await store.begin(batch.id, this.#owner, new Date(), { total, model })
    if (isBegun) onStatus({ batch: batch.id, tenant: batch.tenant, status: 'in_progress' })
    // Cancelled meanwhile: it is to be finished, by whoever comes.
    else await store.releaseBatch(batch.id, this.#owner)
  }

  /** Null when the input is not there any more: asking again would not bring it back. */
  async #open (batch: BatchRow): Promise<Readable | null> {
    const { files, onError } = this.#parts
    try {
      return await files.content(await files.find(batch.tenant, batch.inputFileId, 'input_file_id'))
    } catch (error) {
      onError(error)
      return null
    }
  }

  /** Tenants take turns; the oldest batch of each goes first. */
  async #nextLine (): Promise<{ batch: BatchRow, line: LineRow } | null> {
    const { store } = this.#parts
    if (performance.now() - this.#listedMs >= LOOK_MS) {
      this.#listedMs = performance.now()
      this.#batches = await store.running(new Date(), MOST_RUNNING)
    }
    for (const batch of inTurn(this.#batches, this.#lastTenant)) {
      if (this.#rests.has(tenantKey(batch)) || this.#isAtWork(batch.tenant)) continue
      const exceptModels = this.#rests.namesWith(modelKey(batch, ''))
      const [line] = await store.leaseLines(batch.id, this.#lease(), { most: 1, exceptModels })
      if (line === undefined) continue
      this.#lastTenant = batch.tenant
      return { batch, line }
    }
    return null
  }

  /** As much as batches of the tenant may be. */
  #isAtWork (name: string): boolean {
    const tenant = this.#parts.tenants.byName(name)
    return tenant !== null && [...this.#running].filter(({ tenant: owner }) => owner === name).length >= mostLines(tenant.limits)
  }

  #start (batch: BatchRow, line: LineRow): void {
    const running: Running = {
      tenant: batch.tenant,
      line,
      done: this.#answer(batch, line).catch(this.#parts.onError).finally(() => {
        this.#running.delete(running)
        this.#notice()
      })
    }
    this.#running.add(running)
  }

  /** When its answer cannot be written, its lease runs out, and it is answered again. */
  async #answer (batch: BatchRow, line: LineRow): Promise<void> {
    const { store, config } = this.#parts
    const { outcome, restMs } = await answerLine({ ...this.#parts, services: this.#services, tries: config.tries }, batch, line, this.#life.signal)
    if (restMs > 0) this.#rests.rest(tenantKey(batch), restMs)
    if ('state' in outcome) {
      await store.answer(line, this.#owner, outcome)
      return
    }
    const { rests, ms, isTry } = outcome
    if (rests !== 'line') this.#rests.rest(rests === 'tenant' ? tenantKey(batch) : modelKey(batch, line.model), ms)
    await store.release(line, this.#owner, { notBefore: new Date(rests === 'line' ? Date.now() + ms : 0), isTry })
  }

  #lease (): Lease {
    const now = new Date()
    return { owner: this.#owner, now, until: new Date(now.getTime() + this.#parts.config.leaseMs) }
  }

  async #renew (): Promise<void> {
    const batches = this.#job === null ? [] : [this.#job.batch.id]
    await this.#parts.store.renew(this.#lease(), { batches, lines: [...this.#running].map(({ line }) => line) })
  }

  async #sweep (): Promise<void> {
    await this.#parts.store.sweep(new Date(Date.now() - this.#parts.retentionHours * 3_600_000), MOST_SWEPT)
  }

  #notice (): void {
    this.#hasChanged = true
    this.#wakeUp()
  }

  /** Until something has changed, or the time is over. */
  async #idle (ms: number): Promise<void> {
    if (this.#hasChanged) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    this.#wakeUp = resolve
    await promise.finally(() => { clearTimeout(timer) })
  }

  #pause (ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    this.#life.signal.addEventListener('abort', () => { resolve() }, { once: true })
    return promise.finally(() => { clearTimeout(timer) })
  }
}

const GONE: Validated = { kind: 'bad', complaints: [{ code: 'file_not_found', message: 'The input file is not kept any more.', param: 'input_file_id', line: null }] }

const tenantKey = ({ tenant }: BatchRow) => `tenant ${tenant}`
const modelKey = ({ id }: BatchRow, model: string) => `model ${id} ${model}`

/** The tenant that was last comes last. */
function inTurn (batches: readonly BatchRow[], lastTenant: string): BatchRow[] {
  const names = [...new Set(batches.map(({ tenant }) => tenant))].toSorted()
  const from = names.findIndex(name => name > lastTenant)
  const ordered = from === -1 ? names : [...names.slice(from), ...names.slice(0, from)]
  const rank = new Map(ordered.map((name, at) => [name, at]))
  return batches.toSorted((a, b) => rank.get(a.tenant)! - rank.get(b.tenant)!)
}

/** Where calls wait for a place, those of batches come last. */
function behindOthers (services: Services): Services {
  const { dispatch } = services
  return {
    ...services,
    dispatch: order => dispatch({ ...order, ask: (backend, model, options) => order.ask(backend, model, { ...options, priority: 'batch' }) })
  }
}
