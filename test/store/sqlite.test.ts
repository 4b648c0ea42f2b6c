import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { test } from 'tap'
import { checksumOf } from '../../src/store/migrations/migrations.ts'
import { SQLITE_MIGRATIONS } from '../../src/store/migrations/sqlite.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import { storeContract } from '../conformance/store.ts'
import { EVER, keyRow, responseRow, usageRow } from './rows.ts'

storeContract('sqlite in memory', async () => openSqlite(':memory:'))
storeContract('sqlite on disk', async t => openSqlite(join(t.testdir(), 'torchgate.db')))

test('what was written is there after the file was opened again', async t => {
  const path = join(t.testdir(), 'torchgate.db')
  const first = openSqlite(path)
  await first.keys.insert(keyRow({ id: 'one' }))
  await first.usage.append([usageRow({ callId: '1' })])
  await first.close()
  const second = openSqlite(path)
  t.teardown(() => second.close())
  t.strictSame(await second.keys.find('one'), keyRow({ id: 'one' }))
  t.match(await second.usage.totals(EVER), [{ calls: 1 }])
})

test('what a deleted response said is overwritten', async t => {
  const path = join(t.testdir(), 'torchgate.db')
  const store = openSqlite(path)
  for (const id of ['one', 'two', 'three']) await store.responses.insert(responseRow({ id, input: JSON.stringify([`word-${id}`]) }), 10)
  await store.responses.delete('acme', 'two')
  await store.responses.sweep(new Date(0), 10)
  await store.close()
  const bytes = readFileSync(path, 'latin1')
  t.match(bytes, 'word-one')
  t.notMatch(bytes, 'word-two')
})

test('nobody else can read the file, its log or its folder', async t => {
  const folder = join(t.testdir(), 'data', 'deep')
  const store = openSqlite(join(folder, 'torchgate.db'))
  t.teardown(() => store.close())
  await store.keys.insert(keyRow({}))
  const names = readdirSync(folder)
  t.ok(names.length >= 2, names.join())
  for (const name of names) t.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name)
  t.equal(statSync(folder).mode & 0o777, 0o700)
})

test('the mode that an operator gave an existing file stays', async t => {
  const path = join(t.testdir(), 'torchgate.db')
  await openSqlite(path).close()
  chmodSync(path, 0o640)
  await openSqlite(path).close()
  t.equal(statSync(path).mode & 0o777, 0o640)
})

test('a file that cannot be a database is named', async t => {
  const folder = t.testdir({ 'letter.txt': 'Dear reader, '.repeat(1000), folder: {} })
  for (const [name, why] of [['letter.txt', /not a database/], ['folder', /EISDIR/], ['letter.txt/x', /EEXIST|ENOTDIR/]] as const) {
    const path = join(folder, name)
    t.throws(() => openSqlite(path), { code: 'internal_error', message: why }, name)
    t.throws(() => openSqlite(path), { message: new RegExp(`^The database ${path} cannot be opened: `) }, name)
  }
})

test('a failed write names the file and leaves the store usable', async t => {
  const path = join(t.testdir(), 'torchgate.db')
  const store = openSqlite(path, { busyTimeoutMs: 30 })
  t.teardown(() => store.close())
  const other = new DatabaseSync(path)
  t.teardown(() => other.close())
  other.exec('BEGIN IMMEDIATE')
  await t.rejects(store.usage.append([usageRow({})]), { message: `The database ${path} cannot add 1 usage rows: database is locked` })
  await t.rejects(store.keys.revoke('one', new Date()), { message: /locked/ })
  t.equal(await store.keys.find('one'), null, 'reading goes on while another process writes')
  other.exec('COMMIT')
  await store.usage.append([usageRow({})])
  t.match(await store.usage.totals(EVER), [{ calls: 1 }])
})

const [first] = SQLITE_MIGRATIONS as [typeof SQLITE_MIGRATIONS[0] & object]
const known = SQLITE_MIGRATIONS
const next = { id: known.length + 1, name: 'notes', sql: "CREATE TABLE notes (text TEXT) STRICT; INSERT INTO notes VALUES ('kept')" }

test('migrations are numbered without a gap', t => {
  t.strictSame(SQLITE_MIGRATIONS.map(migration => migration.id), SQLITE_MIGRATIONS.map((_, index) => index + 1))
  t.end()
})

test('an older file is brought forward once and keeps its rows', async t => {
  const path = join(t.testdir(), 'torchgate.db')
  const old = openSqlite(path)
  await old.keys.insert(keyRow({ id: 'one' }))
  await old.close()
  for (const opening of ['first', 'second']) {
    const store = openSqlite(path, { migrations: [...known, next] })
    t.ok(await store.keys.find('one'), `${opening} opening`)
    await store.close()
  }
  const db = new DatabaseSync(path)
  t.teardown(() => db.close())
  t.equal(db.prepare('SELECT count(*) AS n FROM notes').get()?.['n'], 1)
})

