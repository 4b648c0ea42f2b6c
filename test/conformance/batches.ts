import { test, type Test } from 'tap'
import type { BatchRow, FileRow, Lease, NewBatch, NewLine, Store } from '../../src/store/store.ts'

const at = (ms: number) => new Date(1_700_000_000_000 + ms)
const lease = (owner: string, ms = 0, forMs = 100): Lease => ({ owner, now: at(ms), until: at(ms + forMs) })
const NOTHING = { input: 0, cachedInput: 0, output: 0, reasoning: 0 }
const USED = { input: 5, cachedInput: 1, output: 3, reasoning: 2 }

export function fileRow (row: Partial<FileRow> = {}): FileRow {
  return { id: 'file-1', tenant: 'acme', purpose: 'batch', filename: 'Zoë ☃.jsonl', bytes: 10, dataClass: 'internal', createdAt: at(0), expiresAt: at(10_000), ...row }
}

export function newBatch (row: Partial<NewBatch> = {}): NewBatch {
  return {
    id: 'batch_1', tenant: 'acme', keyId: 'key', endpoint: '/v1/embeddings', inputFileId: 'file-1', dataClass: 'internal', metadata: '{"a":"b"}',
    outputLastsS: 3600, createdAt: at(0), expiresAt: at(10_000), ...row
  }
}

const newLines = (count: number, model = (_at: number) => 'm'): NewLine[] => Array.from({ length: count }, (_, index) => ({
  line: index + 1, place: count - index - 1, customId: `c${index + 1}`, model: model(index), byteOffset: index * 10, byteLength: 9
}))

/**
 * What every store keeps of files and batches. Called once per implementation.
 * @param open gives a new, empty store; the suite closes it
 */
