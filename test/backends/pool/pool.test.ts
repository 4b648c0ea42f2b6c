import { existsSync, readdirSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { ask, busySlots, isAlive, openPool, openReady, textOf, until } from './parts.ts'

test('is ready when each model has a worker, and shows what it has', async t => {
  const { pool, workers, events } = await openReady(t, { models: [{ name: 'm' }, { name: 'n', path: 'slow.gguf', slots: 2 }] })
  t.equal(pool.locality, 'local')
  t.match(pool.status(), {
    pool: 'local',
    models: [
      { model: 'm', contextTokens: 512, queued: 0, workers: [{ worker: 'w0', state: 'ready', slots: 4, busySlots: 0, restarts: 0, lastExit: null }] },
      { model: 'n', workers: [{ worker: 'w0', state: 'ready', slots: 2 }] }
    ]
  })
  t.ok(workers().every(({ pid }) => isAlive(pid)))
  t.match(events.find(({ model }) => model === 'm'), { kind: 'workerReady', pool: 'local', worker: 'w0', loadMs: Number })
})

test('whoever waits for a pool that cannot start is told which model failed, and why', async t => {
  const { pool } = openPool(t, { models: [{}, { name: 'broken', path: 'missing.gguf' }], restart: { quarantineAfter: 2 } })
  await t.rejects(pool.whenReady(AbortSignal.timeout(10_000)), {
    code: 'backend_unavailable', message: 'local: broken has no ready worker; w0 quarantined (load failed: no such file).'
  })
})

test('whoever waits may stop waiting', async t => {
  const { pool } = openPool(t, { models: [{ path: 'endless.gguf' }] })
  await t.rejects(pool.whenReady(AbortSignal.timeout(50)), { code: 'backend_unavailable', message: 'local: m has no ready worker; w0 starting.' })
})

test('closing lets running calls finish, refuses new ones and leaves nothing behind', async t => {
  const before = foldersNow()
  const { pool, workers, events } = await openReady(t, { models: [{ workers: 2 }, { name: 'n', slots: 1 }] })
  await until(() => workers().every(({ state }) => state === 'ready'), 'all workers ready')
  const pids = workers().map(({ pid }) => pid)
  const [folder = ''] = foldersNow().filter(name => !before.includes(name) && existsSync(join(tmpdir(), name)) && readdirSync(join(tmpdir(), name)).length === 3)
  t.equal(statSync(join(tmpdir(), folder)).mode & 0o777, 0o700, 'nobody else reaches the sockets')
  const running = textOf(ask(pool, 'words=10&everyMs=10', { model: 'n' }))
  const waiting = textOf(ask(pool, 'words=1', { model: 'n' }))
  const closed = pool.close()
  await t.rejects(ask(pool, 'words=1'), { code: 'draining' })
  t.match(events.at(-1), { kind: 'admissionRejected', model: 'm', reason: 'draining' })
  t.equal(pool.availability('m').state, 'down')
  t.equal((await running).split(' ').length, 11)
  t.equal(await waiting, 'acme0 ')
  await closed
  t.strictSame(pids.map(isAlive), [false, false, false])
  t.strictSame(workers().map(({ state, pid }) => [state, pid]), [['stopped', null], ['stopped', null], ['stopped', null]])
  t.equal(existsSync(join(tmpdir(), folder)), false)
  t.equal(events.some(({ kind }) => kind === 'workerLost'), false, 'an asked-for end is no crash')
  await pool.close()
})

test('closing in a hurry breaks running and waiting calls off', async t => {
  const { pool, workers } = await openReady(t, { models: [{ slots: 1 }] })
  const [worker] = workers()
  const hurry = new AbortController()
  const running = textOf(ask(pool, 'words=1000&everyMs=10'))
  const waiting = textOf(ask(pool, 'words=1'))
  const closed = pool.close(hurry.signal)
  await sleep(30)
  t.equal(busySlots(pool), 1)
  hurry.abort()
  await Promise.all([t.rejects(running, { code: 'draining' }), t.rejects(waiting, { code: 'draining' }), closed])
  t.equal(isAlive(worker?.pid ?? null), false)
})

test('a worker in the midst of its load, or of a pause, does not outlive the pool', async t => {
  const { pool, workers } = openPool(t, {
    models: [{ path: 'endless.gguf' }, { name: 'n', path: 'missing.gguf' }], restart: { backoffMs: 100_000, maxBackoffMs: 100_000 }
  })
  await until(() => workers()[1]?.state === 'backoff', 'a pause')
  const pid = workers()[0]?.pid ?? null
  t.ok(isAlive(pid))
  await pool.close()
  t.equal(isAlive(pid), false)
  t.strictSame(workers().map(({ state }) => state), ['stopped', 'stopped'])
})

function foldersNow (): string[] {
  return readdirSync(tmpdir()).filter(name => name.startsWith('torchgate-'))
}
