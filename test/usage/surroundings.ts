import { join } from 'node:path'
import type { Test } from 'tap'
import type { GatewayError } from '../../src/errors.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import type { UsageRow, UsageStore } from '../../src/store/store.ts'
import { createLedger, type LedgerOptions } from '../../src/usage/ledger.ts'
import type { Attempt, CallRecord } from '../../src/usage/record.ts'

/** The real store, which remembers what it was given and fails or hangs when told to. */
export class FlakyUsage implements UsageStore {
  readonly #usage = openSqlite(':memory:').usage
  readonly batches: string[][] = []
  asked = 0
  fails = false
  hangs = false

  async append (rows: readonly UsageRow[]): Promise<void> {
    this.asked++
    if (this.hangs) return new Promise(() => { /* for ever */ })
    if (this.fails) throw new Error('disk full')
    await this.#usage.append(rows)
    this.batches.push(rows.map(row => row.callId))
  }

  totals: UsageStore['totals'] = query => this.#usage.totals(query)

  ids (): string[] {
    return this.batches.flat()
  }
}

export function surroundings (t: Test, options: Partial<LedgerOptions> = {}) {
  const folder = t.testdir()
  const usage = new FlakyUsage()
  const told: GatewayError[] = []
  const spool = join(folder, 'data', 'usage-spool.jsonl')
  const start = (more: Partial<LedgerOptions> = {}) => {
    const ledger = createLedger(usage, { spool, onError: error => told.push(error), flushMs: 20, ...options, ...more })
    t.teardown(() => ledger.close())
    return ledger
  }
  return { folder, spool, usage, told, start, messages: () => told.map(error => error.message) }
}

export function callRecord (record: Partial<CallRecord> = {}): CallRecord {
  return {
    id: 'call', startedAt: new Date(1_700_000_000_000), endpoint: 'chat_completions', tenant: 'acme', keyId: 'key', model: 'chat',
    stream: false, dataClass: 'internal', boundary: 'cloud', rejected: [], receivedMs: 0.5, planned: 1, attempts: [attempt()], firstTokenMs: 12.4,
    durationMs: 99.6, usage: { input: 10, output: 20, cachedInput: 3, reasoning: 4 }, usageEstimated: false, outcome: 'ok',
    errorCode: null, status: 200, limit: null, ...record
  }
}

export function attempt (change: Partial<Attempt> = {}): Attempt {
  return { target: 'gpu/chat', backend: 'gpu', locality: 'local', startMs: 1, firstTokenMs: 12.4, endMs: 99, error: null, ...change }
}
