import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { GatewayError } from '../errors.ts'
import { checksumOf, pendingMigrations, type AppliedMigration, type Migration } from './migrations/migrations.ts'
import { SQLITE_MIGRATIONS } from './migrations/sqlite.ts'
import { answerStore } from './answers.ts'
import { batchStore } from './batches.ts'
import { fileStore } from './files.ts'
import { responseStore } from './responses.ts'
import type { KeyRow, KeyStore, Scope, Store, UsageRow, UsageStore, UsageTotals } from './store.ts'

export interface SqliteOptions {
  /** Longest wait for another process's write. The event loop stands still meanwhile, so it is short. */
  readonly busyTimeoutMs?: number
  readonly migrations?: readonly Migration[]
}

/** Another process may be migrating, or closing the file and folding its log in. */
const OPEN_PATIENCE_MS = 10_000
const OPEN_RETRY_MS = 20
const SQLITE_BUSY = 5

/**
 * Opens or creates the database and brings it up to date. Several processes may open one file at the same time; it has
 * to lie on a local disk, because the write-ahead log needs shared memory.
 * @param path a file (created with mode 0600, its folder with 0700) or `:memory:`
 * @throws GatewayError `internal_error` naming the file
 */
export function openSqlite (path: string, options: SqliteOptions = {}): Store {
  const { busyTimeoutMs = 1000, migrations = SQLITE_MIGRATIONS } = options
  const db = naming(path, 'cannot be opened', () => {
    if (path !== ':memory:') createPrivately(path)
    const opened = new DatabaseSync(path, { timeout: busyTimeoutMs, enableForeignKeyConstraints: true })
    try {
      patiently(() => prepare(opened, migrations))
      return opened
    } catch (error) {
      opened.close()
      throw error
    }
  })
  const run: Run = (what, work) => naming(path, what, () => {
    if (!db.isOpen) throw new Error('the store is closed')
    return work()
  })
  const running = { run, inTransaction: <T>(work: () => T) => inTransaction(db, work) }
  return {
    keys: keyStore(db, run),
    usage: usageStore(db, run),
    responses: responseStore(db, running),
    answers: answerStore(db, running),
    files: fileStore(db, running),
    batches: batchStore(db, running),
    async close () { if (db.isOpen) naming(path, 'cannot be closed', () => { db.close() }) }
  }
}

/** Runs one operation; whatever it throws gets the file's name and what failed in front. */
type Run = <T>(what: string, work: () => T) => T

function naming<T> (path: string, what: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new GatewayError('internal_error', `The database ${path} ${what}: ${why}`, { cause: error })
  }
}

/** SQLite gives its log and shared-memory files the mode of the database file. */
function createPrivately (path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  closeSync(openSync(path, 'a', 0o600))
}

/** The busy timeout does not cover the change to the write-ahead log: SQLite reports that lock at once. */
function patiently (work: () => void): void {
  const deadline = Date.now() + OPEN_PATIENCE_MS
  for (;;) {
    try {
      return work()
    } catch (error) {
      if (!isBusy(error) || Date.now() >= deadline) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, OPEN_RETRY_MS)
    }
  }
}

/** Extended codes (SQLITE_BUSY_RECOVERY, …) have the primary one in the low byte. */
function isBusy (error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY
}

function prepare (db: DatabaseSync, known: readonly Migration[]): void {
  // What is deleted is overwritten: a response that has expired must not lie on in a free page.
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON')
  const isNew = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'").get() === undefined
  if (!isNew && pendingIn(db, known).length === 0) return
  inTransaction(db, () => {
    db.exec('CREATE TABLE IF NOT EXISTS migrations (id INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT')
    // Read again: another process may have migrated before this one got the lock.
    for (const migration of pendingIn(db, known)) apply(db, migration)
  })
}

function pendingIn (db: DatabaseSync, known: readonly Migration[]): readonly Migration[] {
  const applied = db.prepare('SELECT id, name, checksum FROM migrations ORDER BY id').all() as unknown as AppliedMigration[]
  return pendingMigrations(applied, known)
}

function apply (db: DatabaseSync, migration: Migration): void {
  db.exec(migration.sql)
  db.prepare('INSERT INTO migrations (id, name, checksum, applied_at) VALUES (?, ?, ?, ?)')
    .run(migration.id, migration.name, checksumOf(migration), Date.now())
}

