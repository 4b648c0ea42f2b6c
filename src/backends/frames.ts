import { GatewayError, toGatewayError } from '../errors.ts'
import { chunkHasContent, doneEnd, findError, hasPlainText, noteFinished, type WireError } from '../wire/observe.ts'
import { DONE_EVENT, events, type Cutter } from '../wire/sse.ts'

/** Unread bytes at which the backend is told to wait. */
const HIGH_WATER_BYTES = 262_144
/** What a backend may send before its first content: roles, ids, comments. */
const MAX_PREFACE_BYTES = 4_194_304

/** What the frames of one attempt need of its connection. */
export interface FrameSource {
  /** Name of the backend, for messages. */
  readonly name: string
  /** How many choices were asked for; each of them has to end. */
  readonly choices: number
  pause (): void
  resume (): void
  /** The first content is there. */
  commit (): void
  /** There will be no answer: nothing was committed yet. */
  refuse (error: GatewayError): void
  /** `[DONE]` has come; the connection may end its response in peace. */
  complete (): void
  /** Nobody wants the rest; closes the connection. */
  cut (error: GatewayError): void
  /** Bytes were taken, so the backend is alive. */
  heard (): void
  explain (error: WireError, isCommitted: boolean): GatewayError
}

/**
 * The frames of one streamed answer: bytes are pushed in as they arrive, and cut, looked at and handed on once per turn
 * of the event loop, so that a backend which writes event by event costs little more than one that does not.
 * A hand-written iterator: a generator's `return()` would wait behind a pending `next()`.
 */
export class Frames implements AsyncIterableIterator<Buffer, undefined> {
  readonly #source: FrameSource
  readonly #cutter: Cutter
  readonly #finished = new Set<number>()
  #raw: Buffer[] = []
  #rawBytes = 0
  #isPaused = false
  /** Frames before and with the first content, until the reader takes them. */
  #preface: Buffer[] = []
  #prefaceBytes = 0
  #isCommitted = false
  #hasEnded = false
  #failure: GatewayError | null = null
  /** Why the answer ends before its end, once what stood before is taken; nothing after it is read. */
  #broken: (() => GatewayError) | null = null
  #isOver = false
  #isScheduled = false
  #waiting: { resolve: (result: IteratorResult<Buffer, undefined>) => void, reject: (error: unknown) => void } | null = null

  /** @param cutter gives canonical events, whatever the bytes are */
  constructor (source: FrameSource, cutter: Cutter) {
    this.#source = source
    this.#cutter = cutter
  }

