import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { getCompileCacheDir } from 'node:module'
import { dirname } from 'node:path'
import { Pool as Connections, type Dispatcher } from 'undici'
import { NAMED_TEMPLATE, type LocalModelConfig } from '../../config/schema.ts'
import { commandOf, type Isolation } from './isolation.ts'
import { LOOK_MS, Watchdog, type Sign, type WatchdogRules } from './watchdog.ts'

/** Between a polite signal and SIGKILL. */
const STOP_MS = 5000
const STDERR_KEPT = 4096
const LINE_KEPT = 1000

/** What a worker may inherit. Anything else, secrets above all, stays in the gateway. */
const INHERITED = [
  'PATH', 'HOME', 'TMPDIR', 'TZ', 'LANG', 'LC_ALL', 'LD_LIBRARY_PATH', 'XDG_RUNTIME_DIR',
  'CUDA_VISIBLE_DEVICES', 'NVIDIA_VISIBLE_DEVICES', 'GGML_VK_VISIBLE_DEVICES', 'VK_ICD_FILENAMES', 'VK_DRIVER_FILES'
]

export interface ProcessPlan {
  /** Program of the worker. */
  readonly entry: string
  readonly model: LocalModelConfig
  readonly isolation: Isolation
  /** Unix socket the worker will listen on; removed when the process has ended. */
  readonly socketPath: string
  readonly loadMs: number
  /** Applies from the moment the model is loaded. */
  readonly watchdog: WatchdogRules
  /** The process reads texts and computes nothing. */
  readonly vocabularyOnly?: boolean
}

export interface ProcessEvents {
  ready (loaded: Loaded): void
  /** One line of standard error. */
  said (line: string): void
  /** The process has ended, or could not be started. Called once. */
  ended (): void
}

/** What a worker says once its model is loaded. */
export interface Loaded { readonly contextTokens: number, readonly slots: number, readonly memoryBytes: number }

/** One operating system process with one model: starts at once, ends once. */
export class WorkerProcess {
  /** Resolves when the process has ended; never rejects. */
  readonly ended: Promise<void>
  /** Connections to the worker. */
  readonly dispatcher: Dispatcher
  readonly startedAt = performance.now()
  readyAt: number | null = null
  readonly #plan: ProcessPlan
  readonly #events: ProcessEvents
  readonly #child: ChildProcess | null
  readonly #finish: () => void
  #timer: NodeJS.Timeout | null
  #watchdog: Watchdog | null = null
  #looks: NodeJS.Timeout | undefined
  #hang: string | null = null
  #isOver = false
  #failure: string | null = null
  #fraction = 0
  #exit = ''
  #stderr = ''
  #line = ''

  constructor (plan: ProcessPlan, events: ProcessEvents) {
    this.#plan = plan
    this.#events = events
    this.dispatcher = new Connections('http://worker', { socketPath: plan.socketPath, headersTimeout: 0, bodyTimeout: 0 })
    const over = Promise.withResolvers<void>()
    this.ended = over.promise
    this.#finish = over.resolve
    this.#timer = setTimeout(() => { this.#giveUp(`not ready within ${plan.loadMs} ms`) }, plan.loadMs)
    this.#child = this.#spawn()
  }

