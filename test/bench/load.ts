/** Two kinds of load, over raw sockets. Closed: every connection sends its next request when the last answer is complete. Open: requests come when they come. */
import { connect, type Socket } from 'node:net'
import { seeded } from '../seeded.ts'

export interface Load { readonly port: number, readonly headers: string, readonly body: string, readonly connections: number, readonly seconds: number }
export interface Measured { readonly perS: number, readonly p50Ms: number, readonly p99Ms: number, readonly answers: number, readonly failures: number }

const HEAD_END = Buffer.from('\r\n\r\n')
const CHUNKED_END = Buffer.from('0\r\n\r\n')
const DONE = Buffer.from('[DONE]')
const PATIENCE_MS = 10_000

export async function measure (load: Load): Promise<Measured> {
  const seen = new Seen()
  const request = requestOf(load)
  const endMs = performance.now() + load.seconds * 1000
  await Promise.all(Array.from({ length: load.connections }, async () => {
    const socket = opened(load.port)
    let isWell = true
    while (isWell && performance.now() < endMs) isWell = await seen.ask(socket, request, performance.now())
    socket.destroy()
  }))
  return seen.measured()
}

/**
 * Requests come at `perS` on average with random gaps, whether the one before is answered or not. Times count from when a
 * request was due, so that waiting for a free connection counts too.
 */
export async function measureOpen (load: Load & { readonly perS: number }): Promise<Measured> {
  const seen = new Seen()
  const request = requestOf(load)
  const random = seeded(1)
  const idle = Array.from({ length: load.connections }, () => opened(load.port))
  const due: number[] = []
  const running = new Set<Promise<void>>()
  const run = async (socket: Socket, dueMs: number): Promise<void> => {
    if (await seen.ask(socket, request, dueMs)) idle.push(socket)
  }
  let nextMs = performance.now()
  const endMs = nextMs + load.seconds * 1000
  while (performance.now() < endMs || due.length > 0) {
    for (; nextMs <= Math.min(performance.now(), endMs); nextMs -= Math.log(1 - random()) * 1000 / load.perS) due.push(nextMs)
    if (idle.length === 0 && running.size === 0) throw new Error('Every connection broke.')
    while (due.length > 0 && idle.length > 0) {
      const asked = run(idle.pop()!, due.shift()!).finally(() => running.delete(asked))
      running.add(asked)
    }
    // No timer: they come up to a millisecond late.
    await new Promise(setImmediate)
  }
  await Promise.all(running)
  for (const socket of idle) socket.destroy()
  return seen.measured()
}

/** What became of the requests of one run. */
class Seen {
  readonly #times: number[] = []
  readonly #startMs = performance.now()
  #failures = 0

  /** @returns whether the connection can be used again */
  async ask (socket: Socket, request: Buffer, sinceMs: number): Promise<boolean> {
    socket.write(request)
    const isWell = await wholeAnswer(socket) === 200
    if (isWell) this.#times.push(performance.now() - sinceMs)
    else { this.#failures++; socket.destroy() }
    return isWell
  }

  measured (): Measured {
    const tookS = (performance.now() - this.#startMs) / 1000
    const times = this.#times.toSorted((a, b) => a - b)
    const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN
    return { perS: times.length / tookS, p50Ms: at(0.5), p99Ms: at(0.99), answers: times.length, failures: this.#failures }
  }
}

function requestOf ({ headers, body }: Load): Buffer {
  return Buffer.from(`POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n${headers}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}

function opened (port: number): Socket {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  // 'close' follows and ends the wait.
  socket.on('error', () => {})
  socket.setTimeout(PATIENCE_MS, () => socket.destroy())
  return socket
}

/** Status of the next answer, after its last byte; 0 when the connection broke. */
function wholeAnswer (socket: Socket): Promise<number> {
  return new Promise(resolve => {
    let head: string | null = null
    let seen = 0
    let want = -1
    let early: Buffer = Buffer.alloc(0)
    const finish = (status: number) => {
      socket.off('data', onData)
      socket.off('close', onClose)
      resolve(status)
    }
    const onClose = () => finish(0)
    const onData = (bytes: Buffer) => {
      if (head === null) {
        early = early.length === 0 ? bytes : Buffer.concat([early, bytes])
        const end = early.indexOf(HEAD_END)
        if (end < 0) return
        head = early.toString('latin1', 0, end).toLowerCase()
        want = Number(/content-length: *(\d+)/.exec(head)?.[1] ?? -1)
        bytes = early.subarray(end + 4)
      }
      seen += bytes.length
      const complete = want >= 0 ? seen >= want : bytes.length >= 5 && bytes.subarray(-5).equals(CHUNKED_END)
      // A stream that ends in an error event is no answer.
      if (complete) finish(want < 0 && !bytes.includes(DONE) ? 0 : Number(head.slice(9, 12)))
    }
    socket.on('data', onData)
    socket.on('close', onClose)
  })
}
