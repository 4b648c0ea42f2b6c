import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { openSqlite } from '../../src/store/sqlite.ts'
import { batchContract, newBatch } from '../conformance/batches.ts'

batchContract('sqlite', async t => openSqlite(join(t.testdir(), 'torchgate.db')))

test('what the answers of an ended batch said is overwritten', async t => {
  const path = join(t.testdir(), 'torchgate.db')
  const store = openSqlite(path)
  const { batches } = store
  const now = new Date()
  const lease = { owner: 'a', now, until: new Date(now.getTime() + 10_000) }
  await batches.insert(newBatch({ expiresAt: lease.until }), 1)
  await batches.leaseBatch(lease)
  await batches.addLines('batch_1', 'a', [{ line: 1, place: 0, customId: 'c', model: 'm', byteOffset: 0, byteLength: 1 }])
  await batches.begin('batch_1', 'a', now, { total: 1, model: 'm' })
  const [line] = await batches.leaseLines('batch_1', lease, { most: 1, exceptModels: [] })
  await batches.answer(line!, 'a', { state: 'completed', answer: 'the word is marzipan', usage: { input: 0, cachedInput: 0, output: 0, reasoning: 0 } })
  await batches.leaseBatch(lease)
  await batches.finish('batch_1', 'a', now, { status: 'completed', output: null, errors: null })
  await batches.clearLines('batch_1', 10)
  await store.close()
  t.notMatch(readFileSync(path, 'latin1'), 'marzipan')
})
