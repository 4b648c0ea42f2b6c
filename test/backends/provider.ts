/** A provider of scripted bytes: raw TCP, so that it can break every rule of HTTP, at every byte. */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { Pool } from 'undici'
import { exchange, type ExchangeOptions } from '../../src/backends/http.ts'
import type { Answer } from '../../src/wire/answer.ts'

export type Script = (socket: Socket, request: string) => void | Promise<void>

export interface Provider {
  readonly origin: string
  readonly port: number
  /** Every request as it came, head and body. */
  readonly requests: string[]
  /** Sockets that are open now. */
  readonly open: Set<Socket>
  /** Connections that were ever made. */
  readonly connections: () => number
  script: Script
  close (): Promise<void>
}

export async function startProvider (script: Script): Promise<Provider> {
  const open = new Set<Socket>()
  let connections = 0
  const server = createServer(socket => {
    connections++
    open.add(socket)
    let received = ''
    socket.on('close', () => open.delete(socket))
    socket.on('error', () => {})
    socket.on('data', bytes => {
      received += bytes.toString('latin1')
      for (let end = endOf(received); end !== -1; end = endOf(received)) {
        const request = received.slice(0, end)
        received = received.slice(end)
        provider.requests.push(request)
        void provider.script(socket, request)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const provider: Provider = {
    origin: `http://127.0.0.1:${port}`,
    port,
    requests: [],
    open,
    connections: () => connections,
    script,
    async close () {
      for (const socket of open) socket.destroy()
      server.close()
      await once(server, 'close')
    }
  }
  return provider
}

function endOf (received: string): number {
  const body = received.indexOf('\r\n\r\n') + 4
  if (body === 3) return -1
  const length = Number(/content-length: (\d+)/i.exec(received)?.[1] ?? 0)
  return received.length >= body + length ? body + length : -1
}

export function head (status: number, headers: Record<string, string | number> = {}): string {
  return `HTTP/1.1 ${status} X\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
}

export const STREAM_HEAD = head(200, { 'content-type': 'text/event-stream; charset=utf-8', 'transfer-encoding': 'chunked' })

/** One piece of a chunked body. */
export function piece (text: string | Buffer): Buffer {
  const bytes = Buffer.from(text as string)
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
}

export const END = '0\r\n\r\n'

/** Answers every call with these bytes as a stream, `size` bytes to an HTTP chunk. */
export function streams (body: string | Buffer, size = Infinity): Script {
  return socket => {
    socket.write(STREAM_HEAD)
    const bytes = Buffer.from(body as string)
    const step = Math.min(size, bytes.length)
    for (let at = 0; at < bytes.length; at += step) socket.write(piece(bytes.subarray(at, at + step)))
    socket.write(END)
  }
}

export function answers (status: number, body: string, headers: Record<string, string> = { 'content-type': 'application/json' }): Script {
  return socket => { socket.write(head(status, { ...headers, 'content-length': Buffer.byteLength(body) }) + body) }
}

export function event (value: unknown): string {
  return `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`
}

export function chunk (delta: Record<string, unknown>, finish: string | null = null, index = 0): string {
  return event({ id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index, delta, finish_reason: finish }] })
}

export const ROLE = chunk({ role: 'assistant', content: '' })
export const HELLO = chunk({ content: 'Hello' })
export const STOP = chunk({}, 'stop')
export const DONE = event('[DONE]')
export const COMPLETION = JSON.stringify({
  id: 'c1', object: 'chat.completion', created: 1, model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }
})

export const PATIENT = { connectMs: 2_000, firstTokenMs: 5_000, answerMs: 8_000, idleMs: 5_000, totalMs: 10_000 }

/** One exchange with the provider over a pool of its own; `close` gives the pool back. */
export function asker (provider: Provider, connections = 8) {
  const pool = new Pool(provider.origin, { connections })
  return {
    pool,
    ask: (options: Partial<ExchangeOptions> = {}, body = '{"model":"m","messages":[]}'): Promise<Answer> => exchange(pool, {
      origin: provider.origin, path: '/v1/chat/completions', headers: ['content-type', 'application/json'], body
    }, { name: 'fake', timeouts: PATIENT, signal: new AbortController().signal, stream: true, ...options }),
    close: () => pool.destroy()
  }
}

export async function textOf (answer: Answer): Promise<string> {
  if (answer.kind === 'body') return answer.bytes.toString('utf8')
  let text = ''
  for await (const frame of answer.frames) text += frame.toString('utf8')
  return text
}

/** Waits until `isTrue`, for two seconds at most. */
export async function until (isTrue: () => boolean): Promise<boolean> {
  for (let tries = 0; tries < 400; tries++) {
    if (isTrue()) return true
    await pause(5)
  }
  return false
}
