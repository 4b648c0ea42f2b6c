/** Batches in SQLite. Part of `openSqlite`, which hands over how to run things there. One writer at a time makes every statement atomic. */
import type { DatabaseSync } from 'node:sqlite'
import { insertFile } from './files.ts'
import type { Running } from './responses.ts'
import type { AnsweredLine, BatchRow, BatchStatus, BatchStore, LineRow } from './store.ts'

interface StoredBatch {
  id: string, tenant: string, key_id: string, endpoint: string, input_file_id: string, data_class: string, metadata: string | null
  output_lasts_s: number | null, status: BatchStatus, created_at: number, expires_at: number, in_progress_at: number | null
  finalizing_at: number | null, cancelling_at: number | null, ended_at: number | null, model: string | null, errors: string | null
  output_file_id: string | null, error_file_id: string | null, total: number, completed: number, failed: number
  input_tokens: number, cached_input_tokens: number, output_tokens: number, reasoning_tokens: number
}

interface StoredLine {
  batch_id: string, line: number, place: number, custom_id: string, model: string, byte_offset: number, byte_length: number, tries: number
}

/** Nobody is at work on a line of the batch. */
const IDLE = "NOT EXISTS (SELECT 1 FROM batch_lines WHERE batch_id = batches.id AND state = 'leased' AND lease_until > :now)"
export function batchStore (db: DatabaseSync, { run, inTransaction }: Running): BatchStore {
  const running = { run, inTransaction }
  return { ...asked(db, running), ...leased(db, running), ...made(db, running) }
}

type Asked = Pick<BatchStore, 'insert' | 'find' | 'list' | 'cancel' | 'running'>

/** What callers ask. */
function asked (db: DatabaseSync, { run, inTransaction }: Running): Asked {
  const insert = db.prepare(`INSERT INTO batches (id, tenant, key_id, endpoint, input_file_id, data_class, metadata, output_lasts_s, created_at, expires_at, status)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'validating')`)
  const open = db.prepare('SELECT count(*) AS count FROM batches WHERE tenant = ? AND ended_at IS NULL')
  const find = db.prepare('SELECT * FROM batches WHERE id = ? AND tenant = ?')
  const list = db.prepare(`SELECT * FROM batches WHERE tenant = :tenant
    AND (:after IS NULL OR (created_at, id) < (SELECT created_at, id FROM batches WHERE id = :after AND tenant = :tenant))
    ORDER BY created_at DESC, id DESC LIMIT :most`)
  const cancel = db.prepare(`UPDATE batches SET status = 'cancelling', cancelling_at = ?
    WHERE id = ? AND tenant = ? AND status IN ('validating', 'in_progress')`)
  const running = db.prepare("SELECT * FROM batches WHERE ended_at IS NULL AND status = 'in_progress' AND expires_at > ? ORDER BY created_at, id LIMIT ?")
  return {
    async insert (row, most) {
      return run('cannot add a batch', () => inTransaction(() => {
        if (Number(open.get(row.tenant)!['count']) >= most) return false
        insert.run(row.id, row.tenant, row.keyId, row.endpoint, row.inputFileId, row.dataClass, row.metadata, row.outputLastsS,
          row.createdAt.getTime(), row.expiresAt.getTime())
        return true
      }))
    },
    async find (tenant, id) { return batchOf(run('cannot read a batch', () => find.get(id, tenant))) },
    async list (tenant, { after, most }) {
      return batchesOf(run('cannot list the batches', () => list.all({ tenant, after, most })))
    },
    async cancel (tenant, id, now) {
      return batchOf(run('cannot cancel a batch', () => {
        cancel.run(now.getTime(), id, tenant)
        return find.get(id, tenant)
      }))
    },
    async running (now, most) { return batchesOf(run('cannot list the running batches', () => running.all(now.getTime(), most))) }
  }
}

type Leased = Pick<BatchStore, 'leaseBatch' | 'leaseLines' | 'renew' | 'answer' | 'release' | 'releaseBatch'>

