import type { WebSocket } from 'ws'
import type { GatewayError } from '../errors.ts'
import type { AnswerSink } from './dialect.ts'

/** Unsent bytes at which a backend is told to wait. */
const HIGH_WATER_BYTES = 262_144

export interface SocketOutletOptions {
  /** `stream_id` of the request, which every event of its answer repeats; null where it had none. */
  readonly lane: string | null
  /** Said once, with the first event: there are no headers to say it in. */
  readonly warning: () => string | null
  /** A caller that takes nothing for so long is cut off. */
  readonly stallMs: number
  /** Aborts when the caller has left. */
  readonly signal: AbortSignal
}

/** The events of one answer as messages of a WebSocket: what an event stream has after `data:`, and nothing else. */
export class SocketOutlet implements AnswerSink {
  readonly #socket: WebSocket
  readonly #options: SocketOutletOptions
  #begun = false

  constructor (socket: WebSocket, options: SocketOutletOptions) {
    this.#socket = socket
    this.#options = options
  }

  get begun (): boolean { return this.#begun }

  body (): void { throw new TypeError('Nothing is answered in one piece here.') }

  begin (): void {}

  frame (bytes: Buffer): Promise<void> | undefined {
    for (const event of eventsIn(bytes.toString('utf8'))) this.#send(event)
    return this.taken()
  }

  /** Until its caller has taken enough of what was said; undefined when it has. */
  taken (): Promise<void> | undefined {
    return this.#socket.bufferedAmount > HIGH_WATER_BYTES ? this.#drained() : undefined
  }

  /** Pings do it. */
  beat (): void {}

  end (): void {}

  /** An answer ends once: what event streams say in an error event first, stands in the failed response too, which takes its number. */
  endWith (events: string): void {
    let dropped = 0
    for (const event of eventsIn(events)) {
      if (event.startsWith('{"type":"error"')) dropped++
      else this.#send(event.replace(/"sequence_number":(\d+)/, (_, number) => `"sequence_number":${Number(number) - dropped}`))
    }
  }

  /** Before the answer has begun. */
  refuse (error: GatewayError): void {
    this.#send(JSON.stringify({ type: 'error', status: error.status, error: error.toBody().error }))
  }

  #send (event: string): void {
    const { lane, warning } = this.#options
    const warned = this.#begun ? null : warning()
    this.#begun = true
    const more = { ...lane !== null && { stream_id: lane }, ...warned !== null && { 'x-torchgate-warning': warned } }
    const head = JSON.stringify(more).slice(0, -1)
    // A caller that has left is told nothing; the signal has said so to whoever writes.
    this.#socket.send(head === '{' ? event : `${head},${event.slice(1)}`, () => {})
  }

  /** Until everything was handed to the network, or the caller has left. */
  #drained (): Promise<void> {
    const { signal, stallMs } = this.#options
    return new Promise(resolve => {
      let quiet = performance.now()
      let unsent = this.#socket.bufferedAmount
      const look = (): void => {
        const now = this.#socket.bufferedAmount
        if (now < unsent) quiet = performance.now()
        unsent = now
        if (!signal.aborted && now > HIGH_WATER_BYTES / 2) {
          if (performance.now() - quiet > stallMs) this.#socket.terminate()
          return
        }
        clearInterval(timer)
        resolve()
      }
      const timer = setInterval(look, LOOK_MS)
    })
  }
}

/** How often the network is asked whether it took something. */
const LOOK_MS = 10

/** What stands behind `data:` in each event, with a blank or without one. JSON holds no line end. */
function * eventsIn (text: string): Generator<string, void, undefined> {
  for (let at = text.startsWith(DATA) ? 0 : next(text, 0); at !== -1;) {
    const end = text.indexOf('\n', at)
    const from = at + DATA.length
    yield text.slice(text[from] === ' ' ? from + 1 : from, end === -1 ? text.length : end)
    at = end === -1 ? -1 : next(text, end)
  }
}

const DATA = 'data:'

/** Where the next line of data begins; -1 where none does. */
function next (text: string, from: number): number {
  const at = text.indexOf(`\n${DATA}`, from)
  return at === -1 ? -1 : at + 1
}