test('usage of the first version is kept, and a row of it is still counted once', async t => {
  const path = join(t.testdir(), 'torchgate.db')
  const old = new DatabaseSync(path)
  old.exec(`${first.sql}; CREATE TABLE migrations (id INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT`)
  old.prepare('INSERT INTO migrations VALUES (?, ?, ?, ?)').run(first.id, first.name, checksumOf(first), 0)
  const row = usageRow({ callId: 'req_old', inputTokens: 7 })
  old.prepare(`INSERT INTO usage (call_id, started_at, tenant, key_id, model, data_class, outcome, attempts, input_tokens, output_tokens,
    cached_input_tokens, reasoning_tokens, estimated, duration_ms) VALUES (?, ?, ?, '', ?, '', 'ok', 1, 7, 0, 0, 0, 0, 0)`)
    .run(row.callId, row.startedAt.getTime(), row.tenant, row.model)
  old.close()
  const store = openSqlite(path)
  t.teardown(() => store.close())
  await store.usage.append([row])
  const [total, ...others] = await store.usage.totals({ from: row.startedAt, until: new Date(row.startedAt.getTime() + 1) })
  t.match(total, { tenant: row.tenant, calls: 1, inputTokens: 7 })
  t.same(others, [])
})

test('a file of each earlier version opens, keeps its keys and takes what is new', async t => {
  for (let version = 1; version <= SQLITE_MIGRATIONS.length; version++) {
    const path = join(t.testdir(), `${version}.db`)
    const db = new DatabaseSync(path)
    db.exec('CREATE TABLE migrations (id INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT')
    for (const migration of SQLITE_MIGRATIONS.slice(0, version)) {
      db.exec(migration.sql)
      db.prepare('INSERT INTO migrations VALUES (?, ?, ?, ?)').run(migration.id, migration.name, checksumOf(migration), 0)
    }
    db.exec("INSERT INTO keys VALUES ('one', 'acme', 'test', 'inference', '', 0, NULL, NULL)")
    db.close()
    const store = openSqlite(path)
    t.match(await store.keys.find('one'), { tenant: 'acme' }, `version ${version}`)
    const turn = { tenant: 'acme', keyHash: 'h', callId: 'c', fingerprint: 'f', createdAt: new Date(0), expiresAt: new Date(1) }
    t.equal(await store.answers.begin(turn, 1), null)
    t.equal(await store.files.usedBytes('acme'), 0)
    t.strictSame(await store.batches.list('acme', { after: null, most: 1 }), [])
    t.equal(await store.responses.find('acme', 'resp', new Date()), null)
    await store.close()
  }
})

test('a file of a newer version is refused and left alone', async t => {
  const path = join(t.testdir(), 'torchgate.db')
  await openSqlite(path, { migrations: [...known, next] }).close()
  t.throws(() => openSqlite(path), { message: new RegExp(`torchgate\\.db.*Migration ${next.id} "notes" was applied by a newer version.*knows ${known.length}`) })
  await openSqlite(path, { migrations: [...known, next] }).close()
})

test('a migration that changed after its release is refused', async t => {
  const path = join(t.testdir(), 'torchgate.db')
  await openSqlite(path).close()
  const changed = { ...first, sql: first.sql.replace('key_id TEXT NOT NULL', 'key_id TEXT') }
  t.not(changed.sql, first.sql)
  t.throws(() => openSqlite(path, { migrations: [changed, ...known.slice(1)] }), { message: /Migration 1 "keys and usage" was applied with other statements/ })
})

test('a migration that fails leaves nothing behind', async t => {
  const path = join(t.testdir(), 'torchgate.db')
  const broken = { id: next.id, name: 'broken', sql: 'CREATE TABLE half (a TEXT); INSERT INTO nowhere VALUES (1)' }
  t.throws(() => openSqlite(path, { migrations: [...known, broken] }), { message: /no such table: nowhere/ })
  const db = new DatabaseSync(path)
  t.strictSame(db.prepare('SELECT name FROM sqlite_schema').all(), [])
  db.close()
  await openSqlite(path).close()
})

test('opening waits for another process that has the file for itself', async t => {
  const folder = t.testdir()
  const path = join(folder, 'torchgate.db')
  const script = join(folder, 'hold.ts')
  writeFileSync(script, `
    import { DatabaseSync } from 'node:sqlite'
    const db = new DatabaseSync(${JSON.stringify(path)})
    db.exec('CREATE TABLE other (a); BEGIN EXCLUSIVE')
    process.stdout.write('locked')
    setTimeout(() => db.exec('COMMIT'), 300)
  `)
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(child, 'exit')
  await once(child.stdout, 'data')
  const store = openSqlite(path, { busyTimeoutMs: 1 })
  t.teardown(() => store.close())
  t.strictSame(await store.keys.list(), [])
  t.strictSame(await exit, [0, null])
})

test('several processes open a new file at the same time and write to it', async t => {
  const folder = t.testdir()
  const script = join(folder, 'open.ts')
  writeFileSync(script, `
    import { openSqlite } from ${source('../../src/store/sqlite.ts')}
    import { keyRow, usageRow } from ${source('./rows.ts')}
    const [path, at, id] = process.argv.slice(2)
    while (Date.now() < Number(at));
    const store = openSqlite(path)
    await store.keys.insert(keyRow({ id }))
    for (let i = 0; i < 20; i++) await store.usage.append([usageRow({ callId: id + i })])
    await store.close()
  `)
  const path = join(folder, 'torchgate.db')
  const at = String(Date.now() + 1000)
  const exits = await Promise.all(['a', 'b', 'c', 'd', 'e'].map(async id => {
    const child = spawn(process.execPath, [script, path, at, id], { stdio: 'inherit' })
    return (await once(child, 'exit'))[0] as number
  }))
  t.strictSame(exits, [0, 0, 0, 0, 0])
  const store = openSqlite(path)
  t.teardown(() => store.close())
  t.equal((await store.keys.list()).length, 5)
  t.match(await store.usage.totals(EVER), [{ calls: 100 }])
})

function source (name: string): string {
  return JSON.stringify(fileURLToPath(new URL(name, import.meta.url)))
}