/** Who works on what. */
function leased (db: DatabaseSync, { run, inTransaction }: Running): Leased {
  // A batch whose time is over is to be finished as it is: what has no answer then has expired.
  const close = db.prepare(`UPDATE batches SET status = 'finalizing', finalizing_at = :now WHERE ended_at IS NULL AND status = 'in_progress' AND ${IDLE}
    AND (expires_at <= :now OR NOT EXISTS (SELECT 1 FROM batch_lines WHERE batch_id = batches.id AND state IN ('pending', 'leased')))`)
  const leaseBatch = db.prepare(`UPDATE batches SET owner = :owner, lease_until = :until WHERE id = (SELECT id FROM batches WHERE ended_at IS NULL
    AND status IN ('validating', 'finalizing', 'cancelling') AND lease_until <= :now AND ${IDLE} ORDER BY created_at, id LIMIT 1) RETURNING *`)
  const takeBack = db.prepare("UPDATE batch_lines SET state = 'pending', owner = NULL, tries = tries + 1 WHERE batch_id = ? AND state = 'leased' AND lease_until <= ?")
  const leaseLines = db.prepare(`UPDATE batch_lines SET state = 'leased', owner = :owner, lease_until = :until
    WHERE rowid IN (SELECT rowid FROM batch_lines WHERE batch_id = :batch AND state = 'pending' AND not_before <= :now
      AND model NOT IN (SELECT value FROM json_each(:except)) ORDER BY place LIMIT :most)
    AND EXISTS (SELECT 1 FROM batches WHERE id = :batch AND status = 'in_progress') RETURNING *`)
  const renewBatch = db.prepare('UPDATE batches SET lease_until = ? WHERE id = ? AND owner = ?')
  const renewLine = db.prepare("UPDATE batch_lines SET lease_until = ? WHERE batch_id = ? AND line = ? AND owner = ? AND state = 'leased'")
  const answer = db.prepare("UPDATE batch_lines SET state = ?, answer = ?, owner = NULL WHERE batch_id = ? AND line = ? AND owner = ? AND state = 'leased'")
  const count = db.prepare(`UPDATE batches SET completed = completed + ?, failed = failed + ?, input_tokens = input_tokens + ?,
    cached_input_tokens = cached_input_tokens + ?, output_tokens = output_tokens + ?, reasoning_tokens = reasoning_tokens + ? WHERE id = ?`)
  const release = db.prepare("UPDATE batch_lines SET state = 'pending', owner = NULL, not_before = ?, tries = tries + ? WHERE batch_id = ? AND line = ? AND owner = ? AND state = 'leased'")
  const releaseBatch = db.prepare('UPDATE batches SET owner = NULL, lease_until = 0 WHERE id = ? AND owner = ?')
  return {
    async leaseBatch ({ owner, now, until }) {
      return batchOf(run('cannot lease a batch', () => {
        close.run({ now: now.getTime() })
        return leaseBatch.get({ owner, now: now.getTime(), until: until.getTime() })
      }))
    },
    async leaseLines (batchId, { owner, now, until }, { most, exceptModels }) {
      const rows = run('cannot lease lines of a batch', () => {
        takeBack.run(batchId, now.getTime())
        return leaseLines.all({ batch: batchId, owner, now: now.getTime(), until: until.getTime(), most, except: JSON.stringify(exceptModels) })
      }) as unknown as StoredLine[]
      return rows.map(toLine).toSorted((a, b) => a.place - b.place)
    },
    async renew ({ owner, until }, { batches, lines }) {
      run('cannot renew leases', () => {
        for (const id of batches) renewBatch.run(until.getTime(), id, owner)
        for (const { batchId, line } of lines) renewLine.run(until.getTime(), batchId, line, owner)
      })
    },
    async answer ({ batchId, line }, owner, { state, answer: text, usage }) {
      return run('cannot write the answer of a line', () => inTransaction(() => {
        if (answer.run(state, text, batchId, line, owner).changes !== 1) return false
        const isCompleted = state === 'completed'
        count.run(isCompleted ? 1 : 0, isCompleted ? 0 : 1, usage.input, usage.cachedInput, usage.output, usage.reasoning, batchId)
        return true
      }))
    },
    async release ({ batchId, line }, owner, { notBefore, isTry }) {
      run('cannot give a line back', () => release.run(notBefore.getTime(), isTry ? 1 : 0, batchId, line, owner))
    },
    async releaseBatch (id, owner) { run('cannot give a batch back', () => releaseBatch.run(id, owner)) }
  }
}

type Made = Pick<BatchStore, 'addLines' | 'clearLines' | 'begin' | 'fail' | 'lines' | 'finish' | 'sweep'>

