/** The log: one JSON object per line. The only file that imports pino. */
import { once } from 'node:events'
import { pino, type DestinationStream, type Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { GatewayError, type Outcome } from '../errors.ts'
import type { CallRecord, Recorder } from '../usage/record.ts'

export interface LogOptions {
  readonly level: Config['log']['level']
  /** File path or file descriptor; standard output if left out. A stream is written to as it is. */
  readonly destination?: string | number | DestinationStream
}

export interface Log {
  /** Takes the fields in FIELDS and leaves out all others. */
  readonly logger: Logger
  /** One line per call. */
  readonly access: Recorder
  /** Writes what is still waiting. Lines logged after it are dropped. */
  close (): Promise<void>
}

/** Bytes that may wait for a slow reader of the log; lines beyond are dropped, and counted in a line of their own. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024
const MAX_STRING = 256
const MAX_ITEMS = 32

/** What a line can hold. A new field is written down here first, so that a prompt cannot slip in with an object. */
const FIELDS: ReadonlySet<string> = new Set([
  'id', 'tenant', 'key', 'model', 'target', 'class', 'outcome', 'status', 'error', 'attempts', 'tried',
  'input_tokens', 'output_tokens', 'first_token_ms', 'duration_ms',
  'err', 'code', 'reason', 'signal', 'url', 'admin_url', 'path', 'host', 'port', 'version', 'revision', 'pid',
  'backend', 'pool', 'worker', 'state', 'slots', 'exit', 'load_ms', 'waited_ms', 'store', 'rows', 'dropped', 'fields_left_out'
])

export function createLog ({ level, destination }: LogOptions): Log {
  const stream = typeof destination === 'object' ? destination : openStream(destination ?? 1)
  const logger = pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: label => ({ level: label }), log: allowed, bindings: allowed },
    serializers: { err: described },
    hooks: { logMethod: withoutForeignMessage }
  }, stream)
  const waiting = typeof destination === 'object' ? null : countDrops(stream as FileStream, logger)
  return {
    logger,
    access: record => { logger[LEVELS[record.outcome ?? 'internal_error']](line(record), 'call') },
    async close () {
      logger.level = 'silent'
      await waiting?.close()
    }
  }
}

type FileStream = ReturnType<typeof pino.destination>

/** Asynchronous: a log that is read slowly must not hold up an answer. */
function openStream (dest: string | number): FileStream {
  return pino.destination({ dest, sync: false, maxLength: MAX_WAITING_BYTES })
}

function countDrops (stream: FileStream, logger: Logger): { close (): Promise<void> } {
  let dropped = 0
  const report = (): void => {
    if (dropped === 0) return
    const count = dropped
    dropped = 0
    logger.warn({ dropped: count }, 'log lines were dropped because the log is read too slowly')
  }
  stream.on('drop', () => { dropped++ })
  stream.on('drain', report)
  return {
    async close () {
      if (stream.destroyed) return
      const closed = Promise.race([once(stream, 'close')])
      stream.end()
      await closed
    }
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

function line (record: CallRecord) {
  return {
    id: record.id,
    tenant: record.tenant,
    key: record.keyId,
    model: record.model,
    target: record.attempts.at(-1)?.target ?? null,
    class: record.dataClass,
    outcome: record.outcome,
    status: record.status,
    error: record.errorCode,
    attempts: record.attempts.length,
    tried: record.attempts.map(({ target, error }) => `${target}:${error ?? 'ok'}`),
    input_tokens: record.usage?.input ?? null,
    output_tokens: record.usage?.output ?? null,
    first_token_ms: rounded(record.firstTokenMs),
    duration_ms: rounded(record.durationMs)
  }
}

function rounded (ms: number | null): number | null {
  return ms === null ? null : Math.round(ms * 10) / 10
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
 * JSON. Of theirs only the kind, the code and the places in the code are kept.
 */
function described (thrown: unknown, depth = 0): unknown {
  if (!(thrown instanceof Error)) return { type: typeof thrown }
  const own = thrown instanceof GatewayError
  const code = (thrown as NodeJS.ErrnoException).code
  return {
    type: clip(thrown.name),
    ...(typeof code === 'string' ? { code: clip(code) } : {}),
    ...(own ? { message: clip(thrown.message) } : {}),
    ...(own && thrown.code !== 'internal_error' ? {} : { at: frames(thrown.stack) }),
    ...(thrown.cause === undefined || depth >= 3 ? {} : { cause: described(thrown.cause, depth + 1) })
  }
}

function frames (stack = ''): string[] {
  return stack.split('\n').map(text => text.trim()).filter(text => /^at [^\s].*:\d+:\d+\)?$/.test(text)).slice(0, 8).map(clip)
}

/** pino takes the message of an error as the message of the line when there is no other. */
function withoutForeignMessage (this: Logger, args: unknown[], method: (...args: never[]) => void): void {
  const [first, message] = args
  const fields = first instanceof Error ? { err: first } : first
  const text = message === undefined && typeof fields === 'object' ? 'error' : message
  method.apply(this, (typeof fields === 'string' ? [clip(fields)] : [fields, text]) as never[])
}
