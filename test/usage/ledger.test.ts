import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { test } from 'tap'
import { openSqlite } from '../../src/store/sqlite.ts'
import { createLedger } from '../../src/usage/ledger.ts'
import { EVER, usageRow } from '../store/rows.ts'
import { callRecord, surroundings } from './surroundings.ts'

const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, index) => String(from + index))

test('a call is in the store after a moment, without being asked for', async t => {
  const { usage, start, told } = surroundings(t)
  const ledger = start()
  ledger.record(callRecord({ id: '1' }))
  t.equal(usage.asked, 0, 'the caller does not wait for the store')
  ledger.record(callRecord({ id: '2' }))
  await until(() => usage.ids().length === 2)
  t.strictSame(usage.batches, [['1', '2']])
  t.strictSame(told, [])
})

test('calls that nobody made are not kept', async t => {
  const { usage, start } = surroundings(t)
  const ledger = start()
  ledger.record(callRecord({ tenant: null, keyId: null }))
  await ledger.flush()
  t.equal(usage.asked, 0)
})

test('ten thousand calls arrive in order, each once, in whole batches', async t => {
  const { usage, start, told } = surroundings(t)
  const ledger = start()
  for (const id of numbers(10_000)) ledger.record(callRecord({ id }))
  t.equal(usage.asked, 0)
  await ledger.flush()
  t.strictSame(usage.ids(), numbers(10_000))
  t.equal(usage.batches.length, 25)
  t.match(await usage.totals(EVER), [{ calls: 10_000, inputTokens: 100_000 }])
  t.strictSame(told, [])
})

test('a busy gateway writes batches, not single rows', async t => {
  const { usage, start } = surroundings(t, { maxRows: 50 })
  const ledger = start()
  const ends = performance.now() + 200
  let count = 0
  while (performance.now() < ends) {
    for (let call = 0; call < 5; call++) ledger.record(callRecord({ id: String(count++) }))
    await new Promise(resolve => setImmediate(resolve))
  }
  await ledger.flush()
  t.strictSame(usage.ids(), numbers(count))
  t.ok(usage.batches.length < count / 25 + 20, `${usage.batches.length} batches of ${count} calls`)
})

test('a flush ends although calls keep coming', async t => {
  const { usage, start } = surroundings(t)
  const ledger = start()
  ledger.record(callRecord({ id: 'first' }))
  const progress = { turns: 0, flushed: false }
  const flush = ledger.flush().finally(() => { progress.flushed = true })
  while (!progress.flushed && progress.turns < 1000) {
    ledger.record(callRecord({ id: String(progress.turns++) }))
    await new Promise(resolve => setImmediate(resolve))
  }
  t.ok(progress.turns < 1000, `${progress.turns} turns`)
  await flush
  t.ok(usage.ids().includes('first'))
})

test('while the store fails rows wait in order and are tried again with growing pauses', async t => {
  const { usage, start, told } = surroundings(t)
  const ledger = start()
  usage.fails = true
  for (const id of numbers(700)) ledger.record(callRecord({ id }))
  await until(() => told.length === 3)
  t.match(told[2], { code: 'internal_error', message: '700 usage rows wait: the store failed 3 times in a row.', cause: { message: 'disk full' } })
  for (const id of numbers(1000, 700)) ledger.record(callRecord({ id }))
  await pause(30)
  t.equal(usage.asked, 3, 'a full batch does not cut the pause short')
  usage.fails = false
  await until(() => usage.ids().length === 1700)
  t.strictSame(usage.ids(), numbers(1700))
  t.match(await usage.totals(EVER), [{ calls: 1700 }])
})

test('a flush while the store fails ends, and tells', async t => {
  const { usage, start, told } = surroundings(t)
  const ledger = start({ flushMs: 10_000 })
  usage.fails = true
  ledger.record(callRecord())
  await ledger.flush()
  await ledger.flush()
  t.equal(told.length, 2)
  usage.fails = false
  await ledger.flush()
  t.strictSame(usage.ids(), ['call'])
})

