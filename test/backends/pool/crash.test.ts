import { join } from 'node:path'
import { test } from 'tap'
import { toGatewayError } from '../../../src/errors.ts'
import { ask, busySlots, kill, openReady, textOf, until } from './parts.ts'

test('a worker that is killed while idle is not noticed by the next call', async t => {
  const { pool, workers, events } = await openReady(t)
  kill(workers()[0], 'SIGKILL')
  t.equal(await textOf(ask(pool, 'words=1')), 'acme0 ')
  t.match(workers(), [{ state: 'ready', restarts: 1, lastExit: 'SIGKILL', busySlots: 0 }])
  t.match(events.filter(({ kind }) => kind !== 'queueLeft'), [{ kind: 'workerReady' }, { kind: 'workerLost', reason: 'crash' }, { kind: 'workerReady' }])
})

test('a worker that dies before the first content costs the caller nothing', async t => {
  const { pool, workers } = await openReady(t)
  for (const stream of [true, false]) {
    const once = join(t.testdir(), `once-${stream}`)
    t.equal(await textOf(ask(pool, `before=crash&once=${once}`, { stream })), 'acme0 acme1 acme2 ', `stream: ${stream}`)
  }
  t.match(workers(), [{ state: 'ready', restarts: 2, busySlots: 0 }])
})

test('the lost call is served by another worker, ahead of those that wait', async t => {
  const { pool } = await openReady(t, { models: [{ workers: 2, slots: 1 }], restart: { backoffMs: 3_600_000, maxBackoffMs: 3_600_000 } })
  await until(() => pool.availability('m').freeSlots === 2, 'both workers ready')
  const order: string[] = []
  const note = async (isolation: string, script: string) => { order.push((await textOf(ask(pool, script, { isolation }))).trim()) }
  const lost = note('lost', `words=1&before=crash&once=${join(t.testdir(), 'once')}`)
  const other = note('other', 'words=1&startMs=300')
  const waits = [note('waits', 'words=1'), note('waits', 'words=1')]
  await Promise.all([lost, other, ...waits])
  t.strictSame(order, ['other0', 'lost0', 'waits0', 'waits0'])
})

test('a call that kills two workers kills no third', async t => {
  const { pool, workers } = await openReady(t)
  await t.rejects(ask(pool, 'before=crash'), { code: 'worker_crashed', message: 'local/w0 ended while it had the call: SIGKILL.' })
  await until(() => workers()[0]?.state === 'ready', 'the worker is back')
  t.match(workers(), [{ restarts: 2, busySlots: 0 }])
  t.equal(await textOf(ask(pool, 'words=1')), 'acme0 ')
})

test('a worker that dies after the first content breaks the stream off, visibly', async t => {
  const { pool, workers } = await openReady(t)
  const answer = await ask(pool, 'words=10&after=crash')
  t.equal(busySlots(pool), 1)
  await t.rejects(textOf(answer), { code: 'worker_crashed' })
  t.equal(busySlots(pool), 0)
  await until(() => workers()[0]?.state === 'ready', 'the worker is back')
})

test('killed under twenty streams, none of them ends falsely, no slot leaks, and the pool recovers', async t => {
  const { pool, workers } = await openReady(t, { models: [{ workers: 2, slots: 10 }] })
  await until(() => pool.availability('m').freeSlots === 20, 'both workers ready')
  let begun = 0
  const outcomes = Array.from({ length: 20 }, async (_, at) => {
    // Calls go to the workers in turn: each one has five that begin at once and five that begin later.
    const words = at % 4 < 2 ? 40 : 2
    try {
      const answer = await ask(pool, at % 4 < 2 ? `words=${words}&everyMs=50` : `words=${words}&startMs=1000`)
      begun++
      return await textOf(answer) === Array.from({ length: words }, (_word, n) => `acme${n} `).join('') ? 'whole' : 'short'
    } catch (error) {
      return toGatewayError(error).code
    }
  })
  await until(() => begun === 10, 'half of the streams have begun')
  kill(workers()[0], 'SIGKILL')
  const counted = Object.groupBy(await Promise.all(outcomes), outcome => outcome)
  t.equal(counted['worker_crashed']?.length, 5, 'streams that had begun say that their worker ended')
  t.equal(counted['whole']?.length, 15, 'all others are whole, those of the dead worker too that had not begun')
  t.equal(busySlots(pool), 0)
  await until(() => pool.availability('m').freeSlots === 20, 'all slots are back')
})

test('a worker that does not listen any more is replaced when its last answer is out, and the call is served', async t => {
  const { pool, workers, events } = await openReady(t)
  const running = textOf(ask(pool, 'words=60&everyMs=20'))
  await t.rejects(textOf(ask(pool, 'after=deaf', { signal: AbortSignal.timeout(200) })), { code: 'client_closed' })
  t.equal(await textOf(ask(pool, 'words=1')), 'acme0 ')
  t.equal((await running).split(' ').length, 61)
  t.match(workers(), [{ state: 'ready', restarts: 1, busySlots: 0 }])
  t.match(events.filter(({ kind }) => kind === 'workerLost'), [{ reason: 'hung' }])
})
