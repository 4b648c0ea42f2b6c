/** One call served by local workers: by one, and by a second where the first one ends under it. */
import { GatewayError, toGatewayError } from '../../errors.ts'
import type { Answer } from '../../wire/answer.ts'
import { attempt, whatHappened, type Question } from './attempt.ts'
import type { Call } from './call.ts'
import { Said } from './said.ts'
import type { Slot } from './worker.ts'

/** A call under which so many workers ended is believed to be what ends them. */
const MOST_LOST = 2
/** From the end of a worker in the middle of a stream until another one, or the same one started anew, goes on with it. */
const LONGEST_PAUSE_MS = 60_000

export interface Wish {
  readonly slots: number
  readonly signal: AbortSignal
  /** The call has had a slot before and lost it with its worker. */
  readonly isRetry: boolean
}

/**
 * A worker that ends before the first content costs the caller nothing but time: another one is asked. One that ends
 * later costs a pause, where the rest can be said as it would have been; otherwise the answer breaks off.
 * @param take the slots for a try; `call` holds them from then on
 * @throws GatewayError before the first content; later the frames throw it
 */
export function serve (call: Call, question: Question, take: (wish: Wish) => Promise<Slot>): Promise<Answer> {
  return new Tries(call, question, take).begin()
}

class Tries {
  readonly #call: Call
  readonly #question: Question
  readonly #take: (wish: Wish) => Promise<Slot>
  readonly #said: Said
  /** Workers that ended under the call. */
  #lost: number

  constructor (call: Call, question: Question, take: (wish: Wish) => Promise<Slot>) {
    this.#call = call
    this.#question = question
    this.#take = take
    this.#said = new Said(question.choices)
    this.#lost = question.workersLost
  }

  async begin (): Promise<Answer> {
    if (this.#lost >= MOST_LOST) throw new GatewayError('worker_crashed', `${this.#question.pool}: ${this.#lost} local workers ended while they had the call; it is not tried on a further one.`)
    for (let isRetry = false; ; isRetry = true) {
      const slot = await this.#take({ slots: this.#question.choices, signal: this.#call.signal, isRetry })
      try {
        const answer = await this.#try(slot, this.#question)
        return answer.kind === 'stream' ? { kind: 'stream', frames: this.#frames(answer.frames, slot) } : answer
      } catch (error) {
        this.#call.free()
        if (!this.#mayTryAgain(error)) throw this.#final(error)
      }
    }
  }

  async #try (slot: Slot, question: Question): Promise<Answer> {
    this.#call.hold(slot, question.timeouts.totalMs)
    return attempt(slot, this.#call, question)
  }

  #mayTryAgain (error: unknown): boolean {
    if (!isCrash(error)) return false
    this.#lost++
    if (this.#lost >= MOST_LOST) return false
    this.#question.lost?.(error)
    return true
  }

  #final (error: unknown): unknown {
    if (!isCrash(error) || this.#lost < MOST_LOST) return error
    return new GatewayError('worker_crashed', `${error.message} It is the second worker that ended with the call, which is not tried on a further one.`, { cause: error })
  }

  /**
   * Ends the call with its frames. Not a generator: leaving a generator before its first frame would skip its `finally`,
   * and leaving it between two would wait for the second.
   */
  #frames (first: AsyncIterable<Buffer>, firstSlot: Slot): AsyncIterable<Buffer> {
    const open = (): AsyncIterator<Buffer> => {
      let slot = firstSlot
      let inner = first[Symbol.asyncIterator]()
      return {
        next: async () => {
          for (;;) {
            try {
              const frame = await inner.next()
              if (frame.done === true) this.#call.end()
              const sure = frame.done === true ? this.#said.rest() : this.#said.read(frame.value)
              if (sure !== null) return { done: false, value: sure }
              if (frame.done === true) return frame
            } catch (error) {
              slot = await this.#lose(error, slot)
              inner = await this.#goOn(slot)
            }
          }
        },
        return: async () => {
          this.#call.abort(new GatewayError('client_closed', 'The reader left before the answer was complete.'))
          await inner.return?.()
          return { done: true, value: undefined }
        }
      }
    }
    return { [Symbol.asyncIterator]: open }
  }

  /** @returns the slot to go on with. @throws GatewayError where nobody can; the call has ended then */
  async #lose (error: unknown, slot: Slot): Promise<Slot> {
    const call = this.#call
    const failure = await whatHappened(error, slot, call, this.#question.pool)
    call.free()
    try {
      if (!this.#said.canGoOn || !this.#mayTryAgain(failure)) throw this.#final(failure)
      const signal = AbortSignal.any([call.signal, AbortSignal.timeout(LONGEST_PAUSE_MS)])
      return await this.#take({ slots: this.#said.openChoices, signal, isRetry: true })
    } catch (thrown) {
      call.end()
      if (call.signal.aborted) throw toGatewayError(call.signal.reason)
      throw isCrash(thrown) ? thrown : failure
    }
  }

  async #goOn (slot: Slot): Promise<AsyncIterator<Buffer>> {
    const question = { ...this.#question, body: this.#said.continuation(this.#question.body), choices: this.#said.openChoices, isContinuation: true }
    try {
      const answer = await this.#try(slot, question)
      if (answer.kind !== 'stream') throw new GatewayError('internal_error', 'A stream went on as a whole answer.')
      return answer.frames[Symbol.asyncIterator]()
    } catch (error) {
      this.#call.end()
      if (isCrash(error)) this.#lost++
      throw this.#final(error)
    }
  }
}

function isCrash (error: unknown): error is GatewayError {
  return error instanceof GatewayError && error.code === 'worker_crashed'
}
