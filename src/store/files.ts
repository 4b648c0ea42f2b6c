/** What is known of kept files, in SQLite. Part of `openSqlite`, which hands over how to run things there. */
import type { DatabaseSync } from 'node:sqlite'
import type { Running } from './responses.ts'
import type { FileRow, FileStore } from './store.ts'

interface Stored {
  id: string, tenant: string, purpose: string, filename: string, bytes: number
  data_class: string, created_at: number, expires_at: number
}

export function fileStore (db: DatabaseSync, { run, inTransaction }: Running): FileStore {
  const insert = insertFile(db)
  const used = db.prepare('SELECT count(*) AS files, coalesce(sum(bytes), 0) AS bytes FROM files WHERE tenant = ?')
  const find = db.prepare('SELECT * FROM files WHERE id = ? AND tenant = ? AND expires_at > ?')
  const page = (sign: '<' | '>', way: 'ASC' | 'DESC') => db.prepare(`SELECT * FROM files
    WHERE tenant = :tenant AND expires_at > :now AND purpose = coalesce(:purpose, purpose)
    AND (:after IS NULL OR (created_at, id) ${sign} (SELECT created_at, id FROM files WHERE id = :after AND tenant = :tenant))
    ORDER BY created_at ${way}, id ${way} LIMIT :most`)
  const ascending = page('>', 'ASC')
  const descending = page('<', 'DESC')
  const reader = db.prepare('SELECT 1 FROM batches WHERE input_file_id = ? AND ended_at IS NULL LIMIT 1')
  const remove = db.prepare('DELETE FROM files WHERE id = ? AND tenant = ?')
  const sweep = db.prepare(`DELETE FROM files WHERE rowid IN (SELECT rowid FROM files WHERE expires_at <= ?
    AND id NOT IN (SELECT input_file_id FROM batches WHERE ended_at IS NULL) LIMIT ?) RETURNING id`)
  const known = db.prepare('SELECT id FROM files WHERE id IN (SELECT value FROM json_each(?))')
  const usedBy = (tenant: string) => used.get(tenant) as unknown as { files: number, bytes: number }
  return {
    async insert (row, most) {
      return run('cannot keep a file', () => inTransaction(() => {
        const { files, bytes } = usedBy(row.tenant)
        if (files + 1 > most.files || bytes + row.bytes > most.bytes) return false
        insert(row)
        return true
      }))
    },
    async find (tenant, id, now) {
      const row = run('cannot read a file', () => find.get(id, tenant, now.getTime())) as unknown as Stored | undefined
      return row === undefined ? null : toRow(row)
    },
    async list (tenant, { after, most, purpose, ascending: isAscending, now }) {
      const statement = isAscending ? ascending : descending
      const rows = run('cannot list the files', () => statement.all({ tenant, now: now.getTime(), purpose, after, most })) as unknown as Stored[]
      return rows.map(toRow)
    },
    async usedBytes (tenant) { return run('cannot count the files', () => usedBy(tenant).bytes) },
    async delete (tenant, id) {
      return run('cannot delete a file', () => inTransaction(() => {
        if (reader.get(id) !== undefined && find.get(id, tenant, 0) !== undefined) return 'in_use'
        return remove.run(id, tenant).changes === 1 ? 'deleted' : 'missing'
      }))
    },
    async sweep (now, most) {
      return run('cannot delete expired files', () => sweep.all(now.getTime(), most)).map(({ id }) => id as string)
    },
    async known (ids) {
      return new Set(run('cannot read the files', () => known.all(JSON.stringify(ids))).map(({ id }) => id as string))
    }
  }
}

/** Within a transaction of the caller's. */
export function insertFile (db: DatabaseSync): (row: FileRow) => void {
  const insert = db.prepare('INSERT INTO files (id, tenant, purpose, filename, bytes, data_class, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
  return row => { insert.run(row.id, row.tenant, row.purpose, row.filename, row.bytes, row.dataClass, row.createdAt.getTime(), row.expiresAt.getTime()) }
}

function toRow (row: Stored): FileRow {
  return {
    id: row.id,
    tenant: row.tenant,
    purpose: row.purpose,
    filename: row.filename,
    bytes: row.bytes,
    dataClass: row.data_class,
    createdAt: new Date(row.created_at),
    expiresAt: new Date(row.expires_at)
  }
}
