/** Kept responses in SQLite. Part of `openSqlite`, which hands over how to run things there. */
import type { DatabaseSync } from 'node:sqlite'
import type { ResponseRow, ResponseStore } from './store.ts'

export interface Running {
  /** Names what failed. */
  run<T> (what: string, work: () => T): T
  inTransaction<T> (work: () => T): T
}

interface Stored {
  id: string, tenant: string, created_at: number, expires_at: number
  previous_id: string | null, data_class: string, input: string, response: string
}

export function responseStore (db: DatabaseSync, { run, inTransaction }: Running): ResponseStore {
  const insert = db.prepare('INSERT INTO responses (id, tenant, created_at, expires_at, previous_id, data_class, input, response) VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
  const trim = db.prepare(`DELETE FROM responses WHERE rowid IN
    (SELECT rowid FROM responses WHERE tenant = ? ORDER BY created_at DESC, rowid DESC LIMIT -1 OFFSET ?)`)
  const find = db.prepare('SELECT * FROM responses WHERE id = ? AND tenant = ? AND expires_at > ?')
  const remove = db.prepare('DELETE FROM responses WHERE id = ? AND tenant = ?')
  const sweep = db.prepare('DELETE FROM responses WHERE rowid IN (SELECT rowid FROM responses WHERE expires_at <= ? LIMIT ?)')
  return {
    async insert (row, most) {
      run('cannot keep a response', () => inTransaction(() => {
        insert.run(row.id, row.tenant, row.createdAt.getTime(), row.expiresAt.getTime(), row.previousId, row.dataClass, row.input, row.response)
        trim.run(row.tenant, most)
      }))
    },
    async find (tenant, id, now) {
      const row = run('cannot read a response', () => find.get(id, tenant, now.getTime())) as unknown as Stored | undefined
      return row === undefined ? null : toRow(row)
    },
    async delete (tenant, id) { return run('cannot delete a response', () => remove.run(id, tenant).changes === 1) },
    async sweep (now, most) { return run('cannot delete expired responses', () => Number(sweep.run(now.getTime(), most).changes)) }
  }
}

function toRow (row: Stored): ResponseRow {
  return {
    id: row.id,
    tenant: row.tenant,
    createdAt: new Date(row.created_at),
    expiresAt: new Date(row.expires_at),
    previousId: row.previous_id,
    dataClass: row.data_class,
    input: row.input,
    response: row.response
  }
}
