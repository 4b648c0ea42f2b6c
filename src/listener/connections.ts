import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { GatewayError, type ErrorCode } from '../errors.ts'

const BROKEN: Readonly<Record<string, readonly [ErrorCode, string, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', '408 Request Timeout', 'The request did not arrive whole in time.'],
  HPE_HEADER_OVERFLOW: ['request_too_large', '431 Request Header Fields Too Large', 'The path and headers are larger than this listener accepts.']
}
const MALFORMED = ['malformed_request', '400 Bad Request', 'The request is not valid HTTP/1.1.'] as const

/** Time for a refused client to read why. Closing at once would let its own unread bytes reset the connection. */
const LINGER_MS = 1_000

/** What is no HTTP, or does not come to its end in time, is told so once, and its connection closed. */
export class Connections {
  /** Requests without a whole answer. More than one where a client sends the next before it has read the last. */
  readonly #unanswered = new WeakMap<Socket, ServerResponse[]>()

  add (response: ServerResponse): void {
    const { socket } = response.req
    const open = this.#unanswered.get(socket)
    if (open === undefined) this.#unanswered.set(socket, [response])
    else open.push(response)
    response.once('close', () => this.#remove(socket, response))
  }

  /**
   * Nothing was sent or received for a while. Waiting for a model is no reason to end; bytes that nobody takes are, and a
   * connection on which nothing is asked.
   */
  quiet (socket: Socket): void {
    if (socket.writableLength > 0 || (this.#unanswered.get(socket)?.length ?? 0) === 0) socket.destroy()
  }

  #remove (socket: Socket, response: ServerResponse): void {
    const open = this.#unanswered.get(socket)
    open?.splice(open.indexOf(response), 1)
  }

  refuse (error: NodeJS.ErrnoException, socket: Socket): void {
    if (error.code === 'ECONNRESET' || !socket.writable || this.#isAnswering(socket)) { socket.destroy(); return }
    const [code, status, message] = BROKEN[error.code ?? ''] ?? MALFORMED
    const body = JSON.stringify(new GatewayError(code, message).toBody())
    socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
    setTimeout(() => socket.destroy(), LINGER_MS).unref()
  }

  /** Then these bytes follow a good request, and a word about them would be read as a part of its answer. */
  #isAnswering (socket: Socket): boolean {
    return (this.#unanswered.get(socket) ?? []).some(response => response.headersSent || response.req.complete)
  }
}