/** How a batch begins and ends. */
function made (db: DatabaseSync, { run, inTransaction }: Running): Made {
  const owned = db.prepare('SELECT 1 FROM batches WHERE id = ? AND owner = ? AND ended_at IS NULL')
  const add = db.prepare('INSERT INTO batch_lines (batch_id, line, place, custom_id, model, byte_offset, byte_length) VALUES (?, ?, ?, ?, ?, ?, ?)')
  const clear = db.prepare('DELETE FROM batch_lines WHERE rowid IN (SELECT rowid FROM batch_lines WHERE batch_id = ? LIMIT ?)')
  const begin = db.prepare(`UPDATE batches SET status = 'in_progress', in_progress_at = ?, total = ?, model = ?, owner = NULL, lease_until = 0
    WHERE id = ? AND owner = ? AND status = 'validating'`)
  const fail = db.prepare(`UPDATE batches SET status = 'failed', ended_at = ?, errors = ?, owner = NULL, lease_until = 0
    WHERE id = ? AND owner = ? AND status = 'validating'`)
  const lines = db.prepare('SELECT line, custom_id, state, answer FROM batch_lines WHERE batch_id = ? AND line > ? ORDER BY line LIMIT ?')
  const insert = insertFile(db)
  const finish = db.prepare(`UPDATE batches SET status = ?, ended_at = ?, finalizing_at = coalesce(finalizing_at, ?), output_file_id = ?, error_file_id = ?,
    failed = total - completed, owner = NULL, lease_until = 0 WHERE id = ? AND owner = ? AND status IN ('finalizing', 'cancelling')`)
  const sweepLines = db.prepare(`DELETE FROM batch_lines WHERE rowid IN (SELECT batch_lines.rowid FROM batch_lines
    JOIN batches ON batches.id = batch_id WHERE ended_at IS NOT NULL LIMIT ?)`)
  const sweep = db.prepare(`DELETE FROM batches WHERE rowid IN (SELECT rowid FROM batches WHERE ended_at <= ?
    AND NOT EXISTS (SELECT 1 FROM batch_lines WHERE batch_id = batches.id) LIMIT ?)`)
  return {
    async addLines (batchId, owner, rows) {
      return run('cannot add lines to a batch', () => inTransaction(() => {
        if (owned.get(batchId, owner) === undefined) return false
        for (const row of rows) add.run(batchId, row.line, row.place, row.customId, row.model, row.byteOffset, row.byteLength)
        return true
      }))
    },
    async clearLines (batchId, most) { return Number(run('cannot delete lines of a batch', () => clear.run(batchId, most)).changes) },
    async begin (batchId, owner, now, { total, model }) {
      return run('cannot begin a batch', () => begin.run(now.getTime(), total, model, batchId, owner).changes === 1)
    },
    async fail (batchId, owner, now, errors) {
      return run('cannot fail a batch', () => fail.run(now.getTime(), errors, batchId, owner).changes === 1)
    },
    async lines (batchId, afterLine, most) {
      const rows = run('cannot read lines of a batch', () => lines.all(batchId, afterLine, most))
      return rows.map(({ custom_id: customId, ...row }) => ({ ...row, customId }) as unknown as AnsweredLine)
    },
    async finish (batchId, owner, now, { status, output, errors }) {
      return run('cannot finish a batch', () => inTransaction(() => {
        const at = now.getTime()
        if (finish.run(status, at, at, output?.id ?? null, errors?.id ?? null, batchId, owner).changes !== 1) return false
        if (output !== null) insert(output)
        if (errors !== null) insert(errors)
        return true
      }))
    },
    async sweep (endedBefore, most) {
      return run('cannot delete ended batches', () => Number(sweepLines.run(most).changes) + Number(sweep.run(endedBefore.getTime(), most).changes))
    }
  }
}

const dateOf = (at: number | null) => at === null ? null : new Date(at)

function batchOf (row: unknown): BatchRow | null { return row === undefined ? null : toBatch(row as StoredBatch) }

function batchesOf (rows: unknown[]): BatchRow[] { return rows.map(row => toBatch(row as StoredBatch)) }

function toBatch (row: StoredBatch): BatchRow {
  return {
    id: row.id,
    tenant: row.tenant,
    keyId: row.key_id,
    endpoint: row.endpoint,
    inputFileId: row.input_file_id,
    dataClass: row.data_class,
    metadata: row.metadata,
    outputLastsS: row.output_lasts_s,
    createdAt: new Date(row.created_at),
    expiresAt: new Date(row.expires_at),
    status: row.status,
    inProgressAt: dateOf(row.in_progress_at),
    finalizingAt: dateOf(row.finalizing_at),
    cancellingAt: dateOf(row.cancelling_at),
    endedAt: dateOf(row.ended_at),
    model: row.model,
    errors: row.errors,
    outputFileId: row.output_file_id,
    errorFileId: row.error_file_id,
    total: row.total,
    completed: row.completed,
    failed: row.failed,
    usage: { input: row.input_tokens, cachedInput: row.cached_input_tokens, output: row.output_tokens, reasoning: row.reasoning_tokens }
  }
}

function toLine (row: StoredLine): LineRow {
  return {
    batchId: row.batch_id,
    line: row.line,
    place: row.place,
    customId: row.custom_id,
    model: row.model,
    byteOffset: row.byte_offset,
    byteLength: row.byte_length,
    tries: row.tries
  }
}
