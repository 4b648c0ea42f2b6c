import { setTimeout as wait } from 'node:timers/promises'
import { Interrupted } from './web.ts'

export interface RetryOptions {
  readonly signal: AbortSignal
  /** Bytes that have arrived so far: tries are counted anew whenever there are more. */
  readonly progress?: () => number
  readonly onPause?: ((why: string, pauseMs: number) => void) | undefined
  /** First pause; doubles with each try that brought nothing. */
  readonly pauseMs?: number | undefined
}

/** Tries that bring nothing, in a row. */
const MAX_FRUITLESS = 5
const MAX_TRIES = 1000
const LONGEST_PAUSE_MS = 30_000
/** A server that wants a longer rest is left alone: the operator comes back later. */
const LONGEST_REST_MS = 120_000

/**
 * Tries again after an Interrupted, with growing pauses.
 * @throws the last Interrupted, saying how often; whatever else `work` throws, at once; `signal.reason`
 */
export async function persistently<T> (work: () => Promise<T>, { signal, progress = () => 0, onPause, pauseMs = 1000 }: RetryOptions): Promise<T> {
  let fruitless = 0
  for (let tries = 1; ; tries++) {
    const before = progress()
    try {
      return await work()
    } catch (thrown) {
      signal.throwIfAborted()
      if (!(thrown instanceof Interrupted)) throw thrown
      fruitless = progress() > before ? 0 : fruitless + 1
      const pause = pauseAfter(thrown, fruitless, pauseMs)
      if (fruitless >= MAX_FRUITLESS || tries >= MAX_TRIES || pause > LONGEST_REST_MS) throw givenUp(thrown, tries)
      onPause?.(thrown.message, pause)
      await rest(pause, signal)
    }
  }
}

function pauseAfter ({ retryAfterMs }: Interrupted, fruitless: number, pauseMs: number): number {
  if (retryAfterMs !== null) return retryAfterMs
  return Math.min(LONGEST_PAUSE_MS, pauseMs * 2 ** Math.max(0, fruitless - 1))
}

function givenUp (last: Interrupted, tries: number): Error {
  const later = last.retryAfterMs === null ? '' : ` It asks to come back in ${Math.ceil(last.retryAfterMs / 1000)} s.`
  return new Error(`${last.message} Tried ${tries} ${tries === 1 ? 'time' : 'times'}.${later}`, { cause: last })
}

async function rest (pauseMs: number, signal: AbortSignal): Promise<void> {
  try {
    await wait(pauseMs, undefined, { signal })
  } catch {
    throw signal.reason
  }
}
