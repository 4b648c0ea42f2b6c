/** A closed-loop load: every connection sends its next request when the last answer is complete. Raw sockets. */
import { connect, type Socket } from 'node:net'

export interface Load { readonly port: number, readonly headers: string, readonly body: string, readonly connections: number, readonly seconds: number }
export interface Measured { readonly perS: number, readonly p50Ms: number, readonly p99Ms: number, readonly answers: number, readonly failures: number }

const HEAD_END = Buffer.from('\r\n\r\n')
const CHUNKED_END = Buffer.from('0\r\n\r\n')
const DONE = Buffer.from('[DONE]')
const PATIENCE_MS = 10_000

export async function measure (load: Load): Promise<Measured> {
  const request = Buffer.from(`POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n${load.headers}content-length: ${Buffer.byteLength(load.body)}\r\n\r\n${load.body}`)
  const times: number[] = []
  let failures = 0
  const startMs = performance.now()
  const endMs = startMs + load.seconds * 1000
  await Promise.all(Array.from({ length: load.connections }, () => drive(load.port, request, endMs, ms => times.push(ms), () => { failures++ })))
  const tookS = (performance.now() - startMs) / 1000
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN
  return { perS: times.length / tookS, p50Ms: at(0.5), p99Ms: at(0.99), answers: times.length, failures }
}

async function drive (port: number, request: Buffer, endMs: number, onAnswer: (ms: number) => void, onFailure: () => void): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  // 'close' follows and ends the wait.
  socket.on('error', () => {})
  socket.setTimeout(PATIENCE_MS, () => socket.destroy())
  try {
    while (performance.now() < endMs) {
      const sentMs = performance.now()
      socket.write(request)
      const status = await wholeAnswer(socket)
      if (status === 200) onAnswer(performance.now() - sentMs)
      else { onFailure(); return }
    }
  } finally {
    socket.destroy()
  }
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
