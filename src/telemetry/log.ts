/** The log: one JSON object per line. The only file that imports pino. */
import { pino, type DestinationStream, type Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { GatewayError, type Outcome } from '../errors.ts'
import type { CallRecord, Recorder } from '../usage/record.ts'

export interface LogOptions {
  readonly level: Config['log']['level']
  /** File path, or a file descriptor that is closed with the log; standard output if left out. A stream is written to as it is. */
  readonly destination?: string | number | DestinationStream
  /** Bytes that may wait for a slow reader; lines beyond are dropped, and counted in a line of their own. */
  readonly maxWaitingBytes?: number
}

export interface Log {
  /** Takes the fields in FIELDS and leaves out all others. It has no child(): bindings would get past that. */
  readonly logger: Pick<Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'>
  /** One line per call. */
  readonly access: Recorder
  /** Writes what is still waiting. Lines logged after it are dropped. */
  close (): Promise<void>
}

const MAX_WAITING_BYTES = 8 * 1024 * 1024
const MAX_STRING = 256
const MAX_ITEMS = 32

/** What a line can hold. A new field is written down here first, so that a prompt cannot slip in with an object. */
const FIELDS: ReadonlySet<string> = new Set([
  'id', 'tenant', 'key', 'model', 'target', 'class', 'outcome', 'status', 'error', 'attempts', 'tried',
  'input_tokens', 'output_tokens', 'first_token_ms', 'duration_ms',
  'err', 'code', 'reason', 'why', 'signal', 'url', 'adminUrl', 'host', 'port', 'version', 'revision',
  'backend', 'pool', 'worker', 'pid', 'state', 'up', 'slots', 'contextTokens', 'memoryBytes', 'loadMs', 'exit', 'crashes', 'next', 'line',
  'rows', 'dropped', 'fields_left_out'
])

export function createLog ({ level, destination, maxWaitingBytes = MAX_WAITING_BYTES }: LogOptions): Log {
  const file = typeof destination === 'object' ? null : new LogFile(destination ?? 1, maxWaitingBytes)
  const logger = pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: label => ({ level: label }), log: allowed },
    serializers: { err: described },
    hooks: { logMethod: withoutForeignMessage }
  }, file ?? destination as DestinationStream)
  file?.reportDrops(dropped => { logger.warn({ dropped }, 'log lines were dropped: the log is read too slowly') })
  return {
    logger,
    access: accessOn(logger, file ?? destination as DestinationStream),
    close: async () => {
      const closed = file?.close()
      logger.level = 'silent'
      await closed
    }
  }
}

/**
 * One line per call, made of names from the configuration and of numbers, field by field: the allow-list of the other
 * lines would find nothing to leave out, and cost as much again as the line.
 */
function accessOn (logger: Logger, stream: DestinationStream): Recorder {
  return record => {
    const level = LEVELS[record.outcome ?? 'internal_error']
    if (logger.isLevelEnabled(level)) stream.write(line(level, record))
  }
}

const REPORT_MS = 1000
/** Lines are written together: each write costs the event loop more than the line did. */
const BATCH_BYTES = 32_768
const FLUSH_MS = 250
/** Long enough for a slow disk, short enough for an operator who waits for the process to end. */
const CLOSE_MS = 5000

/**
 * Asynchronous: a log that is read slowly must not hold up an answer.
 * When it cannot be written at all, standard error says so once, and lines wait until they can or are dropped.
 */
class LogFile implements DestinationStream {
  readonly #stream: ReturnType<typeof pino.destination>
  /** Collected here: sonic-boom would measure all that waits anew for every line. */
  #lines: string[] = []
  #length = 0
  #timer: NodeJS.Timeout | null = null
  readonly #flush = (): void => { this.#handOver() }
  #dropped = 0
  #report: (dropped: number) => void = () => undefined
  #reportedAt = -Infinity
  #failed = false
  #isGone = false
  #closing: Promise<void> | null = null

  constructor (dest: string | number, maxLength: number) {
    // Before the stream's own listener, which writes what it holds.
    process.once('exit', this.#flush)
    this.#stream = pino.destination({ dest, sync: false, maxLength, maxWrite: 2 * BATCH_BYTES })
    this.#stream.on('drop', (data: string) => { this.#dropped += data.split('\n').length - 1 })
    this.#stream.on('error', (error: NodeJS.ErrnoException) => {
      if (!this.#failed) process.stderr.write(`torchgate: the log cannot be written: ${error.code ?? error.name}\n`)
      this.#failed = true
      // At exit it would be tried again for ever.
      this.#stream.flushSync = () => undefined
    })
  }

