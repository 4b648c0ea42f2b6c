import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir, totalmem } from 'node:os'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { LocalModelConfig, PoolConfig } from '../../config/schema.ts'
import { GatewayError } from '../../errors.ts'
import type { Answer, BodyAnswer } from '../../wire/answer.ts'
import type { ChatRequest } from '../../wire/chat.ts'
import type { CompletionRequest } from '../../wire/completions.ts'
import { inputsOf, type EmbeddingsRequest } from '../../wire/embeddings.ts'
import type { RerankRequest } from '../../wire/rerank.ts'
import type { DetokenizeRequest, TokenizeRequest } from '../../wire/tokenize.ts'
import { LOCAL_MEMBERS } from '../../wire/unknown.ts'
import { readGguf } from '../../models/gguf.ts'
import { estimateBytes } from '../../models/memory.ts'
import { keepAliveMs as readKeepAlive } from '../../wire/keep-alive.ts'
import type { Availability, Backend, ChatOptions } from '../backend.ts'
import { bodyOf, type Asking } from '../http.ts'
import { CHAT, COMPLETIONS, COUNT, DETOKENIZE, embeddingsRoute, RERANK, TOKENIZE, type Route } from '../routes.ts'
import { Admission, type Life, type Want } from './admission.ts'
import type { Question } from './attempt.ts'
import { Call, cancelled } from './call.ts'
import { isolationOf, type Isolation } from './isolation.ts'
import { Memory } from './memory.ts'
import { PooledModel } from './model.ts'
import { place } from './place.ts'
import type { PoolObserver, PoolStatus } from './status.ts'
import { WorkerProcess, type ProcessEvents } from './process.ts'
import { serve } from './tries.ts'
import { Vocabularies } from './vocabularies.ts'
import { PooledWorker, type PoolLog } from './worker.ts'

/** `.ts` here, `.js` in the package. */
const WORKER = fileURLToPath(new URL(`../../worker/main${extname(import.meta.url)}`, import.meta.url))

/** `sun_path` of macOS is 104 bytes with its NUL, that of Linux 108; the folder adds 17 to the one for temporary files, a socket up to 14. */
const LONGEST_TMPDIR = 72

/** Of the memory of the host, where models are loaded on demand and no `memoryBytes` is configured. */
const MEMORY_SHARE = 0.8

export interface PoolOptions {
  readonly observer: PoolObserver
  /** Program of a worker. Default: the one that comes with the gateway. */
  readonly entry?: string
  readonly log?: PoolLog
  /** Calls that a tenant has in its turn when several wait; 1 if left out. */
  readonly weightOf?: (isolation: string) => number
  /** Bytes that a worker will take; null when nobody can tell. Default: from the head of the model file. */
  readonly estimate?: (model: LocalModelConfig) => number | null
}

/** Local worker processes as one backend. */
export interface Pool extends Backend {
  status (): PoolStatus
  /**
   * Resolves when every model that is loaded at the start has a ready worker.
   * @throws GatewayError `backend_unavailable` when all workers of a model are given up, or when `signal` aborts before: the
   *   message says what each worker is doing
   */
  whenReady (signal: AbortSignal): Promise<void>
}

/**
 * Starts the workers at once; does not wait for them. Calls that come before they are ready wait in the queue.
 * @throws Error where isolation is required and cannot be had, or the path of TMPDIR is too long for sockets
 */
export function createPool (config: PoolConfig, options: PoolOptions): Pool {
  return new LocalPool(config, options)
}

/** A call of any kind; all of them may say how long the model is to stay. */
type PoolRequest = Asking & { readonly keep_alive?: unknown }

class LocalPool implements Pool {
  readonly name: string
  readonly locality = 'local'
  readonly members = LOCAL_MEMBERS
  readonly isBlind = true
  readonly #config: PoolConfig
  readonly #options: PoolOptions
  readonly #isolation: Isolation
  readonly #folder: string
  readonly #models: ReadonlyMap<string, PooledModel>
  readonly #memory: Memory
  readonly #vocabularies: Vocabularies
  readonly #calls = new Set<Call>()
  readonly #events = new EventEmitter<{ change: [], idle: [] }>().setMaxListeners(0)
  #processes = 0
  #closed: Promise<void> | null = null

  constructor (config: PoolConfig, options: PoolOptions) {
    this.name = config.name
    this.#config = config
    this.#options = options
    this.#isolation = isolationOf(config.name, config.isolation)
    this.#tellIsolation()
    this.#folder = openFolder()
    this.#models = new Map(config.models.map(model => [model.name, this.#model(model)]))
    this.#memory = new Memory(config.name, limitOf(config), [...this.#models.values()], options.log ?? (() => undefined))
    this.#vocabularies = new Vocabularies({ pool: config.name, start: (model, events) => this.#startVocabulary(model, events) })
    this.#memory.start()
  }

  availability (model: string): Availability {
    const pooled = this.#models.get(model)
    if (pooled === undefined) return { state: 'down', queued: 0, freeSlots: 0, contextTokens: null }
    const availability = pooled.admission.availability()
    return this.#closed === null ? availability : { ...availability, state: 'down' }
  }

