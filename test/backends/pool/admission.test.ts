import { test } from 'tap'
import { GatewayError } from '../../../src/errors.ts'
import { ask, busySlots, openPool, openReady, textOf, until } from './parts.ts'

test('fifty streams over four slots all succeed, and never more than four run at once', async t => {
  const { pool, events } = await openReady(t)
  const texts = await Promise.all(Array.from({ length: 50 }, (_, at) => textOf(ask(pool, 'strict&words=5', { isolation: `t${at % 7}` }))))
  t.strictSame(texts, Array.from({ length: 50 }, (_, at) => [0, 1, 2, 3, 4].map(word => `t${at % 7}${word} `).join('')))
  t.equal(busySlots(pool), 0)
  t.equal(events.filter(({ kind }) => kind === 'queueLeft').length, 50)
})

test('calls wait while the first worker is still loading', async t => {
  const { pool } = openPool(t, { models: [{ path: 'slow.gguf' }] })
  t.match(pool.availability('m'), { state: 'loading', queued: 0, freeSlots: 0, contextTokens: null })
  t.equal(await textOf(ask(pool, 'words=1')), 'acme0 ')
  t.match(pool.availability('m'), { state: 'ready', queued: 0, freeSlots: 4, contextTokens: 512 })
})

test('a full queue refuses at once and says when to come back', async t => {
  const { pool, events } = await openReady(t, { models: [{ slots: 1 }], queue: { length: 1 } })
  const running = await ask(pool, 'words=2&everyMs=100')
  const waiting = ask(pool, 'words=1')
  t.match(pool.availability('m'), { state: 'saturated', queued: 1, freeSlots: 0 })
  const start = performance.now()
  const error = await ask(pool, 'words=1').catch((thrown: unknown) => thrown)
  t.ok(performance.now() - start < 50, 'within 50 ms')
  t.match(error, { code: 'backend_overloaded', message: 'local: all slots of m are taken and 1 calls wait already.' })
  t.ok(error instanceof GatewayError && Number.isInteger(error.retryAfterS) && (error.retryAfterS ?? 0) >= 1)
  t.match(events.at(-1), { kind: 'admissionRejected', pool: 'local', model: 'm', reason: 'queue_full' })
  t.equal(await textOf(running), 'acme0 acme1 ')
  t.equal(await textOf(waiting), 'acme0 ', 'the one that waited is served')
})

test('with no queue, a call gets a free slot or is refused', async t => {
  const { pool } = await openReady(t, { models: [{ slots: 1 }], queue: { length: 0 } })
  const running = await ask(pool, 'words=2&everyMs=100')
  await t.rejects(ask(pool, 'words=1'), { code: 'backend_overloaded' })
  await textOf(running)
  t.equal(await textOf(ask(pool, 'words=1')), 'acme0 ')
})

test('a call that has waited too long is refused, and its place is free', async t => {
  const { pool, events } = await openReady(t, { models: [{ slots: 1 }], queue: { length: 1, timeoutMs: 50 } })
  const running = await ask(pool, 'words=2&everyMs=200')
  await t.rejects(ask(pool, 'words=1'), { code: 'backend_overloaded', message: 'local: no slot of m came free within 50 ms.' })
  t.match(events.slice(-2), [{ kind: 'admissionRejected', reason: 'queue_timeout' }, { kind: 'queueLeft' }])
  t.ok((events.at(-1)?.waitedMs ?? 0) >= 45)
  t.equal(pool.availability('m').queued, 0)
  await textOf(running)
})

test('a call can leave the queue at any time', async t => {
  const { pool, events } = await openReady(t, { models: [{ slots: 1 }] })
  const running = await ask(pool, 'words=2&everyMs=100')
  const leave = new AbortController()
  const left = ask(pool, 'words=1', { signal: leave.signal })
  const stays = ask(pool, 'words=1')
  t.equal(pool.availability('m').queued, 2)
  leave.abort()
  t.equal(pool.availability('m').queued, 1, 'its place is free in the same tick')
  await t.rejects(left, { code: 'client_closed' })
  t.match(events.at(-1), { kind: 'queueLeft', model: 'm' })
  t.equal(await textOf(running), 'acme0 acme1 ')
  t.equal(await textOf(stays), 'acme0 ')
})

test('a call whose caller has left already never enters the queue', async t => {
  const { pool, events } = await openReady(t)
  const reason = new GatewayError('backend_timeout', 'The time of the call was over.')
  await t.rejects(ask(pool, 'words=1', { signal: AbortSignal.abort(reason) }), reason, 'and fails with the reason the caller gave')
  t.equal(events.some(({ kind }) => kind === 'queueLeft'), false)
})

test('a domain with many calls does not keep another one waiting for all of them', async t => {
  const { pool } = await openReady(t, { models: [{ slots: 1 }] })
  const order: string[] = []
  const note = async (isolation: string) => { order.push((await textOf(ask(pool, 'words=1', { isolation }))).trim()) }
  const loud = Array.from({ length: 10 }, () => note('loud'))
  await Promise.all([...loud, note('calm'), note('calm')])
  t.ok(order.indexOf('calm0') <= 2, order.join(' '))
  t.ok(order.lastIndexOf('calm0') <= 4, order.join(' '))
})

