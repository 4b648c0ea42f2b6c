import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { createPool, type Pool, type PoolOptions } from '../../../src/backends/pool/pool.ts'
import type { PoolObserver, WorkerStatus } from '../../../src/backends/pool/status.ts'
import type { LocalModelConfig, PoolConfig } from '../../../src/config/schema.ts'
import type { Answer } from '../../../src/wire/answer.ts'
import type { ChatRequest } from '../../../src/wire/chat.ts'

export const SCRIPTED = fileURLToPath(new URL('scripted-worker.ts', import.meta.url))

export const MODEL: LocalModelConfig = {
  name: 'm', path: 'good.gguf', load: 'start', keepAliveMs: 300_000, pinned: false, workers: 1, slots: 4, contextTokens: 512, batchTokens: 64, threads: 1, gpu: false, environment: {}
}

export interface PoolParts {
  models?: Partial<LocalModelConfig>[]
  queue?: Partial<PoolConfig['queue']>
  timeouts?: Partial<PoolConfig['timeouts']>
  restart?: Partial<PoolConfig['restart']>
  swap?: Partial<PoolConfig['swap']>
  memoryBytes?: number
  watchdog?: Partial<PoolConfig['watchdog']>
  isolation?: PoolConfig['isolation']
}

/** Without isolation: scripted workers leave marks in files. */
export function configOf ({ models = [{}], queue, timeouts, restart, swap, memoryBytes, watchdog, isolation = 'off' }: PoolParts = {}): PoolConfig {
  return {
    name: 'local',
    kind: 'pool',
    models: models.map(model => ({ ...MODEL, ...model })),
    isolation,
    ...memoryBytes !== undefined && { memoryBytes },
    swap: { afterCalls: 8, afterMs: 10_000, ...swap },
    queue: { length: 256, timeoutMs: 10_000, ...queue },
    timeouts: { loadMs: 10_000, firstTokenMs: 10_000, answerMs: 15_000, idleMs: 5000, totalMs: 20_000, ...timeouts },
    restart: { backoffMs: 10, maxBackoffMs: 50, quarantineAfter: 5, windowMs: 60_000, quarantineMs: 60_000, ...restart },
    watchdog: { silentMs: 15_000, stepMs: 15_000, ...watchdog }
  }
}

const nothing = (): void => {}
export const NOBODY: PoolObserver = { workerLost: nothing, workerReady: nothing, queueLeft: nothing, admissionRejected: nothing, modelUnloaded: nothing }

export interface Opened {
  readonly pool: Pool
  /** What the pool told its observer, in order: `workerLost crash`, `admissionRejected queue_full`. */
  readonly events: { readonly kind: string, readonly model?: string, readonly worker?: string, readonly reason?: string, readonly waitedMs?: number }[]
  readonly lines: { readonly level: string, readonly msg: string, readonly [extra: string]: unknown }[]
  workers (): WorkerStatus[]
}

/** A pool of scripted workers that is closed with the test, its running calls cut off. */
export function openPool (t: Test, parts: PoolParts = {}, options: Partial<PoolOptions> = {}): Opened {
  const events: Opened['events'] = []
  const lines: Opened['lines'] = []
  const tell = (kind: string) => (event: object) => { events.push({ kind, ...event }) }
  const pool = createPool(configOf(parts), {
    entry: SCRIPTED,
    observer: {
      workerLost: tell('workerLost'), workerReady: tell('workerReady'), queueLeft: tell('queueLeft'), admissionRejected: tell('admissionRejected'), modelUnloaded: tell('modelUnloaded')
    },
    log: line => { lines.push(line) },
    ...options
  })
  t.teardown(() => pool.close(AbortSignal.abort()))
  return { pool, events, lines, workers: () => pool.status().models.flatMap(({ workers }) => workers) }
}

export async function openReady (t: Test, parts: PoolParts = {}): Promise<Opened> {
  const opened = openPool(t, parts)
  await opened.pool.whenReady(AbortSignal.timeout(10_000))
  return opened
}

export interface Wish { isolation?: string, signal?: AbortSignal, model?: string, stream?: boolean, choices?: number, keepAlive?: number | string, priority?: 'batch' }

/** @param script what the scripted worker does: `words=20&after=crash` */
export function ask (pool: Pool, script: string, wish: Wish = {}): Promise<Answer> {
  const { isolation = 'acme', signal = new AbortController().signal, model = 'm', stream = true, choices = 1, keepAlive, priority } = wish
  const request: ChatRequest = { model, stream, n: choices, messages: [{ role: 'user', content: script }], ...keepAlive !== undefined && { keep_alive: keepAlive } }
  return pool.chat(request, { signal, boundary: 'local', callId: 'call-1', isolation, ...priority !== undefined && { priority } })
}

/** @returns the whole text; throws when the answer does */
export async function textOf (answer: Answer | Promise<Answer>): Promise<string> {
  const given = await answer
  const bytes: Buffer[] = []
  if (given.kind === 'body') return JSON.parse(given.bytes.toString()).choices[0].message.content
  for await (const frame of given.frames) bytes.push(frame)
  const events = Buffer.concat(bytes).toString().split('\n\n').filter(event => event !== '').map(event => event.slice('data: '.length))
  if (events.pop() !== '[DONE]') throw new Error('the stream ended without [DONE] and without a throw')
  return events.map(event => JSON.parse(event).choices[0]?.delta.content ?? '').join('')
}

export async function until (isTrue: () => boolean, what: string, ms = 20_000): Promise<void> {
  const end = performance.now() + ms
  while (!isTrue()) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}`)
    await sleep(5)
  }
}

export const busySlots = (pool: Pool): number =>
  pool.status().models.flatMap(({ workers }) => workers).reduce((sum, { busySlots: busy }) => sum + busy, 0)

/** @throws Error when there is no process: a signal to 0 would reach this one and all its kin */
export function kill (worker: WorkerStatus | undefined, signal: NodeJS.Signals): void {
  if (worker === undefined || worker.pid === null) throw new Error('no process to kill')
  process.kill(worker.pid, signal)
}

export function isAlive (pid: number | null): boolean {
  if (pid === null) return false
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