  get pid (): number | null { return this.#isOver ? null : this.#child?.pid ?? null }

  /** How far the load is, 0 to 1, never falling. */
  get loadFraction (): number { return this.readyAt === null ? this.#fraction : 1 }

  /** Why the load failed, in the worker's own words, if it said so. */
  get failure (): string | null { return this.#failure }

  /** It had stopped and was killed for that. */
  get isHung (): boolean { return this.#hang !== null }

  /** `SIGKILL`, `exit 70: …`, `hung: …`, `load failed: …`. The last words may still come in shortly after the end. */
  get lastExit (): string {
    if (this.#hang !== null) return `hung: ${this.#hang}`
    if (this.#failure !== null) return `load failed: ${this.#failure}`
    const words = lastWords(this.#stderr)
    return words === '' ? this.#exit : `${this.#exit}: ${words}`
  }

  /** Asks the process to end, and ends it by force when it has not within 5 s. Resolves when it is gone. */
  async stop (): Promise<void> {
    if (this.#isOver) return
    this.#child?.kill('SIGTERM')
    this.#killAfter(STOP_MS)
    await this.ended
  }

  #spawn (): ChildProcess | null {
    try {
      const child = spawn(...commandFor(this.#plan), {
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'], env: environmentOf(this.#plan.model)
      })
      keepTrack(child)
      child.on('error', ({ message }) => { if (child.pid === undefined) this.#end(message); else this.#events.said(message) })
      child.on('exit', (code, signal) => { this.#end(signal ?? `exit ${code}`) })
      child.on('message', message => { this.#hear(message) })
      child.stderr?.setEncoding('utf8').on('data', (text: string) => { this.#read(text) })
      return child
    } catch (error) {
      queueMicrotask(() => { this.#end(String(error)) })
      return null
    }
  }

  #hear (message: unknown): void {
    if (typeof message !== 'object' || message === null || !('kind' in message)) return
    if (message.kind === 'loading' && 'fraction' in message && typeof message.fraction === 'number') {
      this.#fraction = Math.max(this.#fraction, Math.min(1, message.fraction))
    }
    if (message.kind === 'ready' && isLoaded(message) && this.readyAt === null && this.#failure === null) {
      this.#clearTimer()
      this.readyAt = performance.now()
      this.#watch(this.readyAt)
      this.#events.ready(message)
    }
    if (message.kind === 'alive' && isSign(message)) this.#watchdog?.heard(message)
    if (message.kind === 'failed') {
      this.#failure = 'message' in message ? String(message.message).slice(0, LINE_KEPT) : 'no reason given'
      if (!this.#isOver) this.#killAfter(STOP_MS)
    }
  }

  #watch (now: number): void {
    const watchdog = new Watchdog(this.#plan.watchdog, now)
    this.#watchdog = watchdog
    this.#looks = setInterval(() => {
      this.#hang ??= watchdog.look(performance.now())
      // A stopped process hears no other signal. Sent again at each look until it has worked.
      if (this.#hang !== null) this.#child?.kill('SIGKILL')
    }, LOOK_MS)
  }

  #read (text: string): void {
    this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT)
    const lines = (this.#line + text).split('\n')
    this.#line = (lines.pop() ?? '').slice(-LINE_KEPT)
    for (const line of lines) if (line.trim() !== '') this.#events.said(line.slice(0, LINE_KEPT))
  }

  #giveUp (failure: string): void {
    this.#failure = failure
    this.#child?.kill('SIGKILL')
  }

  #killAfter (ms: number): void {
    this.#clearTimer()
    this.#timer = setTimeout(() => this.#child?.kill('SIGKILL'), ms)
  }

  #clearTimer (): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #end (exit: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#exit = exit
    this.#clearTimer()
    clearInterval(this.#looks)
    if (this.#child !== null) loseTrack(this.#child)
    rmSync(this.#plan.socketPath, { force: true })
    // Not destroyed: what the worker had sent before it died may still be read. The sockets end by themselves.
    void this.dispatcher.close()
    this.#finish()
    this.#events.ended()
  }
}

function commandFor (plan: ProcessPlan): [string, string[]] {
  const { entry, model, isolation, socketPath } = plan
  const spill = plan.vocabularyOnly === true ? null : model.spill?.folder ?? null
  if (spill !== null) mkdirSync(spill, { recursive: true, mode: 0o700 })
  const needs = { entry, model: model.path, spill, chatTemplate: templateFileOf(model), socketPath, usesGpu: model.gpu !== false, compiled: compiledFolder() }
  return commandOf(isolation, needs, argumentsOf(plan))
}

function templateFileOf ({ chatTemplate }: LocalModelConfig): string | null {
  return chatTemplate === undefined || chatTemplate === NAMED_TEMPLATE ? null : chatTemplate
}

function argumentsOf ({ model, socketPath, vocabularyOnly = false }: ProcessPlan): string[] {
  const options = {
    model: model.path, name: model.name, socket: socketPath, slots: model.slots, 'context-tokens': model.contextTokens,
    'batch-tokens': model.batchTokens, threads: model.threads, gpu: model.gpu,
    ...model.sha256 !== undefined && { sha256: model.sha256 },
    ...model.spill !== undefined && { 'spill-folder': model.spill.folder, 'spill-bytes': model.spill.bytes },
    ...model.chatTemplate !== undefined && { 'chat-template': model.chatTemplate },
    ...model.thinkingTokens !== undefined && { 'thinking-tokens': Object.entries(model.thinkingTokens).map(([effort, tokens]) => `${effort}=${tokens}`).join() }
  }
  return [...Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]), ...vocabularyOnly ? ['--vocabulary-only'] : []]
}

function environmentOf (model: LocalModelConfig): NodeJS.ProcessEnv {
  const inherited = INHERITED.flatMap(name => process.env[name] === undefined ? [] : [[name, process.env[name]]])
  const compiled = compiledFolder()
  // Sequences are sampled on libuv's threads, and Node reads this only at its start.
  return {
    ...Object.fromEntries(inherited),
    UV_THREADPOOL_SIZE: String(Math.max(4, model.slots + 2)),
    ...compiled !== null && { NODE_COMPILE_CACHE: compiled },
    ...model.environment
  }
}

/** What the gateway keeps compiled, its workers may use too: a third of their start. */
function compiledFolder (): string | null {
  const folder = getCompileCacheDir()
  return folder === undefined ? null : dirname(folder)
}

function isLoaded (message: object): message is Loaded {
  return 'contextTokens' in message && Number.isInteger(message.contextTokens) &&
    'slots' in message && Number.isInteger(message.slots) &&
    'memoryBytes' in message && typeof message.memoryBytes === 'number'
}

function isSign (message: object): message is Sign {
  return 'steps' in message && Number.isInteger(message.steps) && 'isBusy' in message && typeof message.isBusy === 'boolean'
}

/** The last line that names a fault: after an abort, native code and Node print a stack, or a version, below it. */
function lastWords (stderr: string): string {
  return (stderr.split('\n').findLast(line => /assert|error|fail|fatal|terminate/i.test(line)) ?? '').trim().slice(0, 200)
}

/** Last resort for a gateway that ends without closing its pools. A worker also ends by itself when its parent is gone. */
const living = new Set<ChildProcess>()

function keepTrack (child: ChildProcess): void {
  if (living.size === 0) process.on('exit', killLiving)
  living.add(child)
}

function loseTrack (child: ChildProcess): void {
  living.delete(child)
  if (living.size === 0) process.off('exit', killLiving)
}

function killLiving (): void {
  for (const child of living) child.kill('SIGKILL')
}
