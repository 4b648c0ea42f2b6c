import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { demand, loads, open, PAIR, stateOf, unloads } from './coming.ts'
import { ask, isAlive, kill, textOf, until } from './parts.ts'

test('a model is loaded when a call wants it, not before', async t => {
  const opened = open(t, { models: [demand] })
  await opened.pool.whenReady(AbortSignal.timeout(100))
  t.match(opened.workers(), [{ state: 'stopped', pid: null }])
  t.match(opened.pool.availability('m'), { state: 'idle', queued: 0 }, 'and it is there for routing')
  t.equal(await textOf(ask(opened.pool, 'words=1')), 'acme0 ')
  t.equal(opened.pool.availability('m').state, 'ready')
  t.match(opened.pool.status(), { usedBytes: 1000, models: [{ state: 'ready', memoryBytes: 1000, isMeasured: true }] })
  t.ok(opened.lines.some(({ msg }) => msg === 'model is loaded on demand'))
})

test('an idle model is unloaded after its time, its process ends, and the next call loads it again', async t => {
  const opened = open(t, { models: [{ ...demand, keepAliveMs: 50 }] })
  await textOf(ask(opened.pool, 'words=1'))
  const pid = opened.workers()[0]?.pid ?? null
  await until(() => stateOf(opened, 'm') === 'unloaded', 'unloaded')
  t.equal(isAlive(pid), false)
  t.same(unloads(opened), ['m idle'])
  t.match(opened.pool.status(), { usedBytes: 0 })
  t.equal(await textOf(ask(opened.pool, 'words=1')), 'acme0 ')
  t.equal(opened.events.some(({ kind }) => kind === 'workerLost'), false, 'an asked-for end is no crash')
})

test('a model that is in use is not unloaded, however long a call takes', async t => {
  const opened = open(t, { models: [{ ...demand, keepAliveMs: 20 }] })
  t.equal((await textOf(ask(opened.pool, 'words=10&everyMs=20'))).split(' ').length, 11)
  t.same(unloads(opened), [])
})

test('a call says how long the model stays: 0 unloads it at once, -1 never', async t => {
  const opened = open(t, { models: [{ ...demand, keepAliveMs: 30 }] })
  await textOf(ask(opened.pool, 'words=1', { keepAlive: -1 }))
  await sleep(100)
  t.match(opened.pool.status().models, [{ state: 'ready', unloadsInMs: null }])
  await textOf(ask(opened.pool, 'words=1', { keepAlive: '5m' }))
  const left = opened.pool.status().models[0]?.unloadsInMs ?? 0
  t.ok(left > 299_000 && left <= 300_000, `${left} ms`)
  await textOf(ask(opened.pool, 'words=1', { keepAlive: 0 }))
  await until(() => stateOf(opened, 'm') === 'unloaded', 'unloaded')
})

test('keep_alive 0 is refused where the operator keeps the model', async t => {
  const opened = open(t, { models: [{}] })
  await t.rejects(ask(opened.pool, 'words=1', { keepAlive: 0 }), { code: 'unsupported_value', param: 'keep_alive', message: /^keep_alive is 0, but m in local is kept loaded/ })
  t.equal(await textOf(ask(opened.pool, 'words=1', { keepAlive: '5m' })), 'acme0 ')
})

test('an idle model makes room for the one that a call wants', async t => {
  const opened = open(t, PAIR)
  t.equal(await textOf(ask(opened.pool, 'words=1', { model: 'a' })), 'acme0 ')
  const pid = opened.workers()[0]?.pid ?? null
  t.equal(await textOf(ask(opened.pool, 'words=1', { model: 'b' })), 'acme0 ')
  t.equal(isAlive(pid), false, 'its process had ended before the other was loaded')
  t.same(unloads(opened), ['a evicted'])
  t.match(opened.pool.status(), { memoryBytes: 1500, usedBytes: 1000, models: [{ state: 'unloaded' }, { state: 'ready' }] })
})

test('a pinned model stays, and what never fits beside it is refused with the bytes', async t => {
  const opened = open(t, { ...PAIR, models: [{ ...demand, name: 'a', pinned: true }, { ...demand, name: 'b' }] })
  await textOf(ask(opened.pool, 'words=1', { model: 'a' }))
  t.equal(opened.pool.availability('b').state, 'down', 'routing goes on to the next target')
  const start = performance.now()
  await t.rejects(ask(opened.pool, 'words=1', { model: 'b' }), {
    code: 'backend_unavailable',
    message: 'local: no worker for b is running; it needs 1000 bytes of memory and local may use 1500, of which pinned models take 1000; raise memoryBytes, or lower slots or contextTokens.'
  })
  t.ok(performance.now() - start < 50)
  t.equal(stateOf(opened, 'a'), 'ready')
})

test('a model that never fits is refused at once, and whoever waits for the pool is told', async t => {
  const { pool } = open(t, { models: [{}], memoryBytes: 999 })
  await t.rejects(pool.whenReady(AbortSignal.timeout(1000)), { code: 'backend_unavailable', message: /^local: m has no ready worker; it needs 1000 bytes of memory and local may use 999;/ })
  await t.rejects(ask(pool, 'words=1'), { code: 'backend_unavailable', message: /needs 1000 bytes/ })
})

