import { test, type Test } from 'tap'
import type { Store } from '../../src/store/store.ts'
import { EVER, keyRow, responseRow, usageRow } from '../store/rows.ts'

/**
 * What every store keeps. Called once per implementation.
 * @param open gives a new, empty store; the suite closes it
 */
export function storeContract (name: string, open: (t: Test) => Promise<Store>): void {
  const opened = async (t: Test): Promise<Store> => {
    const store = await open(t)
    t.teardown(() => store.close())
    return store
  }

  test(`${name}: a key comes back as it was put in`, async t => {
    const { keys } = await opened(t)
    const plain = keyRow({ id: 'aaaaaaaaaaaa' })
    const full = keyRow({
      id: 'AAAAAAAAAAAA',
      tenant: "o'brien; DROP TABLE keys",
      name: 'Zoë ☃ "laptop"',
      scopes: ['inference', 'admin'],
      expiresAt: new Date(1_900_000_000_123),
      revokedAt: new Date(1_800_000_000_456)
    })
    const none = keyRow({ id: 'bbbbbbbbbbbb', scopes: [] })
    for (const key of [plain, full, none]) await keys.insert(key)
    t.strictSame(await keys.find('aaaaaaaaaaaa'), plain)
    t.strictSame(await keys.find('AAAAAAAAAAAA'), full, 'ids differ by case')
    t.strictSame(await keys.find('bbbbbbbbbbbb'), none)
    t.equal(await keys.find("' OR 1=1 --"), null)
    t.equal(await keys.find(''), null)
  })

  test(`${name}: keys are listed oldest first`, async t => {
    const { keys } = await opened(t)
    t.strictSame(await keys.list(), [])
    await keys.insert(keyRow({ id: 'young', createdAt: new Date(2000) }))
    await keys.insert(keyRow({ id: 'old', createdAt: new Date(1000) }))
    t.strictSame((await keys.list()).map(key => key.id), ['old', 'young'])
  })

  test(`${name}: an id is taken only once`, async t => {
    const { keys } = await opened(t)
    await keys.insert(keyRow({ id: 'one', name: 'first' }))
    await t.rejects(keys.insert(keyRow({ id: 'one', name: 'second' })), { code: 'internal_error' })
    t.equal((await keys.find('one'))?.name, 'first')
  })

  test(`${name}: an invalid expiry is refused, not taken for none`, async t => {
    const { keys } = await opened(t)
    await t.rejects(keys.insert(keyRow({ id: 'one', expiresAt: new Date(NaN) })), { code: 'internal_error' })
    t.equal(await keys.find('one'), null)
  })

  test(`${name}: the first keys go in together, and only into a store that never had one`, async t => {
    const { keys } = await opened(t)
    await t.rejects(keys.insertFirst([keyRow({ id: 'one' }), keyRow({ id: 'one' })]))
    t.strictSame(await keys.list(), [], 'all or none')
    const both = await Promise.all([
      keys.insertFirst([keyRow({ id: 'one' }), keyRow({ id: 'two' })]),
      keys.insertFirst([keyRow({ id: 'three' })])
    ])
    t.equal(both.filter(Boolean).length, 1, 'one of two at the same time')
    for (const key of await keys.list()) await keys.revoke(key.id, new Date())
    t.equal(await keys.insertFirst([keyRow({ id: 'four' })]), false, 'revoked keys count')
    t.equal(await keys.find('four'), null)
  })

  test(`${name}: revoking twice keeps the first time`, async t => {
    const { keys } = await opened(t)
    await keys.insert(keyRow({ id: 'one' }))
    await keys.insert(keyRow({ id: 'two' }))
    t.equal(await keys.revoke('one', new Date(5000)), true)
    t.equal(await keys.revoke('one', new Date(9000)), true)
    t.equal(await keys.revoke('none', new Date(5000)), false)
    t.strictSame((await keys.find('one'))?.revokedAt, new Date(5000))
    t.equal((await keys.find('two'))?.revokedAt, null)
  })

  test(`${name}: usage sums up per tenant, model and target`, async t => {
    const { usage } = await opened(t)
    await usage.append([])
    await usage.append([
      usageRow({ callId: '1', tenant: 'b', model: 'chat', target: 'gpu/chat', inputTokens: 1, outputTokens: 10 }),
      usageRow({ callId: '2', tenant: 'a', model: 'code', target: 'gpu/code', inputTokens: 2, outputTokens: 20 }),
      usageRow({ callId: '3', tenant: 'a', model: 'chat', target: 'gpu/chat', inputTokens: 4, outputTokens: 40 }),
      usageRow({ callId: '4', tenant: 'a', model: 'chat', target: 'cloud/big', inputTokens: 8, outputTokens: 80 }),
      usageRow({ callId: '5', tenant: 'a', model: 'chat', target: 'gpu/chat', inputTokens: 16, outputTokens: 160 })
    ])
    const all = [
      { tenant: 'a', model: 'chat', target: 'cloud/big', calls: 1, inputTokens: 8, outputTokens: 80 },
      { tenant: 'a', model: 'chat', target: 'gpu/chat', calls: 2, inputTokens: 20, outputTokens: 200 },
      { tenant: 'a', model: 'code', target: 'gpu/code', calls: 1, inputTokens: 2, outputTokens: 20 },
      { tenant: 'b', model: 'chat', target: 'gpu/chat', calls: 1, inputTokens: 1, outputTokens: 10 }
    ]
    t.strictSame(await usage.totals(EVER), all)
    t.strictSame(await usage.totals({ ...EVER, tenant: 'a' }), all.slice(0, 3))
    t.strictSame(await usage.totals({ ...EVER, tenant: 'nobody' }), [])
  })

  test(`${name}: calls that nothing answered have totals too`, async t => {
    const { usage } = await opened(t)
    const none = { target: null, locality: null, firstTokenMs: null, errorCode: 'backend_timeout' }
    await usage.append([usageRow({ callId: '1', ...none }), usageRow({ callId: '2', ...none })])
    t.match(await usage.totals(EVER), [{ target: null, calls: 2 }])
  })

  test(`${name}: totals take the start of the span and leave its end`, async t => {
    const { usage } = await opened(t)
    await usage.append([999, 1000, 1001, 1999, 2000].map(at => usageRow({ callId: String(at), startedAt: new Date(at) })))
    t.match(await usage.totals({ from: new Date(1000), until: new Date(2000) }), [{ calls: 3 }])
    t.strictSame(await usage.totals({ from: new Date(2001), until: new Date(3000) }), [])
  })

  test(`${name}: a call that is there already counts once`, async t => {
    const { usage } = await opened(t)
    await usage.append([usageRow({ callId: '1', inputTokens: 7 }), usageRow({ callId: '2', inputTokens: 7 })])
    await usage.append([usageRow({ callId: '2', inputTokens: 100 }), usageRow({ callId: '3', inputTokens: 7 }), usageRow({ callId: '3', inputTokens: 7 })])
    t.match(await usage.totals(EVER), [{ calls: 3, inputTokens: 21 }])
  })

  test(`${name}: usage rows go in together or not at all`, async t => {
    const { usage } = await opened(t)
    const broken = { ...usageRow({ callId: '2' }), tenant: null as unknown as string }
    await t.rejects(usage.append([usageRow({ callId: '1' }), broken]), { code: 'internal_error' })
    t.strictSame(await usage.totals(EVER), [])
    await usage.append([usageRow({ callId: '1' })])
    t.match(await usage.totals(EVER), [{ calls: 1 }])
  })

  test(`${name}: a closed store says so, and closes once more without harm`, async t => {
    const store = await opened(t)
    await store.close()
    await store.close()
    await t.rejects(store.keys.find('one'), { code: 'internal_error', message: /closed/ })
    await t.rejects(store.usage.append([usageRow({})]), { code: 'internal_error', message: /closed/ })
  })

  const NOW = new Date(1_750_000_000_000)

  test(`${name}: a response comes back as it was put in, to its own tenant alone, until it expires`, async t => {
    const { responses } = await opened(t)
    const row = responseRow({ id: 'one', previousId: 'zero', dataClass: 'restricted', input: '["Zoë ☃"]', response: '{"a":"b"}' })
    await responses.insert(row, 10)
    t.strictSame(await responses.find('acme', 'one', NOW), row)
    t.equal(await responses.find('other', 'one', NOW), null)
    t.equal(await responses.find('acme', 'One', NOW), null)
    t.equal(await responses.find('acme', 'one', row.expiresAt), null, 'expired')
    t.strictSame(await responses.find('acme', 'one', new Date(row.expiresAt.getTime() - 1)), row)
    await t.rejects(responses.insert({ ...row, tenant: 'other' }, 10), { code: 'internal_error' })
  })

  test(`${name}: only a tenant deletes its responses`, async t => {
    const { responses } = await opened(t)
    await responses.insert(responseRow({ id: 'one' }), 10)
    t.equal(await responses.delete('other', 'one'), false)
    t.equal(await responses.delete('acme', 'one'), true)
    t.equal(await responses.delete('acme', 'one'), false)
    t.equal(await responses.find('acme', 'one', NOW), null)
  })

  test(`${name}: of a tenant the oldest responses go when there are too many`, async t => {
    const { responses } = await opened(t)
    await responses.insert(responseRow({ id: 'theirs', tenant: 'other', createdAt: new Date(0) }), 2)
    for (const id of ['a', 'b', 'c', 'd']) await responses.insert(responseRow({ id }), 2)
    const left = await Promise.all(['a', 'b', 'c', 'd'].map(id => responses.find('acme', id, NOW)))
    t.strictSame(left.map(row => row?.id ?? null), [null, null, 'c', 'd'])
    t.ok(await responses.find('other', 'theirs', NOW))
  })

  const turn = (more: object = {}) => ({
    tenant: 'acme', keyHash: 'k', callId: 'one', fingerprint: 'f', createdAt: NOW, expiresAt: new Date(NOW.getTime() + 1000), ...more
  })
  const answer = { type: 'text/event-stream', bytes: Buffer.from([0, 255, 10]), expiresAt: new Date(NOW.getTime() + 5000) }

  test(`${name}: an idempotency key is taken by one call, which finishes it or lets it go`, async t => {
    const { answers } = await opened(t)
    t.equal(await answers.begin(turn(), 10), null)
    t.strictSame(await answers.begin(turn({ callId: 'two', fingerprint: 'g' }), 10), { fingerprint: 'f', callId: 'one', state: 'running', type: null, bytes: null })
    t.equal(await answers.begin(turn({ tenant: 'other' }), 10), null)
    await answers.finish(turn({ callId: 'two' }), { ...answer, bytes: null })
    t.equal((await answers.begin(turn({ callId: 'two' }), 10))?.state, 'running', 'not by another call')
    await answers.finish(turn(), answer)
    t.strictSame(await answers.begin(turn({ callId: 'two' }), 10), { fingerprint: 'f', callId: 'one', state: 'kept', type: 'text/event-stream', bytes: answer.bytes })
    t.equal((await answers.begin(turn({ createdAt: new Date(NOW.getTime() + 4999) }), 10))?.state, 'kept')
    t.equal(await answers.begin(turn({ callId: 'three', createdAt: answer.expiresAt }), 10), null, 'expired')
    await answers.forget(turn())
    t.equal((await answers.begin(turn(), 10))?.callId, 'three', 'not by another call')
    await answers.finish(turn({ callId: 'three' }), { ...answer, bytes: null })
    t.equal((await answers.begin(turn(), 10))?.state, 'too_large')
    await answers.forget(turn({ callId: 'three' }))
    t.equal(await answers.begin(turn(), 10), null)
  })

  test(`${name}: of a tenant the oldest idempotency keys go when there are too many, and expired ones in a sweep`, async t => {
    const { answers } = await opened(t)
    await answers.begin(turn({ tenant: 'other' }), 2)
    for (const keyHash of ['a', 'b', 'c']) await answers.begin(turn({ keyHash }), 2)
    t.equal((await answers.begin(turn({ keyHash: 'b' }), 10))?.state, 'running')
    t.equal((await answers.begin(turn({ keyHash: 'c' }), 10))?.state, 'running')
    t.equal(await answers.begin(turn({ keyHash: 'a' }), 10), null)
    t.equal(await answers.sweep(new Date(NOW.getTime() + 999), 10), 0)
    t.equal(await answers.sweep(new Date(NOW.getTime() + 1000), 3), 3)
    t.equal(await answers.sweep(new Date(NOW.getTime() + 1000), 3), 1)
  })

  test(`${name}: a sweep deletes what has expired, as much as it may`, async t => {
    const { responses } = await opened(t)
    for (const [index, id] of ['a', 'b', 'c'].entries()) await responses.insert(responseRow({ id, expiresAt: new Date(1000 + index) }), 10)
    await responses.insert(responseRow({ id: 'later' }), 10)
    t.equal(await responses.sweep(NOW, 2), 2)
    t.equal(await responses.sweep(NOW, 2), 1)
    t.equal(await responses.sweep(NOW, 2), 0)
    t.ok(await responses.find('acme', 'later', NOW))
  })
}
