/**
 * Processes that hold nothing but the vocabulary of a model. Texts are read and prompts counted there while the model
 * itself is not in memory, or busy: nothing is loaded for it, nobody put out of memory, and nobody waits for a slot.
 */
import type { LocalModelConfig } from '../../config/schema.ts'
import { GatewayError } from '../../errors.ts'
import type { Answer } from '../../wire/answer.ts'
import { exchange } from '../http.ts'
import type { Question } from './attempt.ts'
import type { ProcessEvents, WorkerProcess } from './process.ts'

/** At once in one pool. Each takes some 150 MB, nearly all of it the runtime. */
const MOST_KEPT = 2
/** After the last call. */
const KEPT_MS = 60_000
/** Under way or waiting, of one model. */
const MOST_CALLS = 32
/** From a vocabulary that could not be loaded until that is tried again. */
const REST_MS = 10_000

export interface VocabulariesSetup {
  readonly pool: string
  start (model: LocalModelConfig, events: ProcessEvents): WorkerProcess
}

export class Vocabularies {
  readonly #setup: VocabulariesSetup
  /** By model, the one used longest ago first. */
  readonly #kept = new Map<string, Vocabulary>()
  readonly #stopping = new Set<Promise<void>>()

  constructor (setup: VocabulariesSetup) { this.#setup = setup }

  /** Processes that run. */
  get size (): number { return [...this.#kept.values()].filter(({ isOver }) => !isOver).length }

  /**
   * One answer of the vocabulary, which is loaded where it is not, and once more where its process has ended meanwhile.
   * @throws GatewayError `backend_overloaded` when too many are used, or this one too much; `backend_unavailable` when it
   *   cannot be loaded; what the exchange threw, or `signal.reason`
   */
  async ask (model: LocalModelConfig, question: Question, signal: AbortSignal): Promise<Answer> {
    const vocabulary = this.#use(model)
    try {
      return await vocabulary.ask(question, signal)
    } catch (thrown) {
      if (!isLost(thrown) || signal.aborted) throw thrown
      this.#drop(model.name, vocabulary)
      return await this.#use(model).ask(question, signal)
    }
  }

  #use (model: LocalModelConfig): Vocabulary {
    const vocabulary = this.#kept.get(model.name) ?? this.#open(model)
    this.#kept.delete(model.name)
    this.#kept.set(model.name, vocabulary)
    return vocabulary
  }

  /** Ends all of them. */
  async close (): Promise<void> {
    for (const [name, vocabulary] of this.#kept) this.#drop(name, vocabulary)
    await Promise.all(this.#stopping)
  }

  #open (model: LocalModelConfig): Vocabulary {
    const { pool } = this.#setup
    if (this.size >= MOST_KEPT) this.#dropIdle()
    const vocabulary: Vocabulary = new Vocabulary(pool, model, this.#setup.start, () => { this.#drop(model.name, vocabulary) })
    return vocabulary
  }

  #dropIdle (): void {
    const idle = [...this.#kept].find(([, { isOver, isIdle }]) => isIdle && !isOver)
    if (idle !== undefined) return this.#drop(...idle)
    throw new GatewayError('backend_overloaded', `${this.#setup.pool}: the vocabularies of ${MOST_KEPT} other models are in use.`, { retryAfterS: 1 })
  }

  #drop (name: string, vocabulary: Vocabulary): void {
    if (this.#kept.get(name) === vocabulary) this.#kept.delete(name)
    const stopped = vocabulary.stop().finally(() => { this.#stopping.delete(stopped) })
    this.#stopping.add(stopped)
  }
}

function isLost (thrown: unknown): boolean {
  return thrown instanceof GatewayError && (thrown.code === 'backend_unreachable' || thrown.code === 'backend_interrupted')
}

class Vocabulary {
  readonly #pool: string
  readonly #model: LocalModelConfig
  readonly #process: WorkerProcess
  readonly #ready = Promise.withResolvers<void>()
  /** It is not to be used any more. */
  readonly #done: () => void
  #calls = 0
  #timer: NodeJS.Timeout | undefined
  /** The process has ended. */
  isOver = false

  constructor (pool: string, model: LocalModelConfig, start: VocabulariesSetup['start'], done: () => void) {
    this.#pool = pool
    this.#model = model
    this.#done = done
    this.#ready.promise.catch(() => { /* Whoever waits hears it; there may be nobody. */ })
    this.#process = start(model, {
      ready: () => { this.#ready.resolve() },
      said: () => { /* What is wrong with the file its workers say as well. */ },
      ended: () => { this.#ended() }
    })
  }

  get isIdle (): boolean { return this.#calls === 0 }

  async ask (question: Question, signal: AbortSignal): Promise<Answer> {
    const { name } = this.#model
    if (this.#calls >= MOST_CALLS) throw new GatewayError('backend_overloaded', `${this.#pool}: ${MOST_CALLS} calls read texts with the vocabulary of ${name} already.`, { retryAfterS: 1 })
    this.#calls++
    // Being asked does not prolong the rest of one that could not be loaded.
    if (!this.isOver) clearTimeout(this.#timer)
    try {
      await unlessAborted(this.#ready.promise, signal)
      return await this.#exchange(question, signal)
    } finally {
      this.#calls--
      if (this.isIdle && !this.isOver) this.#endAfter(KEPT_MS)
    }
  }

  async stop (): Promise<void> {
    clearTimeout(this.#timer)
    await this.#process.stop()
  }

  #exchange ({ callId, route, body, timeouts }: Question, signal: AbortSignal): Promise<Answer> {
    const headers = ['content-type', 'application/json', 'x-request-id', callId]
    return exchange(this.#process.dispatcher, { origin: 'http://worker', path: `/v1${route.path}`, headers, body }, {
      name: `${this.#pool}/${this.#model.name}`, timeouts, signal, stream: false, route
    })
  }

  #ended (): void {
    const wasReady = this.#process.readyAt !== null
    this.isOver = true
    this.#ready.reject(new GatewayError('backend_unavailable', `${this.#pool}: the vocabulary of ${this.#model.name} cannot be loaded; ${this.#process.lastExit}.`))
    if (wasReady) this.#done()
    else this.#endAfter(REST_MS)
  }

  #endAfter (ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(this.#done, ms).unref()
  }
}

async function unlessAborted (promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const abort = (): void => { aborted.reject(signal.reason) }
  signal.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