test('what does not fit in memory goes to disk, oldest first, and comes back once the store does', async t => {
  const { usage, start, told, spool } = surroundings(t, { maxBacklog: 3000 })
  const ledger = start({ flushMs: 5 })
  await ledger.flush()
  usage.fails = true
  for (const id of numbers(3000)) ledger.record(callRecord({ id }))
  t.strictSame(piecesOf(spool), [], 'not before memory is full')
  for (const id of numbers(4001, 3000)) ledger.record(callRecord({ id }))
  const pieces = piecesOf(spool)
  t.equal(pieces.length, 3)
  t.match(pieces[0], /^usage-spool\.\d{15}-[0-9a-f-]{36}\.jsonl$/)
  const spooled = pieces.flatMap(piece => readFileSync(join(dirname(spool), piece), 'utf8').trim().split('\n')).map(line => JSON.parse(line).callId)
  t.strictSame(new Set(spooled), new Set(numbers(6000)), 'the oldest')
  t.equal(statSync(join(dirname(spool), pieces[0] ?? '')).mode & 0o777, 0o600)
  t.equal(told.filter(error => error.message === `More than 3000 usage rows wait for the store: 2000 went to ${spool}.`).length, 3)
  usage.fails = false
  await until(() => piecesOf(spool).length === 0)
  await ledger.flush()
  t.match(await usage.totals(EVER), [{ calls: 7001 }])
})

test('rows that are lost are told of', async t => {
  const { usage, start, messages, spool, folder } = surroundings(t, { maxBacklog: 10, maxRows: 5 })
  writeFileSync(join(folder, 'data'), 'a file where a folder should be')
  const ledger = start()
  usage.fails = true
  for (const id of numbers(11)) ledger.record(callRecord({ id }))
  t.match(messages(), [`More than 10 usage rows wait for the store: 11 were lost, because ${spool} cannot be written.`])
  usage.fails = false
  ledger.record(callRecord({ id: 'later' }))
  await ledger.flush()
  t.strictSame(usage.ids(), ['later'])
})

test('the spool does not fill the disk', async t => {
  const { usage, start, told, spool } = surroundings(t, { maxBacklog: 10, maxSpoolBytes: 6000 })
  const ledger = start()
  usage.fails = true
  for (const id of numbers(33)) ledger.record(callRecord({ id }))
  t.equal(piecesOf(spool).length, 1)
  const lost = told.filter(error => error.message.includes('11 were lost'))
  t.equal(lost.length, 2)
  t.match(lost[0], { cause: { message: /at most 6000 are allowed/ } })
})

test('a process killed between spooling and replay loses nothing that was spooled, and counts nothing twice', async t => {
  const folder = t.testdir()
  const script = join(folder, 'killed.ts')
  const spool = join(folder, 'usage-spool.jsonl')
  writeFileSync(script, `
    import { createLedger } from ${source('../../src/usage/ledger.ts')}
    import { callRecord } from ${source('./surroundings.ts')}
    const away = { append: async () => { throw new Error('away') } }
    const ledger = createLedger(away, { spool: ${JSON.stringify(spool)}, onError: () => {}, maxBacklog: 99 })
    for (let id = 0; id < 300; id++) ledger.record(callRecord({ id: String(id) }))
    process.kill(process.pid, 'SIGKILL')
  `)
  const child = spawn(process.execPath, [script], { stdio: 'inherit' })
  t.strictSame(await once(child, 'exit'), [null, 'SIGKILL'])
  const [piece, ...more] = piecesOf(spool)
  t.equal(more.length, 2)

  // One whose rows had reached the store when the process died, before the file was removed.
  const store = openSqlite(':memory:')
  const lines = readFileSync(join(folder, piece ?? ''), 'utf8').trim().split('\n')
  await store.usage.append(lines.map(line => usageRow({ callId: JSON.parse(line).callId })))

  const ledger = createLedger(store.usage, { spool, onError: error => { throw error }, flushMs: 10 })
  t.teardown(() => ledger.close())
  await until(() => piecesOf(spool).length === 0)
  t.match(sum(await store.usage.totals(EVER)), 300)
})

test('two processes that replay one file count it once', async t => {
  const { usage, start, told, spool } = surroundings(t, { maxBacklog: 10 })
  const first = start()
  usage.fails = true
  for (const id of numbers(11)) first.record(callRecord({ id }))
  usage.fails = false
  told.length = 0
  const second = start()
  await Promise.all([first.flush(), second.flush()])
  t.match(await usage.totals(EVER), [{ calls: 11 }])
  t.strictSame(piecesOf(spool), [])
  t.strictSame(told, [])
})

test('a damaged line is put aside and told of, the rest is kept', async t => {
  const { usage, start, messages, spool } = surroundings(t)
  mkdirSync(dirname(spool))
  const piece = join(dirname(spool), 'usage-spool.000001700000000-x.jsonl')
  writeFileSync(piece, `${JSON.stringify(usageRow({ callId: '1' }))}\n{"callId":"2","ten\n\n${JSON.stringify(usageRow({ callId: '3' }))}`)
  const ledger = start()
  await ledger.flush()
  t.strictSame(usage.ids(), ['1', '3'])
  t.strictSame(messages(), [`1 lines of ${piece}.rejected are no usage rows; the other 2 were added.`])
  t.strictSame(readdirSync(dirname(spool)), ['usage-spool.000001700000000-x.jsonl.rejected'])
})

