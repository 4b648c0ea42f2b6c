/** A client without manners: writes bytes as they are given, and reads what comes back. */
import { connect, type Socket } from 'node:net'
import type { ErrorBody } from '../../src/errors.ts'

export interface RawAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface Talk {
  /** Interim ones (100 Continue) are left out, and counted in `continues`. */
  readonly answers: readonly RawAnswer[]
  readonly continues: number
  /** Whether the other side closed the connection. */
  readonly closed: boolean
  /** Everything that came. */
  readonly text: string
}

type Bytes = string | Buffer

const GIVE_UP_MS = 5000
/** Time for bytes that should not come, and for a connection to close that should. */
const SETTLE_MS = 30

/**
 * Writes the pieces, waits for that many answers, or for the end of the connection, and a moment more.
 * @param options.bodies false for HEAD, whose answers have a length and no body
 */
export function talk (url: string, pieces: Bytes | readonly Bytes[], { answers = 1, settleMs = SETTLE_MS, bodies = true } = {}): Promise<Talk> {
  const { promise, resolve } = Promise.withResolvers<Talk>()
  const socket = open(url)
  let bytes = Buffer.alloc(0)
  let closed = false
  const finish = () => {
    clearTimeout(deadline)
    resolve({ ...parsed(bytes, bodies), closed, text: bytes.toString('latin1') })
    socket.destroy()
  }
  const deadline = setTimeout(finish, GIVE_UP_MS)
  let settling = false
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    if (settling || parsed(bytes, bodies).answers.length < answers) return
    settling = true
    setTimeout(finish, settleMs)
  })
  socket.on('close', () => {
    closed = true
    finish()
  })
  for (const piece of typeof pieces === 'string' || Buffer.isBuffer(pieces) ? [pieces] : pieces) socket.write(piece)
  return promise
}

/**
 * A connection whose errors are nobody's business.
 * @param clings goes on when the other side has ended
 */
export function open (url: string, clings = false): Socket {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: clings })
  socket.on('error', () => {})
  return socket
}

export function errorOf ({ body }: RawAnswer): ErrorBody['error'] {
  return (JSON.parse(body) as ErrorBody).error
}

/** Whole answers only. */
function parsed (bytes: Buffer, bodies: boolean): { answers: RawAnswer[], continues: number } {
  const answers: RawAnswer[] = []
  let continues = 0
  for (let at = 0; ;) {
    const end = bytes.indexOf('\r\n\r\n', at)
    if (end === -1) return { answers, continues }
    const [first, ...lines] = bytes.toString('latin1', at, end).split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first!)?.[1])
    if (Number.isNaN(status)) return { answers, continues }
    const headers = Object.fromEntries(lines.map(line => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
    at = end + 4
    if (status === 100) { continues++; continue }
    const body = bodies ? bodyOf(bytes, at, headers) : { text: '', end: at }
    if (body === null) return { answers, continues }
    answers.push({ status, headers, body: body.text })
    at = body.end
  }
}

function bodyOf (bytes: Buffer, from: number, headers: Readonly<Record<string, string>>): { text: string, end: number } | null {
  if (headers['transfer-encoding'] !== 'chunked') {
    const end = from + Number(headers['content-length'] ?? 0)
    return end > bytes.length ? null : { text: bytes.toString('utf8', from, end), end }
  }
  let text = ''
  for (let at = from; ;) {
    const line = bytes.indexOf('\r\n', at)
    if (line === -1) return null
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16)
    if (line + 2 + size + 2 > bytes.length) return null
    text += bytes.toString('utf8', line + 2, line + 2 + size)
    at = line + 2 + size + 2
    if (size === 0) return { text, end: at }
  }
}