test('what does not fit beside the others at the start is left for the first call', async t => {
  const opened = open(t, { models: [{ name: 'a' }, { name: 'b' }], memoryBytes: 1500 })
  await opened.pool.whenReady(AbortSignal.timeout(5000))
  t.same([stateOf(opened, 'a'), stateOf(opened, 'b')], ['ready', 'unloaded'])
  t.match(opened.lines.find(({ level }) => level === 'warn'), { msg: /does not fit beside the others/, model: 'b', needBytes: 1000 })
  t.equal(await textOf(ask(opened.pool, 'words=1', { model: 'b' })), 'acme0 ')
})

test('at the start, pinned models come first', async t => {
  const opened = open(t, { models: [{ name: 'a' }, { name: 'b', pinned: true }], memoryBytes: 1500 })
  await until(() => stateOf(opened, 'b') === 'ready', 'the pinned one is loaded')
  t.match(opened.lines.find(({ level }) => level === 'error'), { msg: 'model does not fit into memory', model: 'a', reason: /pinned models take 1000/ })
})

test('a call that leaves during the load is gone at once; the load goes on for the next one', async t => {
  const opened = open(t, { models: [{ ...demand, path: 'slow.gguf' }] })
  const leave = new AbortController()
  const left = ask(opened.pool, 'words=1', { signal: leave.signal })
  await until(() => opened.pool.status().models[0]?.loadFraction === 0.5, 'half loaded')
  t.match(opened.pool.status().models[0], { state: 'loading', queued: 1, waiting: [{ position: 1, callId: 'call-1', tenant: 'acme' }] })
  const start = performance.now()
  leave.abort()
  await t.rejects(left, { code: 'client_closed' })
  t.ok(performance.now() - start < 50)
  t.equal(opened.pool.availability('m').queued, 0)
  await until(() => stateOf(opened, 'm') === 'ready', 'loaded')
  t.equal(await textOf(ask(opened.pool, 'words=1')), 'acme0 ')
  t.same(loads(opened), ['m'])
})

test('a load that nobody waits for is broken off when another model needs the memory', async t => {
  const opened = open(t, { ...PAIR, models: [{ ...demand, name: 'a', path: 'endless.gguf' }, { ...demand, name: 'b' }] })
  const leave = new AbortController()
  const left = ask(opened.pool, 'words=1', { model: 'a', signal: leave.signal })
  await until(() => opened.workers()[0]?.pid !== null, 'a process')
  const pid = opened.workers()[0]?.pid ?? null
  const other = textOf(ask(opened.pool, 'words=1', { model: 'b' }))
  await sleep(50)
  t.equal(stateOf(opened, 'a'), 'loading', 'not while somebody waits for it')
  leave.abort()
  await t.rejects(left, { code: 'client_closed' })
  t.equal(await other, 'acme0 ')
  t.equal(isAlive(pid), false)
})

test('a worker that is killed while it loads is started again for the call that waits', async t => {
  const opened = open(t, { models: [{ ...demand, path: 'slow.gguf' }] })
  const waiting = textOf(ask(opened.pool, 'words=1'))
  await until(() => opened.workers()[0]?.pid !== null, 'a process')
  kill(opened.workers()[0], 'SIGKILL')
  t.equal(await waiting, 'acme0 ')
  t.match(opened.workers(), [{ state: 'ready', restarts: 1, lastExit: 'SIGKILL' }])
})

test('a model that cannot be loaded is refused until its rest is over, takes no memory, and is tried again by a call alone', async t => {
  const path = join(t.testdir(), 'late.gguf')
  const opened = open(t, { ...PAIR, models: [{ ...demand, name: 'a', path }, { ...demand, name: 'b' }], restart: { quarantineAfter: 1, quarantineMs: 300 } })
  await t.rejects(ask(opened.pool, 'words=1', { model: 'a' }), { code: 'backend_unavailable', message: /w0 quarantined \(load failed: no such file\)/ })
  t.match(opened.pool.status(), { usedBytes: 0, models: [{ state: 'down' }] })
  t.equal(opened.pool.availability('a').state, 'down')
  await until(() => stateOf(opened, 'a') === 'unloaded', 'the rest is over')
  writeFileSync(path, '')
  t.equal(await textOf(ask(opened.pool, 'words=1', { model: 'a' })), 'acme0 ')
})

test('a pool that closes serves the calls that wait for a load, and leaves no process', async t => {
  const opened = open(t, { ...PAIR, models: [{ ...demand, name: 'a', path: 'slow.gguf' }, { ...demand, name: 'b' }] })
  const calls = ['a', 'b'].map(model => textOf(ask(opened.pool, 'words=1', { model })))
  await opened.pool.close()
  t.same(await Promise.all(calls), ['acme0 ', 'acme0 '])
  t.ok(opened.workers().every(({ pid, state }) => pid === null && state === 'stopped'))
})
