import { Bag, type Bagged } from '../bag.ts'
import type { GatewayError } from '../errors.ts'

/** Something that holds a connection, or waits for one. */
export interface Running extends Bagged {
  abort (reason: GatewayError): void
}

/** The attempts of one backend that are not over. */
export class Attempts {
  readonly #running = new Bag<Running>()
  readonly #waiting: Array<() => void> = []

  get size (): number { return this.#running.size }

  add (attempt: Running): void { this.#running.add(attempt) }

  /** A second time does nothing. */
  delete (attempt: Running): void {
    if (!this.#running.delete(attempt) || this.#running.size > 0) return
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** Waits until none is left; when the signal aborts, the rest is cut off with `reason`. */
  async drain (reason: GatewayError, signal?: AbortSignal): Promise<void> {
    if (this.#running.size === 0) return
    const cutOff = () => { for (const attempt of this.#running.items) attempt.abort(reason) }
    const empty = new Promise<void>(resolve => { this.#waiting.push(resolve) })
    if (signal?.aborted === true) cutOff()
    signal?.addEventListener('abort', cutOff, { once: true })
    await empty
    signal?.removeEventListener('abort', cutOff)
  }
}