  chat (request: ChatRequest, options: ChatOptions): Promise<Answer> { return this.#ask(CHAT, request, options) }

  tokenize (request: TokenizeRequest, options: ChatOptions): Promise<Answer> { return this.#read(TOKENIZE, request, options) }
  detokenize (request: DetokenizeRequest, options: ChatOptions): Promise<Answer> { return this.#read(DETOKENIZE, request, options) }

  async count (request: ChatRequest, options: ChatOptions): Promise<number> {
    const answer = await this.#read(COUNT, { ...request, stream: false, n: 1 }, options) as BodyAnswer
    return (answer.value as { readonly count: number }).count
  }

  rerank (request: RerankRequest, options: ChatOptions): Promise<Answer> { return this.#ask(RERANK, request, options) }
  complete (request: CompletionRequest, options: ChatOptions): Promise<Answer> { return this.#ask(COMPLETIONS, request, options) }

  async embed (request: EmbeddingsRequest, options: ChatOptions): Promise<BodyAnswer> {
    return await this.#ask(embeddingsRoute(inputsOf(request.input).length), request, options) as BodyAnswer
  }

  /** Of a worker only where one has a slot to spare: nobody waits, and no model is loaded, for what computes nothing. */
  async #read (route: Route, request: PoolRequest, options: ChatOptions): Promise<Answer> {
    const { name, admission } = this.#find(request.model)
    if (admission.availability().freeSlots > 0) return this.#ask(route, request, options)
    const call = this.#begin(options)
    try {
      const config = this.#config.models.find(model => model.name === name)!
      return await this.#vocabularies.ask(config, this.#question(route, request, options), call.signal)
    } finally {
      call.end()
    }
  }

  #begin ({ signal }: ChatOptions): Call {
    if (signal.aborted) throw cancelled(signal)
    const call: Call = new Call(signal, () => { this.#left(call) })
    this.#calls.add(call)
    return call
  }

  async #ask (route: Route, request: PoolRequest, options: ChatOptions): Promise<Answer> {
    const model = this.#find(request.model)
    const keepAliveMs = keepAliveOf(request, model, this.name)
    const call = this.#begin(options)
    try {
      return await this.#serve(call, model.admission, this.#question(route, request, options), { keepAliveMs, isBatch: options.priority === 'batch' })
    } catch (error) {
      call.end()
      throw error
    }
  }

  status (): PoolStatus {
    const { memoryBytes, usedBytes, models } = this.#memory
    return {
      pool: this.name,
      isolation: this.#isolation,
      memoryBytes: Number.isFinite(memoryBytes) ? memoryBytes : null,
      usedBytes,
      models: models.map(model => model.status())
    }
  }

  async whenReady (signal: AbortSignal): Promise<void> {
    for (const model of this.#memory.models) {
      const { name, admission } = model
      while (model.isExpected && !admission.isReady) {
        if (admission.isDown || signal.aborted) throw notReady(this.name, name, admission, signal)
        // An abort is reported by the next turn of the loop.
        await once(this.#events, 'change', { signal }).catch(() => undefined)
      }
    }
  }

  async close (signal?: AbortSignal): Promise<void> {
    const hurry = () => { this.#abortAll() }
    signal?.addEventListener('abort', hurry, { once: true })
    this.#closed ??= this.#close()
    if (signal?.aborted === true) hurry()
    await this.#closed
    signal?.removeEventListener('abort', hurry)
  }

  get #workers (): PooledWorker[] { return [...this.#models.values()].flatMap(({ workers }) => workers) }

  #model (config: LocalModelConfig): PooledModel {
    const { name: pool, queue, restart, timeouts, watchdog, swap } = this.#config
    const { observer, entry = WORKER, log = () => undefined, weightOf = () => 1, estimate = estimateOf } = this.#options
    const changed = () => { admission.changed(); this.#changed() }
    const socketPath = () => join(this.#folder, `${this.#processes++}.sock`)
    const workers = Array.from({ length: config.workers }, (_, at) => new PooledWorker({
      pool, worker: `w${at}`, model: config, loadMs: timeouts.loadMs, restart, watchdog, isolation: this.#isolation, entry, socketPath, observer, log, changed
    }))
    const admission: Admission = new Admission({
      pool, model: config.name, ...queue, workers, observer, weightOf, life: this.#lifeOf(() => model)
    })
    const model = new PooledModel({
      pool, config, swap, workers, admission, observer, log, estimate: () => estimate(config), changed
    })
    return model
  }

  /** Who has switched it off knows. */
  #tellIsolation (): void {
    const { wanted, networkNamespace, reason } = this.#isolation
    if (wanted === 'off') return
    const { log = () => undefined } = this.#options
    if (networkNamespace) log({ level: 'info', msg: 'workers are isolated: no other files, no processes, no network', pool: this.name })
    else log({ level: 'warn', msg: 'workers are isolated from files and processes, but the network is not closed to their native code', pool: this.name, reason })
  }

  /** Without a GPU, and without the digest of the whole file. */
  #startVocabulary (model: LocalModelConfig, events: ProcessEvents): WorkerProcess {
    const { timeouts: { loadMs }, watchdog } = this.#config
    const socketPath = join(this.#folder, `${this.#processes++}.sock`)
    const plan = { entry: this.#options.entry ?? WORKER, isolation: this.#isolation, loadMs, socketPath, watchdog, vocabularyOnly: true }
    return new WorkerProcess({ ...plan, model: { ...model, slots: 1, gpu: false, environment: {} } }, events)
  }

  /** @param model asked for later: queue and model know each other */
  #lifeOf (model: () => PooledModel): Life {
    const memory = () => this.#memory
    return {
      get isLoadable () { return memory().isLoadable(model()) },
      place: (isolation, slots) => place(memory(), { model: model(), isolation, slots }),
      refusal: () => model().state === 'unloaded' ? memory().refusal(model()) : null,
      begun: () => { model().begun() },
      ended: ms => { model().ended(ms) },
      changed: () => { this.#changed() }
    }
  }

  #changed (): void {
    this.#memory.arrange()
    this.#events.emit('change')
  }

  #find (model: string): PooledModel {
    const pooled = this.#models.get(model)
    if (pooled === undefined) throw new GatewayError('backend_unavailable', `${this.name}: has no model of this name.`)
    if (this.#closed === null) return pooled
    this.#options.observer.admissionRejected({ pool: this.name, model, reason: 'draining' })
    throw draining(this.name)
  }

  #question (route: Route, { keep_alive: _keepAlive, ...request }: PoolRequest, { callId, isolation, workersLost = 0, lost }: ChatOptions): Question {
    return {
      pool: this.name,
      callId,
      isolation,
      route,
      body: bodyOf(request),
      stream: request.stream === true,
      choices: request.n ?? 1,
      timeouts: this.#config.timeouts,
      workersLost,
      lost
    }
  }

  #serve (call: Call, admission: Admission, question: Question, way: Pick<Want, 'keepAliveMs' | 'isBatch'>): Promise<Answer> {
    const { callId, isolation } = question
    return serve(call, question, wish => admission.take({ callId, isolation, ...way, ...wish }))
  }

  #left (call: Call): void {
    this.#calls.delete(call)
    if (this.#calls.size === 0) this.#events.emit('idle')
  }

  async #close (): Promise<void> {
    if (this.#calls.size > 0) await once(this.#events, 'idle')
    this.#memory.close()
    await Promise.all([this.#vocabularies.close(), ...this.#workers.map(worker => worker.stop())])
    await rm(this.#folder, { recursive: true, force: true })
    folders.delete(this.#folder)
  }

  #abortAll (): void {
    for (const call of this.#calls) call.abort(draining(this.name))
  }
}

/** For the sockets of the workers; nobody else may enter it. */
function openFolder (): string {
  const parent = tmpdir()
  if (Buffer.byteLength(parent) > LONGEST_TMPDIR) {
    throw new Error(`TMPDIR: ${parent} is too long for the sockets of local workers; choose a folder of at most ${LONGEST_TMPDIR} bytes.`)
  }
  if (!process.listeners('exit').includes(removeFolders)) process.on('exit', removeFolders)
  const folder = mkdtempSync(join(parent, 'torchgate-'))
  folders.add(folder)
  return folder
}

/** Those of pools that are not closed yet: a process that is told twice to stop ends without closing them. */
const folders = new Set<string>()

function removeFolders (): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}

function draining (pool: string): GatewayError {
  return new GatewayError('draining', `${pool}: is shutting down and takes no calls.`)
}

function notReady (pool: string, model: string, admission: Admission, signal: AbortSignal): GatewayError {
  const message = `${pool}: ${model} has no ready worker; ${admission.explain()}.`
  return new GatewayError('backend_unavailable', message, signal.aborted ? { cause: signal.reason } : {})
}

/** @throws GatewayError where the operator keeps the model and the caller wants it gone: what cannot be had is refused */
function keepAliveOf ({ keep_alive: wish }: PoolRequest, model: PooledModel, pool: string): number | null {
  if (wish === undefined) return null
  const ms = readKeepAlive(wish)
  if (ms === 0 && model.isKept) {
    throw new GatewayError('unsupported_value', `keep_alive is 0, but ${model.name} in ${pool} is kept loaded; leave keep_alive out.`, { param: 'keep_alive' })
  }
  return ms
}

/** Without models that come and go there is nothing to choose, and no limit. */
function limitOf ({ memoryBytes, models }: PoolConfig): number {
  if (memoryBytes !== undefined) return memoryBytes
  if (models.every(({ load }) => load === 'start')) return Infinity
  const constrained = process.constrainedMemory()
  return Math.floor(MEMORY_SHARE * Math.min(totalmem(), constrained > 0 ? constrained : Infinity))
}

/** A file that cannot be read is left to the worker, which says what is wrong with it. */
function estimateOf (model: LocalModelConfig): number | null {
  try {
    return estimateBytes(readGguf(model.path), model)
  } catch {
    return null
  }
}
