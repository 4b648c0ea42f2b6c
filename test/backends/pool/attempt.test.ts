import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { toGatewayError } from '../../../src/errors.ts'
import { seeded } from '../../seeded.ts'
import { ask, busySlots, openReady, textOf, until } from './parts.ts'

test('an answer comes as a stream or whole, as it was asked for', async t => {
  const { pool } = await openReady(t)
  t.equal(await textOf(ask(pool, 'words=2')), 'acme0 acme1 ')
  t.equal(await textOf(ask(pool, 'words=2', { stream: false })), 'acme0 acme1 ')
  t.equal(busySlots(pool), 0)
})

test('a worker that says nothing is left after firstTokenMs, one that falls silent after idleMs', async t => {
  const { pool } = await openReady(t, { timeouts: { firstTokenMs: 150, idleMs: 150 } })
  await t.rejects(ask(pool, 'before=hang'), { code: 'backend_timeout' })
  await t.rejects(textOf(ask(pool, 'after=hang')), { code: 'backend_timeout' })
  t.equal(busySlots(pool), 0)
})

test('an answer that nobody reads is cut off after totalMs', async t => {
  const { pool } = await openReady(t, { timeouts: { totalMs: 150 } })
  const answer = await ask(pool, 'words=1000')
  t.equal(busySlots(pool), 1)
  await until(() => busySlots(pool) === 0, 'the slot is free', 1000)
  await t.rejects(textOf(answer), { code: 'backend_timeout' })
})

test('an aborted call frees its slot in the same tick, read or not', async t => {
  const { pool } = await openReady(t)
  const unread = new AbortController()
  await ask(pool, 'words=1000', { signal: unread.signal })
  const read = new AbortController()
  const reading = textOf(ask(pool, 'words=1000', { signal: read.signal }))
  const early = new AbortController()
  const asking = ask(pool, 'before=hang', { signal: early.signal })
  await sleep(20)
  t.equal(busySlots(pool), 3)
  for (const caller of [unread, read, early]) caller.abort()
  t.equal(busySlots(pool), 0)
  await t.rejects(reading, { code: 'client_closed' })
  await t.rejects(asking, { code: 'client_closed' })
})

test('a reader that leaves frees the slot, before the first frame too', async t => {
  const { pool } = await openReady(t)
  const answer = await ask(pool, 'words=1000')
  if (answer.kind === 'stream') await answer.frames[Symbol.asyncIterator]().return?.()
  t.equal(busySlots(pool), 0)
  const other = await ask(pool, 'words=1000')
  if (other.kind === 'stream') for await (const _ of other.frames) break
  t.equal(busySlots(pool), 0)
})

test('two hundred calls aborted at any moment leave no slot behind', async t => {
  const { pool, workers } = await openReady(t, { models: [{ workers: 2 }] })
  const random = seeded(20261122)
  const outcomes = await Promise.all(Array.from({ length: 200 }, async (_, at) => {
    await sleep(random() * 300)
    const signal = AbortSignal.timeout(at % 10 === 0 ? 60_000 : Math.ceil(random() * 60))
    const stream = at % 3 > 0
    const script = at % 10 === 0 ? 'words=2' : `words=1000&everyMs=2&startMs=${stream ? Math.floor(random() * 20) : 10_000}`
    return textOf(ask(pool, script, { signal, stream, isolation: `t${at % 5}` }))
      .then(() => 'whole', (error: unknown) => toGatewayError(error).code)
  }))
  t.strictSame(outcomes.map(outcome => outcome === 'whole'), outcomes.map((_, at) => at % 10 === 0))
  t.strictSame([...new Set(outcomes)].toSorted(), ['client_closed', 'whole'])
  t.equal(busySlots(pool), 0)
  t.equal(pool.availability('m').queued, 0)
  t.match(workers(), [{ restarts: 0 }, { restarts: 0 }])
  t.equal(await textOf(ask(pool, 'words=1')), 'acme0 ')
})
