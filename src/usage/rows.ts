import type { UsageRow } from '../store/store.ts'
import type { Attempt, CallRecord } from './record.ts'

/** What is kept of a call, or null for one that no tenant made. A call without a configured model has the model ''. */
export function toUsageRow (record: CallRecord): UsageRow | null {
  if (record.tenant === null) return null
  const answered = answeredBy(record)
  return {
    callId: record.id,
    startedAt: record.startedAt,
    tenant: record.tenant,
    keyId: record.keyId ?? '',
    model: record.model ?? '',
    target: answered?.target ?? null,
    locality: answered?.locality ?? null,
    dataClass: record.dataClass ?? '',
    outcome: record.outcome ?? 'internal_error',
    errorCode: record.errorCode,
    attempts: record.attempts.length,
    inputTokens: whole(record.usage?.input ?? 0),
    outputTokens: whole(record.usage?.output ?? 0),
    cachedInputTokens: whole(record.usage?.cachedInput ?? 0),
    reasoningTokens: whole(record.usage?.reasoning ?? 0),
    estimated: record.usageEstimated,
    firstTokenMs: record.firstTokenMs === null ? null : whole(record.firstTokenMs),
    durationMs: whole(record.durationMs ?? 0)
  }
}

/** The attempt that gave content, even if it broke off later. Only one ever does: after content there is no further attempt. */
function answeredBy (record: CallRecord): Attempt | undefined {
  return record.attempts.findLast(attempt => attempt.firstTokenMs !== null) ??
    (record.outcome === 'ok' ? record.attempts.at(-1) : undefined)
}

/** Backends count, and what they say is not always a number. */
function whole (value: number): number {
  return value > 0 ? Math.min(Math.round(value), Number.MAX_SAFE_INTEGER) : 0
}

type Kind = 'text' | 'text or null' | 'count' | 'count or null' | 'boolean' | 'date'

const KINDS: { readonly [Field in keyof UsageRow]: Kind } = {
  callId: 'text',
  startedAt: 'date',
  tenant: 'text',
  keyId: 'text',
  model: 'text',
  target: 'text or null',
  locality: 'text or null',
  dataClass: 'text',
  outcome: 'text',
  errorCode: 'text or null',
  attempts: 'count',
  inputTokens: 'count',
  outputTokens: 'count',
  cachedInputTokens: 'count',
  reasoningTokens: 'count',
  estimated: 'boolean',
  firstTokenMs: 'count or null',
  durationMs: 'count'
}
const FIELDS = Object.entries(KINDS) as [keyof UsageRow, Kind][]

/** Whether a store can take it: one row that it cannot would hold up every other. */
export function isUsageRow (row: Readonly<Partial<Record<keyof UsageRow, unknown>>>): boolean {
  return FIELDS.every(([field, kind]) => isOf(kind, row[field]))
}

function isOf (kind: Kind, value: unknown): boolean {
  switch (kind) {
    case 'text': return typeof value === 'string'
    case 'text or null': return value === null || typeof value === 'string'
    case 'count': return Number.isSafeInteger(value) && (value as number) >= 0
    case 'count or null': return value === null || isOf('count', value)
    case 'boolean': return typeof value === 'boolean'
    case 'date': return value instanceof Date && !Number.isNaN(value.getTime())
  }
}

/** One line of a spool, without its end. */
export function toLine (row: UsageRow): string {
  return JSON.stringify(row)
}

/** Null when the line is no usage row. */
export function fromLine (line: string): UsageRow | null {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value !== 'object' || value === null) return null
    const row = { ...value, startedAt: new Date(String((value as { startedAt?: unknown }).startedAt)) }
    return isUsageRow(row) ? row as UsageRow : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}