  write (text: string): void {
    this.#length += text.length
    if (this.#lines.push(text) === 1) this.#timer = setTimeout(this.#flush, FLUSH_MS).unref()
    if (this.#length >= BATCH_BYTES) this.#handOver()
  }

  #handOver (): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const lines = this.#lines.join('')
    this.#lines = []
    this.#length = 0
    if (lines !== '' && !this.#isGone) this.#stream.write(lines)
  }

  /** @param report writes a line; told at most once a second, when something could be written again, and at the end */
  reportDrops (report: (dropped: number) => void): void {
    this.#report = report
    this.#stream.on('write', () => { if (performance.now() - this.#reportedAt > REPORT_MS) this.#tellDrops() })
  }

  #tellDrops (): void {
    if (this.#dropped === 0) return
    this.#handOver()
    const dropped = this.#dropped
    this.#dropped = 0
    this.#reportedAt = performance.now()
    this.#report(dropped)
    this.#handOver()
    // There was no room for the report either: it is no lost line, the others still are.
    if (this.#dropped > 0) this.#dropped = dropped
  }

  close (): Promise<void> {
    return this.#closing ??= this.#end()
  }

  async #end (): Promise<void> {
    this.#handOver()
    this.#tellDrops()
    process.off('exit', this.#flush)
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    this.#stream.once('close', resolve)
    this.#stream.once('error', () => { resolve() })
    // Keeps the process: without it Node ends in the middle of closing when a broken stream was the last thing open.
    const timer = setTimeout(resolve, this.#failed ? 0 : CLOSE_MS)
    this.#stream.end()
    await closed
    clearTimeout(timer)
    this.#isGone = true
    this.#stream.destroy()
  }
}

const LEVELS: Readonly<Record<Outcome, 'info' | 'warn' | 'error'>> = {
  ok: 'info',
  client_error: 'info',
  policy_denied: 'info',
  rate_limited: 'info',
  cancelled: 'info',
  overloaded: 'warn',
  timeout: 'warn',
  upstream_error: 'warn',
  internal_error: 'error'
}

/** Written out, since JSON.stringify of such an object costs three times as much, for every call. */
function line (level: string, record: CallRecord): string {
  const { attempts, usage } = record
  const tried = attempts.slice(0, MAX_ITEMS).map(({ target, key, error }) => `"${escaped(key === undefined ? target : `${target}#${key}`)}:${error ?? 'ok'}"`)
  const client = record.clientId === undefined ? '' : `,"client_id":${JSON.stringify(record.clientId)}`
  return `{"level":"${level}","time":"${new Date().toISOString()}","id":"${record.id}"${client},"tenant":${quoted(record.tenant)}` +
    `,"key":${quoted(record.keyId)},"model":${quoted(record.model)},"target":${quoted(attempts.at(-1)?.target ?? null)}` +
    `,"class":${quoted(record.dataClass)},"outcome":${quoted(record.outcome)},"status":${record.status},"error":${quoted(record.errorCode)}` +
    `,"attempts":${attempts.length},"tried":[${tried.join()}],"input_tokens":${usage?.input ?? null},"output_tokens":${usage?.output ?? null}` +
    (record.audioSeconds === undefined ? '' : `,"audio_seconds":${record.audioSeconds}`) +
    `,"first_token_ms":${rounded(record.firstTokenMs)},"duration_ms":${rounded(record.durationMs)},"msg":"call"}\n`
}

function quoted (text: string | null): string {
  return text === null ? 'null' : `"${escaped(text)}"`
}

const MAX_ESCAPED = 1000
const escapedNames = new Map<string, string>()

/** As a JSON string without its quotes. The same few names stand in every line, so they are kept; not all, were there too many. */
function escaped (name: string): string {
  const known = escapedNames.get(name)
  if (known !== undefined) return known
  const text = JSON.stringify(clip(name)).slice(1, -1)
  if (escapedNames.size < MAX_ESCAPED) escapedNames.set(name, text)
  return text
}

function rounded (ms: number | null): number | null {
  return ms === null || !Number.isFinite(ms) ? null : Math.round(ms * 10) / 10
}

/** Keeps the fields of FIELDS with plain values; says how many others there were, not what they were called. */
function allowed (fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const kept: Record<string, unknown> = {}
  let leftOut = 0
  for (const [name, value] of Object.entries(fields)) {
    const plain = FIELDS.has(name) ? plainOf(value) : undefined
    if (plain !== undefined) kept[name] = plain
    else if (value !== undefined) leftOut++
  }
  if (leftOut > 0) kept['fields_left_out'] = leftOut
  return kept
}

function plainOf (value: unknown): unknown {
  if (typeof value === 'string') return clip(value)
  if (typeof value === 'number' || typeof value === 'boolean' || value === null || value instanceof Error) return value
  if (Array.isArray(value) && value.every(item => typeof item === 'string')) return value.slice(0, MAX_ITEMS).map(clip)
  return undefined
}

// JSON escapes what lies below U+0020; these would still move a terminal's cursor or turn its text around.
const TERMINAL = /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g

function clip (text: string): string {
  const short = text.length > MAX_STRING ? `${text.slice(0, MAX_STRING)}…` : text
  return short.replace(TERMINAL, '\ufffd')
}

/**
 * What an error may say. Our own messages never hold prompt text; those of others can: V8 quotes the text that is no
 * JSON, a backend the request it refuses. Of theirs only the kind, the code and the places in the code are kept.
 */
function described (thrown: unknown, depth = 0): unknown {
  if (!(thrown instanceof Error)) return { type: typeof thrown }
  const code = (thrown as NodeJS.ErrnoException).code
  const own = thrown instanceof GatewayError && thrown.upstream === null
  return {
    type: clip(thrown.name),
    ...(typeof code === 'string' ? { code: clip(code) } : {}),
    ...(own ? { message: clip(thrown.message) } : {}),
    at: frames(thrown),
    ...(thrown.cause === undefined || depth >= 3 ? {} : { cause: described(thrown.cause, depth + 1) })
  }
}

/** The lines of the stack below its head, which repeats the message. */
function frames ({ stack = '', message }: Error): string[] {
  const head = stack.indexOf(message)
  if (head < 0) return []
  return stack.slice(head + message.length).split('\n').map(text => text.trim()).filter(text => text.startsWith('at ')).slice(0, 8).map(clip)
}

/**
 * Messages are constant sentences, what varies stands in fields: nothing is interpolated, and an error gives its
 * message to no line.
 */
function withoutForeignMessage (this: Logger, args: unknown[], method: (...args: never[]) => void): void {
  const [first, message] = args
  const fields = first instanceof Error ? { err: first } : first
  const text = typeof message === 'string' ? message : 'error'
  method.apply(this, (typeof fields === 'string' ? [clip(fields)] : [fields, clip(text)]) as never[])
}