  /** True while everything that came has been taken: then silence is the backend's. */
  get isDry (): boolean { return this.#raw.length === 0 }

  push (chunk: Buffer): void {
    if (this.#isOver || this.#broken !== null) return
    this.#raw.push(chunk)
    this.#rawBytes += chunk.length
    if (this.#rawBytes > HIGH_WATER_BYTES && !this.#isPaused) {
      this.#isPaused = true
      this.#source.pause()
    }
    this.#schedule()
  }

  /** The response has ended well. */
  end (): void {
    this.#hasEnded = true
    this.#schedule()
  }

  /** The response has broken off: what came before is still read. */
  fail (error: GatewayError): void {
    this.#failure ??= error
    this.#schedule()
  }

  /** The attempt is over, and what came before is not wanted any more. */
  abort (error: GatewayError): void {
    if (this.#isOver) return
    this.#raw = []
    this.#rawBytes = 0
    this.#hasEnded = false
    this.#failure = error
    this.#schedule()
  }

  [Symbol.asyncIterator] (): this { return this }

  async next (): Promise<IteratorResult<Buffer, undefined>> {
    if (this.#preface.length > 0) return { done: false, value: joined(this.#preface.splice(0)) }
    const frame = this.#read()
    if (frame !== null) return { done: false, value: frame }
    if (this.#isOver) return { done: true, value: undefined }
    if (this.#waiting !== null) throw new TypeError('The frames have one reader, which asks for one frame at a time.')
    return new Promise((resolve, reject) => { this.#waiting = { resolve, reject } })
  }

  async return (): Promise<IteratorResult<Buffer, undefined>> {
    this.#stop()
    this.#source.cut(new GatewayError('client_closed', 'The reader left before the answer was complete.'))
    this.#waiting?.resolve({ done: true, value: undefined })
    this.#waiting = null
    return { done: true, value: undefined }
  }

  /** One look per turn, however many pieces arrive in it, and none while the reader is busy elsewhere. */
  #schedule (): void {
    if (this.#isScheduled || (this.#isCommitted && this.#waiting === null)) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      if (this.#isCommitted) this.#serve()
      else this.#probe()
    })
  }

  #serve (): void {
    const waiting = this.#waiting
    if (waiting === null) return
    try {
      const frame = this.#read()
      if (frame === null && !this.#isOver) return
      this.#waiting = null
      waiting.resolve(frame === null ? { done: true, value: undefined } : { done: false, value: frame })
    } catch (error) {
      this.#waiting = null
      waiting.reject(error)
    }
  }

  #probe (): void {
    try {
      for (let frame = this.#read(); frame !== null; frame = this.#read()) {
        this.#preface.push(frame)
        this.#prefaceBytes += frame.length
        if (this.#prefaceBytes > MAX_PREFACE_BYTES) throw this.#invalid(`sent ${MAX_PREFACE_BYTES} bytes without content`)
        if (!this.#beginsIn(frame)) continue
        this.#isCommitted = true
        this.#source.commit()
        return
      }
      if (this.#isOver) throw this.#invalid('ended its answer without content')
    } catch (error) {
      this.#stop()
      this.#source.refuse(toGatewayError(error))
    }
  }

  #beginsIn (frame: Buffer): boolean {
    if (hasPlainText(frame)) return true
    for (const data of events(frame)) {
      if (data === '[DONE]') return false
      let chunk: unknown
      try {
        chunk = JSON.parse(data)
      } catch {
        throw this.#invalid('sent an event that is not JSON')
      }
      if (chunkHasContent(chunk)) return true
    }
    return false
  }

  /**
   * @returns the next frame, or null when nothing whole is there, or when all is over
   * @throws GatewayError once, when the answer has broken off; all is over then
   */
  #read (): Buffer | null {
    if (this.#isOver) return null
    try {
      return this.#cutRaw() ?? this.#readEnd()
    } catch (error) {
      this.#stop()
      this.#source.cut(toGatewayError(error))
      throw error
    }
  }

  #cutRaw (): Buffer | null {
    if (this.#raw.length === 0) return null
    const chunk = joined(this.#raw)
    this.#raw = []
    this.#rawBytes = 0
    this.#source.heard()
    const frame = this.#cutter.push(chunk)
    if (this.#isPaused) {
      this.#isPaused = false
      this.#source.resume()
    }
    return frame === null ? null : this.#inspect(frame)
  }

  #readEnd (): Buffer | null {
    if (this.#raw.length > 0) return null
    if (this.#broken !== null) throw this.#broken()
    if (this.#failure !== null) throw this.#failure
    if (!this.#hasEnded) return null
    const last = this.#cutter.end()
    if (last !== null && last.length > 0) return this.#inspect(last)
    if (!this.#isWhole) throw this.#cutShort()
    this.#finish()
    return DONE_EVENT
  }

  /** Up to an error event or `[DONE]` a frame is good; what follows is never read. */
  #inspect (received: Buffer): Buffer | null {
    const end = this.#cutter.hasDone ? doneEnd(received) : -1
    const frame = end === -1 ? received : received.subarray(0, end)
    noteFinished(frame, this.#finished)
    const found = findError(frame)
    if (found !== null) return this.#breakOff(frame.subarray(0, found.start), () => this.#source.explain(found.error, this.#isCommitted))
    if (end === -1) return frame
    if (!this.#isWhole) return this.#breakOff(frame.subarray(0, end - DONE_EVENT.length), () => this.#cutShort())
    this.#finish()
    return frame
  }

  get #isWhole (): boolean { return this.#finished.size >= this.#source.choices }

  #cutShort (): GatewayError {
    if (!this.#isCommitted && this.#cutter.hasDone) return this.#invalid('ended its answer without content')
    return new GatewayError('backend_interrupted', `${this.#source.name} ended its stream in the middle of the answer.`)
  }

  /** @returns what is still good, if anything is */
  #breakOff (before: Buffer, why: () => GatewayError): Buffer | null {
    this.#broken = why
    this.#raw = []
    return before.length > 0 ? before : this.#readEnd()
  }

  #finish (): void {
    this.#stop()
    this.#source.complete()
  }

  #stop (): void {
    this.#isOver = true
    this.#raw = []
    this.#rawBytes = 0
  }

  #invalid (what: string): GatewayError {
    return new GatewayError('backend_invalid_answer', `${this.#source.name} ${what}.`)
  }
}

function joined (pieces: Buffer[]): Buffer {
  const [first] = pieces
  return pieces.length === 1 && first !== undefined ? first : Buffer.concat(pieces)
}
