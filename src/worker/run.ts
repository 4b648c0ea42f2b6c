/** The life of a worker process: load, serve, stop. */
import { once } from 'node:events'
import { unlinkSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { loadModel, loadReader, type LoadEvents, type ModelOptions } from './load.ts'
import type { AliveMessage, ReadyMessage, WorkerMessage } from './protocol.ts'
import { seal } from './seal.ts'
import { serveModel, serveReader, type Service } from './serve.ts'

export interface WorkerOptions extends ModelOptions {
  /** Unix socket to listen on, instead of `port`. Made readable by this user alone, removed at the end. */
  readonly socket?: string | undefined
  /** TCP port; 0 takes a free one. */
  readonly port?: number | undefined
  readonly host?: string | undefined
  /** Only tells what texts are to the model; computes nothing. */
  readonly vocabularyOnly?: boolean | undefined
}

/** How long answers under way may go on after SIGTERM. */
const DRAIN_MS = 10_000
/** How often the parent hears that all is well. */
const ALIVE_MS = 500
/** sysexits.h EX_SOFTWARE: the pool tells a failed load from a crash by it. */
const EXIT_LOAD_FAILED = 70
/** What sun_path holds, less its end. */
const MAX_SOCKET_PATH_BYTES = process.platform === 'linux' ? 107 : 103

/**
 * Loads the model and answers until SIGTERM, or SIGINT where nobody spawned us, or the end of the parent.
 * @returns the exit code. The caller exits with it at once: native memory is given back by the end of the process.
 */
export async function runWorker (options: WorkerOptions): Promise<number> {
  const parent = process.send === undefined ? new Terminal(options.name) : new Parent()
  const stop = stopRequest()
  try {
    if (options.socket !== undefined) await claimSocket(options.socket)
    const { service, loaded, words, sign, leave } = await open(options, { signal: stop.signal, onProgress: fraction => { parent.loading(fraction) }, log })
    const address = await listen(service.server, options)
    seal(process)
    await parent.send({ kind: 'ready', ...loaded }, `${address}, ${words}`)
    parent.reassure(() => ({ kind: 'alive', ...sign() }))
    await stop.requested
    await service.drain(AbortSignal.timeout(DRAIN_MS))
    await leave()
    return 0
  } catch (thrown) {
    if (stop.signal.aborted) return 0
    const message = thrown instanceof Error ? thrown.message : String(thrown)
    await parent.send({ kind: 'failed', message }, message)
    return EXIT_LOAD_FAILED
  }
}

interface Opened {
  readonly service: Service
  readonly loaded: Omit<ReadyMessage, 'kind'>
  /** For a person. */
  readonly words: string
  sign (): Omit<AliveMessage, 'kind'>
  /** After the last answer. */
  leave (): Promise<void>
}

async function open (options: WorkerOptions, events: LoadEvents): Promise<Opened> {
  if (options.vocabularyOnly === true) {
    const reader = await loadReader(options, events)
    const loaded = { contextTokens: reader.contextTokens, slots: 1, memoryBytes: process.memoryUsage.rss() }
    return { service: serveReader(reader, log), loaded, words: 'the vocabulary alone', sign: () => ({ steps: 0, isBusy: false }), leave: async () => {} }
  }
  const model = await loadModel(options, events)
  const { contextTokens, slots, memoryBytes, device, batch } = model
  return {
    service: serveModel(model, log),
    loaded: { contextTokens, slots, memoryBytes },
    words: `${slots} slots of ${contextTokens} tokens on ${device}`,
    sign: () => ({ steps: batch.stats.steps, isBusy: batch.isBusy }),
    leave: () => batch.spillAll()
  }
}

/** The process that spawned us. */
class Parent {
  #said = -1

  /** Whole percents only: a loader reports far more often. */
  loading (fraction: number): void {
    const percent = Math.floor(Math.min(1, fraction) * 100)
    if (percent <= this.#said) return
    this.#said = percent
    void this.send({ kind: 'loading', fraction: percent / 100 })
  }

  /** From now on at regular times. While the parent does not read, nothing is sent: no more than one message waits for it. */
  reassure (sign: () => WorkerMessage): void {
    let isOut = true
    setInterval(async () => {
      if (!isOut) return
      isOut = false
      await this.send(sign())
      isOut = true
    }, ALIVE_MS).unref()
  }

  /** Resolves when the message is out, or cannot be any more. */
  send (message: WorkerMessage, _words?: string): Promise<void> {
    return new Promise(resolve => {
      if (process.send === undefined || !process.connected) resolve()
      else process.send(message, undefined, {}, () => { resolve() })
    })
  }
}

/** Somebody who started a worker by hand and reads standard error. */
class Terminal {
  readonly #name: string
  constructor (name: string) {
    this.#name = name
    log(`torchgate worker: loading ${name}`)
  }

  loading (): void { /* A line per percent would be noise. */ }
  reassure (): void { /* Who looks at a terminal needs no reassurance. */ }

  async send ({ kind }: WorkerMessage, words: string): Promise<void> {
    log(`torchgate worker: ${this.#name} ${kind === 'ready' ? 'answers on' : 'could not be loaded:'} ${words}`)
  }
}

function stopRequest (): { readonly requested: Promise<void>, readonly signal: AbortSignal } {
  const controller = new AbortController()
  const { promise, resolve } = Promise.withResolvers<void>()
  const stop = (): void => {
    controller.abort(new Error('Stopped while loading.'))
    resolve()
  }
  // Not `once`: signal-exit, deep in node-llama-cpp, ends the process when it finds no other listener left.
  process.on('SIGTERM', stop)
  // Ctrl-C reaches the whole process group; a pool that spawned us decides for us.
  process.on('SIGINT', process.send === undefined ? stop : () => {})
  process.once('disconnect', () => { process.exit(0) })
  return { requested: promise, signal: controller.signal }
}

/** @returns where, in words */
async function listen (server: Server, { socket, port, host = '127.0.0.1' }: WorkerOptions): Promise<string> {
  if (socket === undefined) {
    server.listen(port ?? 0, host)
    await once(server, 'listening')
    const { address, port: actual } = server.address() as AddressInfo
    return `http://${address}:${actual}`
  }
  // A mask, not chmod: between bind and chmod anybody could connect.
  const mask = process.umask(0o177)
  try {
    server.listen(socket)
    await once(server, 'listening')
  } finally {
    process.umask(mask)
  }
  process.once('exit', () => { remove(socket) })
  return `unix:${socket}`
}

/** A worker that was killed leaves its socket behind. One that still answers is not ours to remove. */
async function claimSocket (path: string): Promise<void> {
  const bytes = Buffer.byteLength(path)
  if (bytes > MAX_SOCKET_PATH_BYTES) throw new Error(`socket ${path}: ${bytes} bytes are too many for the path of a socket; at most ${MAX_SOCKET_PATH_BYTES}.`)
  const probe = connect(path)
  try {
    await once(probe, 'connect')
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    if (code === 'ECONNREFUSED') remove(path)
    return
  } finally {
    probe.destroy()
  }
  throw new Error(`socket ${path}: another process listens on it.`)
}

/** Not rmSync, which would have to look at it first: at its end a worker may no longer read. */
function remove (socket: string): void {
  try {
    unlinkSync(socket)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown
  }
}

function log (line: string): void { process.stderr.write(`${line}\n`) }
