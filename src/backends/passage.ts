import { GatewayError } from '../errors.ts'
import { findError } from '../wire/observe.ts'
import type { FrameSource } from './frames.ts'

/** Unread bytes at which the backend is told to wait. */
const HIGH_WATER_BYTES = 262_144
/** A longer event passes unread. An image in base64 may be one; an error is none. */
const MAX_HELD_BYTES = 1_048_576

/**
 * An answer that passes as it comes: sound, text, or events of another kind than chats. Of events only errors are looked for,
 * so they are held until they are whole. A hand-written iterator, as Frames.
 */
export class Passage implements AsyncIterableIterator<Buffer, undefined> {
  readonly #source: FrameSource
  readonly #isEvents: boolean
  /** The beginning of an event. */
  #held: Buffer = Buffer.alloc(0)
  #ready: Buffer[] = []
  #readyBytes = 0
  #isPaused = false
  #isCommitted = false
  /** No more will come: an error, or null at a good end. */
  #end: { readonly error: GatewayError | null } | null = null
  #waiting: { resolve: (result: IteratorResult<Buffer, undefined>) => void, reject: (error: unknown) => void } | null = null

  constructor (source: FrameSource, isEvents: boolean) {
    this.#source = source
    this.#isEvents = isEvents
  }

  /** True while everything that came has been taken: then silence is the backend's. */
  get isDry (): boolean { return this.#readyBytes === 0 }

  push (chunk: Buffer): void {
    if (this.#end !== null || chunk.length === 0) return
    this.#source.heard()
    const bytes = this.#isEvents ? this.#whole(chunk) : chunk
    const found = this.#isEvents ? findError(bytes) : null
    this.#give(found === null ? bytes : bytes.subarray(0, found.start))
    if (found === null) return
    const error = this.#source.explain(found.error, this.#isCommitted)
    this.#close(error)
    if (this.#isCommitted) this.#source.cut(error)
    else this.#source.refuse(error)
  }

  /** The response has ended well. */
  end (): void {
    if (this.#end !== null) return
    this.#give(this.#held)
    if (this.#isCommitted) this.#close(null)
    else this.fail(new GatewayError('backend_invalid_answer', `${this.#source.name} ended its answer without content.`))
  }

  /** The response has broken off: what came before is still read. */
  fail (error: GatewayError): void {
    if (this.#end !== null) return
    this.#close(error)
    if (!this.#isCommitted) this.#source.refuse(error)
  }

  /** The attempt is over, and what came before is not wanted any more. */
  abort (error: GatewayError): void {
    this.#ready = []
    this.#readyBytes = 0
    this.fail(error)
  }

  [Symbol.asyncIterator] (): this { return this }

  async next (): Promise<IteratorResult<Buffer, undefined>> {
    if (this.#ready.length > 0) return { done: false, value: this.#take() }
    if (this.#end === null) return new Promise((resolve, reject) => { this.#waiting = { resolve, reject } })
    const { error } = this.#end
    this.#end = { error: null }
    if (error !== null) throw error
    return { done: true, value: undefined }
  }

  async return (): Promise<IteratorResult<Buffer, undefined>> {
    const wasOpen = this.#end === null
    this.#ready = []
    this.#close(null)
    if (wasOpen) this.#source.cut(new GatewayError('client_closed', 'The reader left before the answer was complete.'))
    return { done: true, value: undefined }
  }

  /** Events up to the last that is whole. */
  #whole (chunk: Buffer): Buffer {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    const end = endOfEvents(bytes)
    const whole = end === 0 && bytes.length > MAX_HELD_BYTES ? bytes.length : end
    this.#held = bytes.subarray(whole)
    return bytes.subarray(0, whole)
  }

  #give (bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#ready.push(bytes)
    this.#readyBytes += bytes.length
    if (!this.#isCommitted) {
      this.#isCommitted = true
      this.#source.commit()
    }
    if (this.#waiting !== null) this.#settle()?.resolve({ done: false, value: this.#take() })
    else if (this.#readyBytes > HIGH_WATER_BYTES && !this.#isPaused) {
      this.#isPaused = true
      this.#source.pause()
    }
  }

  #take (): Buffer {
    const bytes = this.#ready.length === 1 ? this.#ready[0]! : Buffer.concat(this.#ready)
    this.#ready = []
    this.#readyBytes = 0
    if (this.#isPaused) {
      this.#isPaused = false
      this.#source.heard()
      this.#source.resume()
    }
    return bytes
  }

  #close (error: GatewayError | null): void {
    this.#end = { error }
    const waiting = this.#settle()
    if (waiting === null) return
    this.#end = { error: null }
    if (error === null) waiting.resolve({ done: true, value: undefined })
    else waiting.reject(error)
  }

  #settle () {
    const waiting = this.#waiting
    this.#waiting = null
    return waiting
  }
}

/** Behind the last blank line; 0 where there is none. */
function endOfEvents (bytes: Buffer): number {
  const [lf, crlf] = [bytes.lastIndexOf('\n\n'), bytes.lastIndexOf('\r\n\r\n')]
  return Math.max(lf === -1 ? 0 : lf + 2, crlf === -1 ? 0 : crlf + 4)
}
