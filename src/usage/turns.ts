import type { CallRecord, Recorder } from './record.ts'

export interface Turns {
  readonly record: Recorder
  /** Hands over what is left. Records that come later are handed over at once. */
  close (): void
}

/**
 * Hands the records of one turn of the event loop to all readers together, when the answers have left: a caller does not
 * wait for them, and each reader does all its work in one go.
 */
export function createTurns (readers: readonly Recorder[]): Turns {
  let waiting: CallRecord[] = []
  let isClosed = false
  const handOver = (): void => {
    const records = waiting
    waiting = []
    for (const read of readers) for (const record of records) read(record)
  }
  return {
    record (record) {
      if (waiting.push(record) === 1 && !isClosed) setImmediate(handOver)
      if (isClosed) handOver()
    },
    close () {
      isClosed = true
      handOver()
    }
  }
}
