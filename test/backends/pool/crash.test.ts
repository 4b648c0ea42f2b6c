import { join } from 'node:path'
import { test } from 'tap'
import { toGatewayError } from '../../../src/errors.ts'
import type { ChatRequest } from '../../../src/wire/chat.ts'
import { ask, busySlots, isAlive, kill, openPool, openReady, textOf, until } from './parts.ts'

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
  const { pool, workers, events, lines } = await openReady(t)
  const running = textOf(ask(pool, 'words=60&everyMs=50'))
  const caller = new AbortController()
  const deaf = textOf(ask(pool, 'after=deaf', { signal: caller.signal }))
  await until(() => lines.some(({ line }) => line === 'deaf'), 'it does not listen any more')
  caller.abort()
  await t.rejects(deaf, { code: 'client_closed' })
  t.equal(await textOf(ask(pool, 'words=1')), 'acme0 ')
  t.equal((await running).split(' ').length, 61)
  t.match(workers(), [{ state: 'ready', restarts: 1, busySlots: 0 }])
  t.match(events.filter(({ kind }) => kind === 'workerLost'), [{ reason: 'hung' }])
})

test('a worker that is stopped is found out, killed and started anew, and the call is served', async t => {
  const { pool, workers, events, lines } = await openReady(t, { watchdog: { silentMs: 600 } })
  const { pid } = workers()[0]!
  kill(workers()[0], 'SIGSTOP')
  t.equal(await textOf(ask(pool, 'words=1')), 'acme0 ')
  t.match(workers(), [{ state: 'ready', restarts: 1, busySlots: 0, lastExit: 'hung: no sign of life for 600 ms' }])
  t.match(events.filter(({ kind }) => kind === 'workerLost'), [{ reason: 'hung' }])
  t.equal(isAlive(pid), false)
  await until(() => lines.some(({ exit }) => exit === 'hung: no sign of life for 600 ms'), 'the operator is told')
})

test('a worker that computes without end is found out, though it is alive', async t => {
  const { pool, workers, events } = await openReady(t, { watchdog: { stepMs: 600 } })
  t.equal(await textOf(ask(pool, `before=hang&once=${join(t.testdir(), 'once')}&words=1`)), 'acme0 ')
  t.match(workers(), [{ restarts: 1, lastExit: 'hung: one step took longer than 600 ms' }])
  t.match(events.filter(({ kind }) => kind === 'workerLost'), [{ reason: 'hung' }])
})

test('a long load is no hang: it has its own limit', async t => {
  const { events } = openPool(t, { models: [{ path: 'endless.gguf' }], timeouts: { loadMs: 1000 }, watchdog: { silentMs: 300, stepMs: 300 } })
  await until(() => events.length > 0, 'the load is given up')
  t.match(events[0], { kind: 'workerLost', reason: 'load_failed' })
})

test('a call that has lost two workers at other targets is tried on no further one', async t => {
  const { pool, workers } = await openReady(t)
  const options = { signal: new AbortController().signal, boundary: 'local', callId: 'call-1', isolation: 'acme' } as const
  const request: ChatRequest = { model: 'm', messages: [{ role: 'user', content: 'before=crash' }] }
  const lost: string[] = []
  await t.rejects(pool.chat(request, { ...options, workersLost: 2 }), { code: 'worker_crashed', message: 'not tried on a further one' })
  t.match(workers(), [{ restarts: 0 }])
  await t.rejects(pool.chat(request, { ...options, workersLost: 1, lost: error => { lost.push(error.code) } }), { code: 'worker_crashed' })
  await until(() => workers()[0]?.state === 'ready', 'the worker is back')
  t.match(workers(), [{ restarts: 1 }])
  t.strictSame(lost, [], 'it went on nowhere')
})
