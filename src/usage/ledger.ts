import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import { GatewayError } from '../errors.ts'
import type { UsageRow, UsageStore } from '../store/store.ts'
import type { CallRecord, Recorder } from './record.ts'
import { isUsageRow, toUsageRow } from './rows.ts'
import { Spool } from './spool.ts'

export interface LedgerOptions {
  /** File on this host for rows that do not fit in memory while the store is away; it names a family of files (see Spool). */
  readonly spool: string
  /** Told of every failure, spooling and loss. Must not throw. */
  readonly onError: (error: GatewayError) => void
  /** Longest time a row waits in memory while the store is well. */
  readonly flushMs?: number
  /** Rows of one append; as many waiting rows start one at once. SQLite holds the event loop for about 2 ms per 100. */
  readonly maxRows?: number
  /** Rows in memory. */
  readonly maxBacklog?: number
  readonly maxSpoolBytes?: number
  /** How long `close` waits for the store before it spools the rest. */
  readonly closeMs?: number
}

export interface Ledger {
  readonly record: Recorder
  /** Resolves when all that was recorded before is in the store, or the store has failed (and `onError` was told). */
  flush (): Promise<void>
  /** Writes what waits to the store, or to the spool when the store does not take it in time. */
  close (): Promise<void>
}

/**
 * Writes one usage row per call of a tenant, in batches and in order. While the store fails, rows wait in memory and
 * are tried again with growing pauses; when memory is full the oldest go to the spool, which is added to the store
 * once it is back and when the next process starts. Call ids make every row count once, however often it is written.
 * A killed process loses what waits in memory: one second of calls while the store is well.
 */
export function createLedger (usage: UsageStore, options: LedgerOptions): Ledger {
  const writer = new LedgerWriter(usage, options)
  return { record: record => writer.record(record), flush: () => writer.flush(), close: () => writer.close() }
}

/** Rows of one spool file: a few milliseconds of writing. */
const PIECE_ROWS = 2000
const LONGEST_PAUSE_MS = 30_000

class LedgerWriter {
  readonly #usage: UsageStore
  readonly #spool: Spool
  readonly #onError: (error: GatewayError) => void
  readonly #flushMs: number
  readonly #maxRows: number
  readonly #maxBacklog: number
  readonly #closeMs: number
  #waiting: UsageRow[] = []
  /** Taken from `#waiting` by the append that runs. */
  #sending: readonly UsageRow[] = []
  #writing: Promise<void> | null = null
  #timer: NodeJS.Timeout | null = null
  /** Appends that failed in a row. */
  #failures = 0
  /** There may be something in the spool, of an earlier process at first. */
  #isSpooled = true
  #replayFailures = 0
  #replayAt = 0
  #closing: Promise<void> | null = null

  constructor (usage: UsageStore, options: LedgerOptions) {
    const { spool, onError, flushMs = 1000, maxRows = 400, maxBacklog = 100_000, maxSpoolBytes = 1_073_741_824, closeMs = 5000 } = options
    this.#usage = usage
    this.#spool = new Spool(spool, maxSpoolBytes)
    this.#onError = onError
    this.#flushMs = flushMs
    this.#maxRows = Math.min(maxRows, maxBacklog)
    this.#maxBacklog = maxBacklog
    this.#closeMs = closeMs
    this.#arm(flushMs)
  }

