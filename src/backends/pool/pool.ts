import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { LocalModelConfig, PoolConfig } from '../../config/schema.ts'
import { GatewayError } from '../../errors.ts'
import type { Answer } from '../../wire/answer.ts'
import type { ChatRequest } from '../../wire/chat.ts'
import type { Availability, Backend, ChatOptions } from '../backend.ts'
import { bodyOf } from '../http.ts'
import { Admission } from './admission.ts'
import type { Question } from './attempt.ts'
import { Call, cancelled } from './call.ts'
import type { ModelStatus, PoolObserver, PoolStatus } from './status.ts'
import { serve } from './tries.ts'
import { PooledWorker, type PoolLog } from './worker.ts'

/** `.ts` here, `.js` in the package. */
const WORKER = fileURLToPath(new URL(`../../worker/main${extname(import.meta.url)}`, import.meta.url))

/** `sun_path` of macOS is 104 bytes with its NUL, that of Linux 108; the folder adds 17 to the one for temporary files, a socket up to 14. */
const LONGEST_TMPDIR = 72

export interface PoolOptions {
  readonly observer: PoolObserver
  /** Program of a worker. Default: the one that comes with the gateway. */
  readonly entry?: string
  readonly log?: PoolLog
}

/** Local worker processes as one backend. */
export interface Pool extends Backend {
  status (): PoolStatus
  /**
   * Resolves when every model has a ready worker.
   * @throws GatewayError `backend_unavailable` when all workers of a model are given up, or when `signal` aborts before: the
   *   message says what each worker is doing
   */
  whenReady (signal: AbortSignal): Promise<void>
}

/** Starts the workers at once; does not wait for them. Calls that come before they are ready wait in the queue. */
export function createPool (config: PoolConfig, options: PoolOptions): Pool {
  return new LocalPool(config, options)
}

interface PooledModel { readonly name: string, readonly workers: readonly PooledWorker[], readonly admission: Admission }

class LocalPool implements Pool {
  readonly name: string
  readonly locality = 'local'
  readonly #config: PoolConfig
  readonly #options: PoolOptions
  readonly #folder: string
  readonly #models: ReadonlyMap<string, PooledModel>
  readonly #calls = new Set<Call>()
  readonly #events = new EventEmitter<{ change: [], idle: [] }>().setMaxListeners(0)
  #processes = 0
  #closed: Promise<void> | null = null

  constructor (config: PoolConfig, options: PoolOptions) {
    this.name = config.name
    this.#config = config
    this.#options = options
    this.#folder = openFolder()
    this.#models = new Map(config.models.map(model => [model.name, this.#model(model)]))
    for (const worker of this.#workers) worker.start()
  }

  availability (model: string): Availability {
    const pooled = this.#models.get(model)
    if (pooled === undefined) return { state: 'down', queued: 0, freeSlots: 0, contextTokens: null }
    const availability = pooled.admission.availability()
    return this.#closed === null ? availability : { ...availability, state: 'down' }
  }

  async chat (request: ChatRequest, options: ChatOptions): Promise<Answer> {
    const { admission } = this.#find(request.model)
    if (options.signal.aborted) throw cancelled(options.signal)
    const call: Call = new Call(options.signal, () => { this.#left(call) })
    this.#calls.add(call)
    try {
      return await this.#serve(call, admission, this.#question(request, options))
    } catch (error) {
      call.end()
      throw error
    }
  }

  status (): PoolStatus { return { pool: this.name, models: [...this.#models.values()].map(statusOf) } }

  async whenReady (signal: AbortSignal): Promise<void> {
    for (const { name, admission } of this.#models.values()) {
      while (!admission.isReady) {
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

  #model (model: LocalModelConfig): PooledModel {
    const { name: pool, queue, restart, timeouts, watchdog } = this.#config
    const { observer, entry = WORKER, log = () => undefined } = this.#options
    const changed = () => { admission.changed(); this.#events.emit('change') }
    const socketPath = () => join(this.#folder, `${this.#processes++}.sock`)
    const workers = Array.from({ length: model.workers }, (_, at) => new PooledWorker({
      pool, worker: `w${at}`, model, loadMs: timeouts.loadMs, restart, watchdog, entry, socketPath, observer, log, changed
    }))
    const admission: Admission = new Admission({ pool, model: model.name, ...queue, workers, observer })
    return { name: model.name, workers, admission }
  }

  #find (model: string): PooledModel {
    const pooled = this.#models.get(model)
    if (pooled === undefined) throw new GatewayError('backend_unavailable', `${this.name}: has no model of this name.`)
    if (this.#closed === null) return pooled
    this.#options.observer.admissionRejected({ pool: this.name, model, reason: 'draining' })
    throw draining(this.name)
  }

  #question (request: ChatRequest, { callId, isolation, workersLost = 0, lost }: ChatOptions): Question {
    return {
      pool: this.name,
      callId,
      isolation,
      body: bodyOf(request),
      stream: request.stream === true,
      choices: request.n ?? 1,
      timeouts: this.#config.timeouts,
      workersLost,
      lost
    }
  }

  #serve (call: Call, admission: Admission, question: Question): Promise<Answer> {
    const { isolation } = question
    return serve(call, question, wish => admission.take({ isolation, ...wish }))
  }

  #left (call: Call): void {
    this.#calls.delete(call)
    if (this.#calls.size === 0) this.#events.emit('idle')
  }

  async #close (): Promise<void> {
    if (this.#calls.size > 0) await once(this.#events, 'idle')
    await Promise.all(this.#workers.map(worker => worker.stop()))
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

function statusOf ({ name, workers, admission }: PooledModel): ModelStatus {
  return { model: name, contextTokens: admission.contextTokens, queued: admission.queued, workers: workers.map(worker => worker.status()) }
}