test('calls spread over the workers of a model', async t => {
  const { pool, workers } = await openReady(t, { models: [{ workers: 2, slots: 2 }] })
  await until(() => workers().every(({ state }) => state === 'ready'), 'both workers ready')
  const answers = await Promise.all(Array.from({ length: 2 }, () => ask(pool, 'words=2&everyMs=50')))
  t.strictSame(workers().map(({ worker, busySlots: busy }) => [worker, busy]), [['w0', 1], ['w1', 1]])
  await Promise.all(answers.map(textOf))
})

test('a model that this pool does not have is down', async t => {
  const { pool } = await openReady(t)
  t.strictSame(pool.availability('other'), { state: 'down', queued: 0, freeSlots: 0, contextTokens: null })
  await t.rejects(ask(pool, 'words=1', { model: 'other' }), { code: 'backend_unavailable' })
})

test('a call takes a slot for each of its choices, of one worker, and gives them back together', async t => {
  const { pool, workers } = await openReady(t, { models: [{ workers: 2, slots: 4 }] })
  await until(() => workers().every(({ state }) => state === 'ready'), 'both workers are ready')
  const three = ask(pool, 'words=2&everyMs=50', { stream: false, choices: 3 })
  const two = ask(pool, 'words=2&everyMs=50', { stream: false, choices: 2 })
  t.strictSame(workers().map(worker => worker.busySlots).toSorted((a, b) => a - b), [2, 3])
  await Promise.all([three, two].map(textOf))
  t.equal(busySlots(pool), 0)
})

test('a call that wants several slots waits for them and is not overtaken, also not by its own domain', async t => {
  const { pool } = await openReady(t, { models: [{ slots: 2 }] })
  const order: string[] = []
  const call = async (name: string, choices: number): Promise<void> => {
    await textOf(ask(pool, 'words=2&everyMs=30', { stream: false, choices }))
    order.push(name)
  }
  const first = call('first', 1)
  await Promise.all([first, call('both', 2), call('last', 1)])
  t.strictSame(order, ['first', 'both', 'last'])
  t.equal(busySlots(pool), 0)
})

test('one slot is free and still the queue is full, when the first in it wants two', async t => {
  const { pool } = await openReady(t, { models: [{ slots: 2 }], queue: { length: 1 } })
  const running = ask(pool, 'words=2&everyMs=100', { stream: false })
  const waiting = ask(pool, 'words=1', { stream: false, choices: 2 })
  t.match(pool.availability('m'), { state: 'saturated', queued: 1, freeSlots: 1 })
  await t.rejects(ask(pool, 'words=1'), { code: 'backend_overloaded' })
  await Promise.all([running, waiting].map(textOf))
})

test('more choices than any worker has slots are refused at once, with the number that is there', async t => {
  const { pool } = await openReady(t)
  await t.rejects(ask(pool, 'words=1', { choices: 5 }), { code: 'unsupported_value', param: 'n', message: 'n is 5; m in local gives at most 4 choices per call.' })
  t.equal(pool.availability('m').queued, 0)
})

test('a call that would wait longer than it may, by what was measured, is refused at once', async t => {
  const { pool, events } = await openReady(t, { models: [{ slots: 1 }], queue: { timeoutMs: 100 } })
  for (let at = 0; at < 8; at++) await textOf(ask(pool, 'words=2&everyMs=40'))
  const running = await ask(pool, 'words=2&everyMs=40')
  const settled = Promise.allSettled([1, 2].map(() => ask(pool, 'words=1').then(textOf)))
  const start = performance.now()
  const error = await ask(pool, 'words=1').catch((thrown: unknown) => thrown)
  t.ok(performance.now() - start < 50, 'within 50 ms')
  t.match(error, { code: 'backend_overloaded', retryAfterS: 1, message: /^local: [12] calls wait for m, which takes about \d+ ms; at most 100 ms are waited\.$/ })
  t.ok(events.some(({ kind, reason }) => kind === 'admissionRejected' && reason === 'queue_wait'))
  await textOf(running)
  await settled
})

test('calls of a batch wait behind all others, and take no place in their queue', async t => {
  const { pool } = await openReady(t, { models: [{ slots: 1 }], queue: { length: 2 } })
  const order: string[] = []
  const note = async (isolation: string, more = {}) => { order.push((await textOf(ask(pool, 'words=1', { isolation, ...more }))).trim()) }
  const running = await ask(pool, 'words=2&everyMs=100')
  const batch = [note('b', { priority: 'batch' }), note('c', { priority: 'batch' })]
  await t.rejects(ask(pool, 'words=1', { priority: 'batch' }), { code: 'backend_overloaded' }, 'they have a bound of their own')
  t.match(pool.availability('m'), { state: 'ready', queued: 2 }, 'others see a queue with room')
  const others = [note('x'), note('x')]
  t.match(pool.availability('m'), { state: 'saturated', queued: 4 })
  await textOf(running)
  await Promise.all([...batch, ...others])
  t.same(order, ['x0', 'x0', 'b0', 'c0'])
})