export function batchContract (name: string, open: (t: Test) => Promise<Store>): void {
  const opened = async (t: Test): Promise<Store> => {
    const store = await open(t)
    t.teardown(() => store.close())
    return store
  }
  const begun = async (t: Test, count = 3, model?: (at: number) => string) => {
    const { batches } = await opened(t)
    await batches.insert(newBatch(), 1)
    await batches.leaseBatch(lease('a'))
    t.equal(await batches.addLines('batch_1', 'a', newLines(count, model)), true)
    t.equal(await batches.begin('batch_1', 'a', at(1), { total: count, model: 'm' }), true)
    const next = async (by: Lease, more = {}) => (await batches.leaseLines('batch_1', by, { most: 1, exceptModels: [], ...more }))[0]
    return { batches, next }
  }

  test(`${name}: a file comes back as it was put in, to its own tenant, until it expires`, async t => {
    const { files } = await opened(t)
    t.equal(await files.insert(fileRow(), { files: 1, bytes: 10 }), true)
    t.strictSame(await files.find('acme', 'file-1', at(9999)), fileRow())
    t.equal(await files.find('acme', 'file-1', at(10_000)), null)
    t.equal(await files.find('other', 'file-1', at(0)), null)
    t.equal(await files.delete('other', 'file-1'), 'missing')
    t.equal(await files.usedBytes('acme'), 10)
    t.equal(await files.delete('acme', 'file-1'), 'deleted')
    t.equal(await files.usedBytes('acme'), 0)
  })

  test(`${name}: a tenant has no more files, and no more bytes, than it may`, async t => {
    const { files } = await opened(t)
    t.equal(await files.insert(fileRow(), { files: 2, bytes: 25 }), true)
    t.equal(await files.insert(fileRow({ id: 'file-2', bytes: 16 }), { files: 2, bytes: 25 }), false)
    t.equal(await files.insert(fileRow({ id: 'file-2', bytes: 15 }), { files: 2, bytes: 25 }), true)
    t.equal(await files.insert(fileRow({ id: 'file-3', bytes: 0 }), { files: 2, bytes: 25 }), false)
    t.equal(await files.insert(fileRow({ id: 'file-3', tenant: 'other' }), { files: 2, bytes: 25 }), true)
    t.same(await files.known(['file-1', 'file-3', 'nothing']), new Set(['file-1', 'file-3']))
  })

  test(`${name}: files are listed in the order of time, from anywhere`, async t => {
    const { files } = await opened(t)
    for (const [index, id] of ['b', 'a', 'c', 'd'].entries()) {
      await files.insert(fileRow({ id, createdAt: at(Math.floor(index / 2)), purpose: id === 'c' ? 'vision' : 'batch' }), { files: 9, bytes: 999 })
    }
    const ids = async (more: object) => (await files.list('acme', { after: null, most: 9, purpose: null, ascending: false, now: at(0), ...more })).map(({ id }) => id)
    t.strictSame(await ids({}), ['d', 'c', 'b', 'a'])
    t.strictSame(await ids({ ascending: true, most: 3 }), ['a', 'b', 'c'])
    t.strictSame(await ids({ after: 'c' }), ['b', 'a'])
    t.strictSame(await ids({ after: 'a', ascending: true }), ['b', 'c', 'd'])
    t.strictSame(await ids({ purpose: 'vision' }), ['c'])
    t.strictSame(await ids({ after: 'nothing' }), [])
    t.strictSame(await ids({ now: at(10_000) }), [])
  })

  test(`${name}: a file that a batch reads is neither deleted nor swept`, async t => {
    const { files, batches } = await opened(t)
    await files.insert(fileRow(), { files: 9, bytes: 99 })
    await files.insert(fileRow({ id: 'file-2' }), { files: 9, bytes: 99 })
    await batches.insert(newBatch(), 1)
    t.equal(await files.delete('acme', 'file-1'), 'in_use')
    t.equal(await files.delete('other', 'file-1'), 'missing', 'others do not even hear of it')
    t.strictSame(await files.sweep(at(10_000), 9), ['file-2'])
    await batches.leaseBatch(lease('a'))
    await batches.fail('batch_1', 'a', at(1), '[]')
    t.strictSame(await files.sweep(at(10_000), 9), ['file-1'])
  })

  test(`${name}: a batch is its tenant's alone, and a tenant has a bounded number at once`, async t => {
    const { batches } = await opened(t)
    t.equal(await batches.insert(newBatch(), 1), true)
    t.equal(await batches.insert(newBatch({ id: 'batch_2' }), 1), false)
    t.equal(await batches.insert(newBatch({ id: 'batch_3', tenant: 'other', metadata: null, outputLastsS: null }), 1), true)
    const fresh: BatchRow = {
      ...newBatch(), status: 'validating', inProgressAt: null, finalizingAt: null, cancellingAt: null, endedAt: null, model: null, errors: null,
      outputFileId: null, errorFileId: null, total: 0, completed: 0, failed: 0, usage: NOTHING
    }
    t.strictSame(await batches.find('acme', 'batch_1'), fresh)
    t.equal(await batches.find('other', 'batch_1'), null)
    t.equal(await batches.cancel('other', 'batch_1', at(1)), null)
    await batches.insert(newBatch({ id: 'batch_4', createdAt: at(5) }), 9)
    t.strictSame((await batches.list('acme', { after: null, most: 9 })).map(({ id }) => id), ['batch_4', 'batch_1'])
    t.strictSame((await batches.list('acme', { after: 'batch_4', most: 9 })).map(({ id }) => id), ['batch_1'])
  })

  test(`${name}: one owner at a time has a batch, and what another one writes counts not`, async t => {
    const { batches } = await opened(t)
    await batches.insert(newBatch(), 1)
    t.equal((await batches.leaseBatch(lease('a')))?.id, 'batch_1')
    t.equal(await batches.leaseBatch(lease('b', 99)), null)
    await batches.renew(lease('a', 90), { batches: ['batch_1'], lines: [] })
    t.equal(await batches.leaseBatch(lease('b', 189)), null)
    t.equal((await batches.leaseBatch(lease('b', 190)))?.id, 'batch_1', 'the lease has run out')
    t.equal(await batches.addLines('batch_1', 'a', newLines(1)), false)
    t.equal(await batches.begin('batch_1', 'a', at(1), { total: 1, model: null }), false)
    t.equal(await batches.fail('batch_1', 'a', at(1), '[]'), false)
    await batches.renew(lease('a', 200, 10_000), { batches: ['batch_1'], lines: [] })
    await batches.releaseBatch('batch_1', 'a')
    t.equal(await batches.leaseBatch(lease('c', 200)), null)
    t.equal(await batches.addLines('batch_1', 'b', newLines(3)), true)
    t.equal(await batches.clearLines('batch_1', 2), 2)
    t.equal(await batches.clearLines('batch_1', 2), 1)
    await batches.releaseBatch('batch_1', 'b')
    t.equal((await batches.leaseBatch(lease('c', 200)))?.id, 'batch_1')
  })

  test(`${name}: lines are handed out in their order, each to one owner`, async t => {
    const { batches, next } = await begun(t, 4, index => index === 2 ? 'other' : 'm')
    t.strictSame((await batches.running(at(1), 9)).map(({ id, status, total }) => [id, status, total]), [['batch_1', 'in_progress', 4]])
    t.strictSame(await next(lease('a')), { batchId: 'batch_1', line: 4, place: 0, customId: 'c4', model: 'm', byteOffset: 30, byteLength: 9, tries: 0 })
    t.equal((await next(lease('b'), { exceptModels: ['other'] }))?.line, 2)
    t.equal((await next(lease('a')))?.line, 3)
    t.equal((await next(lease('b')))?.line, 1)
    t.equal(await next(lease('a', 99)), undefined)
    t.strictSame((await batches.running(at(10_000), 9)), [], 'its time is over')
  })

  test(`${name}: a line has one answer, that of its owner`, async t => {
    const { batches, next } = await begun(t, 2)
    const line = (await next(lease('a')))!
    const answer = (text: string) => ({ state: 'completed' as const, answer: text, usage: USED })
    t.equal(await batches.answer(line, 'b', answer('no')), false)
    const again = (await next(lease('b', 100)))!
    t.match(again, { line: line.line, tries: 1 }, 'its owner was lost, which counts as a try')
    t.equal(await batches.answer(line, 'a', answer('too late')), false)
    await batches.release(line, 'a', { notBefore: at(0), isTry: true })
    await batches.renew(lease('a', 100, 10_000), { batches: [], lines: [line] })
    t.equal(await batches.answer(line, 'b', answer('yes')), true)
    t.equal(await batches.answer(line, 'b', answer('twice')), false)
    t.match(await batches.find('acme', 'batch_1'), { completed: 1, failed: 0, usage: USED })
    t.strictSame(await batches.lines('batch_1', 0, 9), [
      { line: 1, customId: 'c1', state: 'pending', answer: null },
      { line: 2, customId: 'c2', state: 'completed', answer: 'yes' }
    ])
    t.strictSame((await batches.lines('batch_1', 1, 9)).map(each => each.line), [2])
    t.strictSame((await batches.lines('batch_1', 0, 1)).map(each => each.line), [1])
  })

  test(`${name}: a line that was given back is handed out later`, async t => {
    const { batches, next } = await begun(t, 1)
    const line = (await next(lease('a')))!
    await batches.release(line, 'a', { notBefore: at(50), isTry: true })
    t.equal(await next(lease('a', 49)), undefined)
    t.match(await next(lease('a', 50)), { line: 1, tries: 1 })
    await batches.release(line, 'a', { notBefore: at(0), isTry: false })
    t.match(await next(lease('b', 50)), { tries: 1 })
    await batches.renew(lease('b', 140), { batches: [], lines: [line] })
    t.equal(await next(lease('a', 239)), undefined, 'a lease that is renewed goes on')
    t.match(await next(lease('a', 240)), { tries: 2 })
  })

  test(`${name}: a batch is finished when all is answered`, async t => {
    const { batches, next } = await begun(t, 2)
    t.equal(await batches.leaseBatch(lease('a', 1)), null)
    for (const state of ['completed', 'failed'] as const) await batches.answer((await next(lease('a')))!, 'a', { state, answer: state, usage: NOTHING })
    const finishing = await batches.leaseBatch(lease('a', 2))
    t.match(finishing, { status: 'finalizing', finalizingAt: at(2), total: 2, completed: 1, failed: 1 })
    const [output, errors] = [fileRow({ id: 'file-out' }), fileRow({ id: 'file-err' })]
    t.equal(await batches.finish('batch_1', 'b', at(3), { status: 'completed', output, errors }), false)
    t.equal(await batches.finish('batch_1', 'a', at(3), { status: 'completed', output, errors }), true)
    t.equal(await batches.finish('batch_1', 'a', at(3), { status: 'completed', output: null, errors: null }), false)
    t.match(await batches.find('acme', 'batch_1'), { status: 'completed', endedAt: at(3), outputFileId: 'file-out', errorFileId: 'file-err' })
    t.equal(await batches.leaseBatch(lease('a', 500)), null)
    t.match(await batches.cancel('acme', 'batch_1', at(4)), { status: 'completed', cancellingAt: null })
    t.equal(await batches.sweep(at(3), 1), 1, 'its lines first')
    t.equal(await batches.sweep(at(2), 9), 1)
    t.ok(await batches.find('acme', 'batch_1'))
    t.equal(await batches.sweep(at(3), 9), 1)
    t.equal(await batches.find('acme', 'batch_1'), null)
  })

  test(`${name}: a batch that is cancelled starts nothing more, and is finished when nothing is under way`, async t => {
    const { batches, next } = await begun(t, 3)
    const line = (await next(lease('a')))!
    t.match(await batches.cancel('acme', 'batch_1', at(5)), { status: 'cancelling', cancellingAt: at(5) })
    t.match(await batches.cancel('acme', 'batch_1', at(6)), { status: 'cancelling', cancellingAt: at(5) })
    t.equal(await next(lease('a', 5)), undefined)
    t.equal(await batches.leaseBatch(lease('b', 6)), null)
    t.equal(await batches.answer(line, 'a', { state: 'completed', answer: 'x', usage: USED }), true)
    t.match(await batches.leaseBatch(lease('b', 7)), { status: 'cancelling', completed: 1 })
    t.equal(await batches.finish('batch_1', 'b', at(8), { status: 'cancelled', output: null, errors: null }), true)
    t.match(await batches.find('acme', 'batch_1'), { status: 'cancelled', completed: 1, failed: 2 })
  })

  test(`${name}: a batch whose time is over is finished as it is`, async t => {
    const { batches, next } = await begun(t, 3)
    await next(lease('a', 9950))
    t.equal(await batches.leaseBatch(lease('b', 10_000)), null, 'what is under way ends first')
    t.match(await batches.leaseBatch(lease('b', 10_050)), { status: 'finalizing' })
    t.equal(await next(lease('a', 10_060)), undefined)
  })
}