test('a spool that cannot be replayed does not hold up new calls', async t => {
  const { usage, start, told, spool } = surroundings(t)
  mkdirSync(join(dirname(spool), 'usage-spool.folder.jsonl'), { recursive: true })
  const ledger = start()
  for (const id of numbers(3)) {
    ledger.record(callRecord({ id }))
    await ledger.flush()
  }
  t.strictSame(usage.ids(), numbers(3))
  t.equal(told.length, 1, 'and is tried again after a pause')
  t.match(told[0], { message: `Spooled usage rows (${spool}) could not be added to the store.`, cause: { code: 'EISDIR' } })
  await until(() => told.length === 2)
})

test('other files in the folder are left alone', async t => {
  const { usage, start, spool } = surroundings(t)
  mkdirSync(dirname(spool))
  const others = ['usage-spool.jsonl.bak', 'usage-spool.1-x.jsonl.draft', 'torchgate.db', 'usage-spool.1-x.jsonl.rejected']
  for (const name of others) writeFileSync(join(dirname(spool), name), JSON.stringify(usageRow({ callId: name })))
  await start().flush()
  t.equal(usage.asked, 0)
  t.strictSame(readdirSync(dirname(spool)), others.toSorted())
})

test('closing writes what waits', async t => {
  const { usage, start } = surroundings(t)
  const ledger = start({ flushMs: 60_000 })
  for (const id of numbers(1200)) ledger.record(callRecord({ id }))
  await Promise.all([ledger.close(), ledger.close()])
  t.strictSame(usage.ids(), numbers(1200))
})

test('closing while the store fails spools what waits', async t => {
  const { usage, start, spool, messages } = surroundings(t)
  const ledger = start({ flushMs: 60_000 })
  usage.fails = true
  for (const id of numbers(2500)) ledger.record(callRecord({ id }))
  await ledger.close()
  t.equal(piecesOf(spool).length, 2)
  t.match(messages().at(-1), /^The ledger closes and the store is away: 500 went to /)
  usage.fails = false
  await start().flush()
  t.match(await usage.totals(EVER), [{ calls: 2500 }])
})

test('closing does not wait for ever for a store that hangs', async t => {
  const { usage, start } = surroundings(t)
  const ledger = start({ closeMs: 50, maxRows: 10 })
  usage.hangs = true
  for (const id of numbers(15)) ledger.record(callRecord({ id }))
  await until(() => usage.asked === 1)
  await ledger.close()
  usage.hangs = false
  await start().flush()
  t.match(await usage.totals(EVER), [{ calls: 15 }], 'those on their way too')
})

test('a call that ends after closing is spooled', async t => {
  const { usage, start, spool } = surroundings(t)
  const ledger = start()
  await ledger.close()
  ledger.record(callRecord({ id: 'late' }))
  t.equal(piecesOf(spool).length, 1)
  await start().flush()
  t.strictSame(usage.ids(), ['late'])
})

test('a record of the wrong shape is told of and holds up no other', async t => {
  const { usage, start, messages } = surroundings(t)
  const ledger = start()
  ledger.record(callRecord({ id: 'bad', model: 7 as unknown as string }))
  ledger.record(callRecord({ id: 'good' }))
  await ledger.flush()
  t.strictSame(usage.ids(), ['good'])
  t.strictSame(messages(), ['The call bad gives no usage row: a value has the wrong type.'])
})

test('a ledger alone keeps no process alive', async t => {
  const folder = t.testdir()
  const script = join(folder, 'idle.ts')
  writeFileSync(script, `
    import { createLedger } from ${source('../../src/usage/ledger.ts')}
    import { callRecord } from ${source('./surroundings.ts')}
    const ledger = createLedger({ append: async () => {} }, { spool: ${JSON.stringify(join(folder, 's.jsonl'))}, onError: () => {}, flushMs: 60_000 })
    ledger.record(callRecord())
  `)
  const child = spawn(process.execPath, [script], { stdio: 'inherit' })
  t.strictSame(await once(child, 'exit', { signal: AbortSignal.timeout(20_000) }), [0, null])
})

function piecesOf (spool: string): string[] {
  try {
    return readdirSync(dirname(spool)).filter(name => /^usage-spool\.[^.]+\.jsonl$/.test(name)).toSorted()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

async function until (condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within 5 s: ${condition}`)
    await pause(2)
  }
}

function sum (totals: readonly { calls: number }[]): number {
  return totals.reduce((calls, total) => calls + total.calls, 0)
}

function source (name: string): string {
  return JSON.stringify(fileURLToPath(new URL(name, import.meta.url)))
}
