import type { GatewayError } from '../errors.ts'

/** Something that holds a connection, or waits for one. */
export interface Running {
  /** Where it stands among the attempts; -1 when it is over. Theirs to write. */
  place: number
  abort (reason: GatewayError): void
}

/**
 * The attempts of one backend that are not over. No Set: each time one grows or shrinks, its old table keeps what it held
 * from the garbage collector until the next major collection, and that is whole calls.
 */
export class Attempts {
  readonly #running: Running[] = []
  readonly #waiting: Array<() => void> = []

  get size (): number { return this.#running.length }

  add (attempt: Running): void {
    attempt.place = this.#running.push(attempt) - 1
  }

  /** A second time does nothing. */
  delete (attempt: Running): void {
    if (attempt.place === -1) return
    const last = this.#running.pop()!
    if (last !== attempt) {
      this.#running[attempt.place] = last
      last.place = attempt.place
    }
    attempt.place = -1
    if (this.#running.length > 0) return
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** Waits until none is left; when the signal aborts, the rest is cut off with `reason`. */
  async drain (reason: GatewayError, signal?: AbortSignal): Promise<void> {
    if (this.#running.length === 0) return
    const cutOff = () => { for (const attempt of this.#running.slice()) attempt.abort(reason) }
    const empty = new Promise<void>(resolve => { this.#waiting.push(resolve) })
    if (signal?.aborted === true) cutOff()
    signal?.addEventListener('abort', cutOff, { once: true })
    await empty
    signal?.removeEventListener('abort', cutOff)
  }
}