/** IMMEDIATE takes the write lock at once, where the busy timeout holds; a later upgrade of a read lock would fail without waiting. */
function inTransaction<T> (db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    db.exec('COMMIT')
    return result
  } catch (error) {
    // A full disk rolls back by itself.
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

/** A revocation must survive a power cut, which NORMAL does not promise in WAL mode. Usage rows may lose their last second. */
function durably<T> (db: DatabaseSync, work: () => T): T {
  db.exec('PRAGMA synchronous = FULL')
  try {
    return inTransaction(db, work)
  } finally {
    db.exec('PRAGMA synchronous = NORMAL')
  }
}

function keyStore (db: DatabaseSync, run: Run): KeyStore {
  // The second row stands in for a missing one: reading a row costs more than reading none, and would tell which ids exist.
  const find = db.prepare(`SELECT * FROM keys WHERE id = ?
    UNION ALL SELECT '', 'nobody', '', 'inference', '${'0'.repeat(64)}', 0, NULL, NULL LIMIT 1`)
  const list = db.prepare('SELECT * FROM keys ORDER BY created_at, id')
  const any = db.prepare('SELECT 1 FROM keys LIMIT 1')
  const insert = db.prepare('INSERT INTO keys (id, tenant, name, scopes, hmac, created_at, expires_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
  const revoke = db.prepare('UPDATE keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?')
  const add = (key: KeyRow): void => {
    insert.run(key.id, key.tenant, key.name, key.scopes.join(' '), key.hmac,
      milliseconds(key.createdAt), nullable(key.expiresAt), nullable(key.revokedAt))
  }
  return {
    async find (id) {
      const row = toKeyRow(run('cannot read a key', () => find.get(id)) as unknown as StoredKey)
      return row.id === id && id !== '' ? row : null
    },
    async insert (key) { run('cannot add a key', () => durably(db, () => add(key))) },
    async insertFirst (keys) {
      return run('cannot add the first keys', () => durably(db, () => {
        if (any.get() !== undefined) return false
        keys.forEach(add)
        return true
      }))
    },
    async list () {
      const rows = run('cannot list the keys', () => list.all()) as unknown as StoredKey[]
      return rows.map(toKeyRow)
    },
    async revoke (id, at) {
      return run('cannot revoke a key', () => durably(db, () => revoke.run(milliseconds(at), id).changes === 1))
    }
  }
}

interface StoredKey {
  id: string, tenant: string, name: string, scopes: string, hmac: string
  created_at: number, expires_at: number | null, revoked_at: number | null
}

function toKeyRow (row: StoredKey): KeyRow {
  return {
    id: row.id,
    tenant: row.tenant,
    name: row.name,
    scopes: row.scopes === '' ? [] : row.scopes.split(' ') as Scope[],
    hmac: row.hmac,
    createdAt: new Date(row.created_at),
    expiresAt: row.expires_at === null ? null : new Date(row.expires_at),
    revokedAt: row.revoked_at === null ? null : new Date(row.revoked_at)
  }
}

/** SQLite would turn the NaN of an invalid date into NULL, and an expiry into no expiry. */
function milliseconds (date: Date): number {
  const value = date.getTime()
  if (Number.isNaN(value)) throw new RangeError('not a valid date')
  return value
}

function nullable (date: Date | null): number | null {
  return date === null ? null : milliseconds(date)
}

function usageStore (db: DatabaseSync, run: Run): UsageStore {
  // Not INSERT OR IGNORE: that would silently skip a row that breaks any other rule too.
  const insert = db.prepare(`INSERT INTO usage (call_id, started_at, tenant, key_id, model, target, locality, data_class,
    outcome, error_code, attempts, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, estimated, first_token_ms, duration_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (started_at, call_id) DO NOTHING`)
  const totals = db.prepare(`SELECT tenant, model, target, count(*) AS calls, sum(input_tokens) AS inputTokens, sum(output_tokens) AS outputTokens
    FROM usage WHERE started_at >= ? AND started_at < ? AND tenant = coalesce(?, tenant)
    GROUP BY tenant, model, target ORDER BY tenant, model, target`)
  const add = (row: UsageRow): void => {
    insert.run(row.callId, milliseconds(row.startedAt), row.tenant, row.keyId, row.model, row.target, row.locality, row.dataClass,
      row.outcome, row.errorCode, row.attempts, row.inputTokens, row.outputTokens, row.cachedInputTokens, row.reasoningTokens,
      row.estimated ? 1 : 0, row.firstTokenMs, row.durationMs)
  }
  return {
    async append (rows) {
      if (rows.length === 0) return
      run(`cannot add ${rows.length} usage rows`, () => inTransaction(db, () => rows.forEach(add)))
    },
    async totals ({ from, until, tenant }) {
      const rows = run('cannot sum up usage', () => totals.all(milliseconds(from), milliseconds(until), tenant ?? null))
      return rows.map(row => ({ ...row }) as unknown as UsageTotals)
    }
  }
}
