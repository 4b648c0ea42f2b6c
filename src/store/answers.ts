/** Answers under the keys of their callers, in SQLite. Part of `openSqlite`. */
import type { DatabaseSync } from 'node:sqlite'
import type { Running } from './responses.ts'
import type { AnswerRow, AnswerStore } from './store.ts'

interface Stored {
  tenant: string, key_hash: string, fingerprint: string, call_id: string
  created_at: number, expires_at: number, state: AnswerRow['state'], type: string | null, bytes: Uint8Array | null
}

export function answerStore (db: DatabaseSync, { run, inTransaction }: Running): AnswerStore {
  const find = db.prepare('SELECT * FROM answers WHERE tenant = ? AND key_hash = ? AND expires_at > ?')
  const insert = db.prepare(`INSERT OR REPLACE INTO answers (tenant, key_hash, fingerprint, call_id, created_at, expires_at, state)
    VALUES (?, ?, ?, ?, ?, ?, 'running')`)
  const trim = db.prepare(`DELETE FROM answers WHERE rowid IN
    (SELECT rowid FROM answers WHERE tenant = ? ORDER BY created_at DESC, rowid DESC LIMIT -1 OFFSET ?)`)
  // By the id of the call, too: whoever took the key after it had expired keeps it.
  const finish = db.prepare('UPDATE answers SET state = ?, type = ?, bytes = ?, expires_at = ? WHERE tenant = ? AND key_hash = ? AND call_id = ?')
  const forget = db.prepare('DELETE FROM answers WHERE tenant = ? AND key_hash = ? AND call_id = ?')
  const sweep = db.prepare('DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers WHERE expires_at <= ? LIMIT ?)')
  return {
    async begin ({ tenant, keyHash, fingerprint, callId, createdAt, expiresAt }, most) {
      return run('cannot take an idempotency key', () => inTransaction(() => {
        const there = find.get(tenant, keyHash, createdAt.getTime()) as unknown as Stored | undefined
        if (there !== undefined) return toRow(there)
        insert.run(tenant, keyHash, fingerprint, callId, createdAt.getTime(), expiresAt.getTime())
        trim.run(tenant, most)
        return null
      }))
    },
    async finish ({ tenant, keyHash, callId }, { type, bytes, expiresAt }) {
      const state = bytes === null ? 'too_large' : 'kept'
      run('cannot keep an answer', () => finish.run(state, type, bytes, expiresAt.getTime(), tenant, keyHash, callId))
    },
    async forget ({ tenant, keyHash, callId }) { run('cannot free an idempotency key', () => forget.run(tenant, keyHash, callId)) },
    async sweep (now, most) { return run('cannot delete expired answers', () => Number(sweep.run(now.getTime(), most).changes)) }
  }
}

function toRow ({ fingerprint, call_id: callId, state, type, bytes }: Stored): AnswerRow {
  return { fingerprint, callId, state, type, bytes: bytes === null ? null : Buffer.from(bytes) }
}
