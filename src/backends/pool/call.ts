import { GatewayError } from '../../errors.ts'
import type { Slot } from './worker.ts'

/**
 * One call inside the pool, from its first moment to the end of its answer. Holds one slot at most, and lets go of it in
 * the same tick in which the call ends, however it ends: answered, failed, left alone, cancelled, or out of time.
 */
export class Call {
  readonly #life = new AbortController()
  readonly #outer: AbortSignal
  readonly #ended: () => void
  readonly #leave = () => { this.abort(cancelled(this.#outer)) }
  #slot: Slot | null = null
  #timer: NodeJS.Timeout | null = null
  #endsAt = Infinity
  #isOver = false

  /**
   * @param outer the caller's signal, not aborted yet
   * @param ended called once
   */
  constructor (outer: AbortSignal, ended: () => void) {
    this.#outer = outer
    this.#ended = ended
    outer.addEventListener('abort', this.#leave, { once: true })
  }

  /** Aborts with a GatewayError when the call ends before its answer is complete. */
  get signal (): AbortSignal { return this.#life.signal }

  /** Until the call's time is over; the clock starts with the first slot. */
  get leftMs (): number { return Math.max(1, Math.ceil(this.#endsAt - performance.now())) }

  /** @throws GatewayError when the call ended while the slot was on its way; the slot is back then */
  hold (slot: Slot, totalMs: number): void {
    if (this.#isOver) {
      slot.release()
      throw this.#life.signal.reason
    }
    this.#slot = slot
    this.#timer ??= this.#startClock(totalMs)
  }

  /** Gives the slot back, to try another. */
  free (): void {
    const slot = this.#slot
    this.#slot = null
    slot?.release()
  }

  abort (reason: GatewayError): void {
    if (this.#isOver) return
    this.#life.abort(reason)
    this.end()
  }

  end (): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#outer.removeEventListener('abort', this.#leave)
    this.free()
    this.#ended()
  }

  #startClock (totalMs: number): NodeJS.Timeout {
    this.#endsAt = performance.now() + totalMs
    return setTimeout(() => {
      this.abort(new GatewayError('backend_timeout', `The local worker did not finish its answer within ${totalMs} ms.`))
    }, totalMs)
  }
}

/** What a caller's aborted signal means as an error. */
export function cancelled (signal: AbortSignal): GatewayError {
  if (signal.reason instanceof GatewayError) return signal.reason
  return new GatewayError('client_closed', 'The caller left before the answer was complete.', { cause: signal.reason })
}
