/** Signs of life for the callers of streams that wait: in a queue, for a load, for the prompt, or in the middle of an answer. */
import { Bag, type Bagged } from '../bag.ts'
import type { CallerOutlet } from './dialect.ts'
import type { HttpOutlet } from './outlet.ts'

/** Looks per interval: a sign comes a fifth of it late at most. */
const LOOKS = 5

/** One open stream. */
interface Watched extends Bagged {
  /** Looks since anything was written. */
  quiet: number
  /** Bytes written on its connection at the last look. */
  bytes: number
  readonly inner: HttpOutlet
  readonly outlet: CallerOutlet
}

export type { Watched }

/**
 * Looks at all open streams with one timer, which runs while there are any. What was written is read off the sockets, so
 * that no frame pays for it, and a call that is answered soon pays for its place in a list.
 */
export class Heartbeats {
  readonly #lookMs: number
  readonly #watched = new Bag<Watched>()
  #timer: NodeJS.Timeout | null = null

  /** @param everyMs silence after which a sign is sent; 0 for none */
  constructor (everyMs: number) { this.#lookMs = everyMs / LOOKS }

  /** @returns what `leave` is told when the stream is over; null when no signs are sent */
  watch (inner: HttpOutlet, outlet: CallerOutlet): Watched | null {
    if (this.#lookMs === 0) return null
    const watched: Watched = { place: -1, quiet: 0, bytes: -1, inner, outlet }
    this.#watched.add(watched)
    this.#timer ??= setInterval(() => { this.#look() }, this.#lookMs).unref()
    return watched
  }

  /** A second time does nothing. */
  leave (watched: Watched): void { this.#watched.delete(watched) }

  #look (): void {
    this.#watched.each(watched => { this.#beat(watched) })
    if (this.#watched.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  #beat (watched: Watched): void {
    const { inner, outlet } = watched
    const bytes = inner.bytesWritten
    if (bytes === null) return
    if (bytes !== watched.bytes) watched.quiet = 0
    else if (++watched.quiet >= LOOKS) this.#sign(watched, outlet)
    watched.bytes = inner.bytesWritten ?? -1
  }

  #sign (watched: Watched, outlet: CallerOutlet): void {
    watched.quiet = 0
    try {
      outlet.beat()
    } catch {
      // A head that cannot be written: the answer meets the same, and has somebody to tell.
      this.leave(watched)
    }
  }
}
