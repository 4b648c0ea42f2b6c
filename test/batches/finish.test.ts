import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { finish } from '../../src/batches/finish.ts'
import { Files } from '../../src/files/files.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import type { Lease } from '../../src/store/store.ts'
import { newBatch } from '../conformance/batches.ts'

function open (t: Test) {
  const dir = t.testdir()
  const store = openSqlite(join(dir, 'torchgate.db'))
  const folder = join(dir, 'files')
  const files = new Files({ store: store.files, folder, maxBytes: 1000, perTenantBytes: 1, perTenant: 1, retentionHours: 2, onError: error => { throw error } })
  t.teardown(async () => { await files.close(); await store.close() })
  const now = new Date()
  const lease: Lease = { owner: 'a', now, until: new Date(now.getTime() + 10_000) }
  const said: string[] = []
  const parts = { store: store.batches, files, owner: 'a', onStatus: ({ status }: { status: string }) => { said.push(status) } }
  return { parts, store, lease, said, batches: store.batches, names: () => readdirSync(folder) }
}

const line = (at: number) => ({ line: at, place: at, customId: `c${at}`, model: 'm', byteOffset: 0, byteLength: 1 })

test('a batch that was cancelled while it was checked has no requests and no files', async t => {
  const { parts, batches, lease, said, names } = open(t)
  await batches.insert(newBatch({ createdAt: lease.now, expiresAt: lease.until }), 1)
  await batches.leaseBatch(lease)
  await batches.addLines('batch_1', 'a', [line(1), line(2)])
  await batches.cancel('acme', 'batch_1', lease.now)
  t.equal(await batches.begin('batch_1', 'a', lease.now, { total: 2, model: 'm' }), false)
  await batches.releaseBatch('batch_1', 'a')
  await finish(parts, (await batches.leaseBatch(lease))!, AbortSignal.timeout(5000))
  t.match(await batches.find('acme', 'batch_1'), { status: 'cancelled', total: 0, failed: 0, outputFileId: null, errorFileId: null })
  t.strictSame([said, names(), await batches.lines('batch_1', 0, 9)], [['cancelled'], [], []])
})

test('who loses the batch while writing its files leaves none; who has it finishes it', async t => {
  const { parts, batches, lease, said, names, store } = open(t)
  await batches.insert(newBatch({ createdAt: lease.now, expiresAt: lease.until }), 1)
  await batches.leaseBatch(lease)
  await batches.addLines('batch_1', 'a', [line(1), line(2)])
  await batches.begin('batch_1', 'a', lease.now, { total: 2, model: 'm' })
  for (const state of ['completed', 'failed'] as const) {
    const [next] = await batches.leaseLines('batch_1', lease, { most: 1, exceptModels: [] })
    await batches.answer(next!, 'a', { state, answer: `{"${state}":1}`, usage: { input: 0, cachedInput: 0, output: 0, reasoning: 0 } })
  }
  const batch = (await batches.leaseBatch(lease))!
  await finish({ ...parts, owner: 'b' }, batch, AbortSignal.timeout(5000))
  t.strictSame([said, names()], [[], []])
  await t.rejects(finish(parts, batch, AbortSignal.abort(new Error('stop'))), { message: 'stop' })
  await finish(parts, batch, AbortSignal.timeout(5000))
  const done = (await batches.find('acme', 'batch_1'))!
  t.match(done, { status: 'completed', completed: 1, failed: 1 })
  t.same(new Set(names()), new Set([done.outputFileId, done.errorFileId]))
  t.match(await store.files.find('acme', done.outputFileId!, lease.now), { filename: 'batch_1_output.jsonl', purpose: 'batch_output', bytes: 16 })
  t.equal((await store.files.find('acme', done.errorFileId!, lease.now))!.expiresAt.getTime() - Date.now() < 3_600_001, true, 'as long as output_expires_after says')
})