  record (record: CallRecord): void {
    const row = toUsageRow(record)
    if (row === null) return
    if (!isUsageRow(row)) return this.#tell(`The call ${row.callId} gives no usage row: a value has the wrong type.`)
    this.#waiting.push(row)
    if (this.#closing !== null) return this.#spoolOldest('The ledger is closed')
    if (this.#waiting.length + this.#sending.length > this.#maxBacklog) this.#spoolOldest(`More than ${this.#maxBacklog} usage rows wait for the store`)
    if (this.#waiting.length >= this.#maxRows && this.#failures === 0) void this.#write()
    else this.#arm(this.#flushMs)
  }

  async flush (): Promise<void> {
    await this.#writing
    await this.#write()
  }

  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close (): Promise<void> {
    const written = new AbortController()
    const late = pause(this.#closeMs, undefined, { signal: written.signal }).catch(() => { /* the store was in time */ })
    await Promise.race([this.flush(), late])
    written.abort()
    this.#disarm()
    // The append that runs may still succeed; that its rows are spooled too does no harm.
    this.#waiting = [...this.#sending, ...this.#waiting]
    while (this.#waiting.length > 0) this.#spoolOldest('The ledger closes and the store is away')
  }

  /** Never rejects. At most one runs at a time. */
  #write (): Promise<void> {
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = null
      this.#armAgain()
    })
    return this.#writing
  }

  async #writeAll (): Promise<void> {
    this.#disarm()
    // Not in the caller's stack, and with room for calls between two batches: the store may be synchronous.
    await nextTurn()
    // What comes in meanwhile waits until it makes a whole batch; else a busy gateway would write one row a turn.
    let due = this.#waiting.length
    while (this.#waiting.length > 0 && (due > 0 || this.#waiting.length >= this.#maxRows)) {
      if (!await this.#writeBatch()) return
      due -= this.#maxRows
      await nextTurn()
    }
    while (this.#waiting.length < this.#maxRows && await this.#replayPiece()) await nextTurn()
  }

  /** @returns false when the store failed */
  async #writeBatch (): Promise<boolean> {
    this.#sending = this.#waiting.splice(0, this.#maxRows)
    try {
      await this.#usage.append(this.#sending)
      this.#failures = 0
      return true
    } catch (error) {
      this.#failures++
      this.#waiting = [...this.#sending, ...this.#waiting]
      this.#tell(`${this.#waiting.length} usage rows wait: the store failed ${this.#failures} times in a row.`, error)
      return false
    } finally {
      this.#sending = []
    }
  }

  /** @returns false when nothing is left to replay for now */
  async #replayPiece (): Promise<boolean> {
    if (!this.#isSpooled || Date.now() < this.#replayAt || this.#closing !== null) return false
    try {
      const [piece] = this.#spool.pieces()
      this.#isSpooled = piece !== undefined
      if (piece === undefined) return false
      await this.#replay(piece)
      this.#replayFailures = 0
      return true
    } catch (error) {
      this.#replayAt = Date.now() + this.#pauseMs(++this.#replayFailures)
      this.#tell(`Spooled usage rows (${this.#spool.path}) could not be added to the store.`, error)
      return false
    }
  }

  async #replay (piece: string): Promise<void> {
    const found = this.#spool.read(piece)
    if (found === null) return
    for (let start = 0; start < found.rows.length; start += this.#maxRows) {
      await this.#usage.append(found.rows.slice(start, start + this.#maxRows))
    }
    if (found.bad === 0) return this.#spool.remove(piece)
    this.#tell(`${found.bad} lines of ${this.#spool.putAside(piece)} are no usage rows; the other ${found.rows.length} were added.`)
  }

  #spoolOldest (why: string): void {
    const rows = this.#waiting.splice(0, PIECE_ROWS)
    try {
      this.#spool.write(rows)
      this.#isSpooled = true
      this.#tell(`${why}: ${rows.length} went to ${this.#spool.path}.`)
    } catch (error) {
      this.#tell(`${why}: ${rows.length} were lost, because ${this.#spool.path} cannot be written.`, error)
    }
  }

  #armAgain (): void {
    if (this.#failures > 0) this.#arm(this.#pauseMs(this.#failures))
    else if (this.#waiting.length > 0) this.#arm(this.#flushMs)
    else if (this.#isSpooled) this.#arm(Math.max(this.#flushMs, this.#replayAt - Date.now()))
  }

  #arm (ms: number): void {
    if (this.#timer !== null || this.#writing !== null || this.#closing !== null) return
    this.#timer = setTimeout(() => void this.#write(), ms).unref()
  }

  #disarm (): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  /** Doubles with each failure; with jitter, so that replicas do not come back together. */
  #pauseMs (failures: number): number {
    return Math.min(LONGEST_PAUSE_MS, this.#flushMs * 2 ** Math.min(failures, 16)) * (0.5 + Math.random() / 2)
  }

  #tell (message: string, cause?: unknown): void {
    this.#onError(new GatewayError('internal_error', message, cause === undefined ? {} : { cause }))
  }
}
