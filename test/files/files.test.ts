import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test, type Test } from 'tap'
import { Files, type NewFile } from '../../src/files/files.ts'
import { openSqlite } from '../../src/store/sqlite.ts'

const FILE: NewFile = { tenant: 'acme', purpose: 'batch', filename: 'in.jsonl', dataClass: 'internal', lastsS: null }
const HOUR_MS = 3_600_000

function open (t: Test, more = {}) {
  const dir = t.testdir()
  const store = openSqlite(join(dir, 'torchgate.db'))
  const folder = join(dir, 'files')
  const files = new Files({ store: store.files, folder, maxBytes: 1000, perTenantBytes: 1500, perTenant: 10, retentionHours: 2, onError: error => { throw error }, ...more })
  t.teardown(async () => { await files.close(); await store.close() })
  return { files, store, folder, names: () => readdirSync(folder) }
}

const upload = (files: Files, text: string) => files.upload('acme', Readable.from([Buffer.from(text)]), () => FILE)

test('a file is deleted when its time is over, with its bytes', async t => {
  const { files, names } = open(t)
  const [short, long] = [await files.upload('acme', Readable.from([Buffer.from('x')]), () => ({ ...FILE, lastsS: 3600 })), await upload(files, 'y')]
  const from = long.createdAt.getTime()
  t.equal(long.expiresAt.getTime() - from, 2 * HOUR_MS)
  await files.sweep(new Date(from + HOUR_MS - 1000))
  t.equal(names().length, 2)
  await files.sweep(new Date(from + HOUR_MS + 1000))
  t.same(names(), [long.id])
  await t.rejects(files.content(short), { code: 'internal_error' })
  await files.sweep(new Date(from + 2 * HOUR_MS + 1000))
  t.same(names(), [])
})

test('what a killed gateway has left is deleted after an hour, and nothing else', async t => {
  const { files, folder, names } = open(t)
  const kept = await upload(files, 'x')
  for (const name of ['file-old', 'file-old.part', 'file-new.part']) writeFileSync(join(folder, name), 'left')
  const old = new Date(Date.now() - HOUR_MS - 60_000)
  for (const name of ['file-old', 'file-old.part', kept.id]) utimesSync(join(folder, name), old, old)
  await files.sweepForgotten()
  t.same(new Set(names()), new Set(['file-new.part', kept.id]))
})

test('of an upload that breaks off nothing stays, and its bytes count no more', async t => {
  const { files, names } = open(t)
  const broken = async function * () { yield Buffer.from('x'.repeat(900)); throw new Error('left') }
  for (let times = 0; times < 3; times++) await t.rejects(files.upload('acme', broken(), () => FILE), { message: 'left' })
  await t.rejects(files.upload('acme', Readable.from([Buffer.from('x')]), () => { throw new Error('no purpose') }), { message: 'no purpose' })
  t.same(names(), [])
  t.ok(await upload(files, 'x'.repeat(1000)))
})

test('uploads of one tenant at the same time do not take more than it may have', async t => {
  const { files, names } = open(t)
  const slow = async function * () { for (let part = 0; part < 9; part++) { yield Buffer.from('x'.repeat(100)); await new Promise(resolve => { setTimeout(resolve, 5) }) } }
  const outcomes = await Promise.allSettled([1, 2, 3].map(() => files.upload('acme', slow(), () => FILE)))
  const kept = outcomes.filter(({ status }) => status === 'fulfilled')
  t.equal(kept.length, names().length)
  t.ok(kept.length <= 1)
  t.ok(outcomes.every(outcome => outcome.status === 'fulfilled' || outcome.reason.code === 'storage_full'))
})

test('a part of a file is read as it is, and one beyond its end is told', async t => {
  const { files, folder } = open(t)
  const { id } = await upload(files, 'abcdef')
  t.equal((await files.slice(id, 2, 3)).toString(), 'cde')
  await t.rejects(files.slice(id, 4, 3), { code: 'internal_error', message: `The file ${id} ends at 6 bytes, where 7 were expected.` })
  t.equal(readFileSync(join(folder, id), 'utf8'), 'abcdef')
})
