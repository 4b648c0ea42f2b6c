/** Two models that exclude each other take turns. */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { createPool } from '../../../src/backends/pool/pool.ts'
import { BUILTIN_MODEL } from '../../../src/models/builtin.ts'
import { demand, loads, open, PAIR, stateOf } from './coming.ts'
import { ask, busySlots, configOf, isAlive, NOBODY, textOf, until } from './parts.ts'

test('ten calls for each of two models that exclude each other cost two loads, not twenty', async t => {
  const opened = open(t, PAIR)
  const calls = Array.from({ length: 20 }, (_, at) => textOf(ask(opened.pool, 'words=1', { model: at % 2 === 0 ? 'a' : 'b' })))
  t.ok((await Promise.all(calls)).every(text => text === 'acme0 '))
  t.same(loads(opened), ['a', 'b'])
})

test('a model under a steady load gives way after a bound of calls, and nobody is cut off', async t => {
  const opened = open(t, { ...PAIR, models: [{ ...demand, name: 'a', slots: 2 }, { ...demand, name: 'b', slots: 2 }], swap: { afterCalls: 6, afterMs: 60_000 } })
  const over = new AbortController()
  let served = 0
  const steady = async (): Promise<void> => {
    while (!over.signal.aborted) {
      await textOf(ask(opened.pool, 'words=2&everyMs=5', { model: 'a' }))
      served++
    }
  }
  const clients = [steady(), steady(), steady(), steady()]
  await until(() => served > 4, 'a is in use')
  const before = served
  t.equal(await textOf(ask(opened.pool, 'words=1', { model: 'b' })), 'acme0 ')
  t.ok(served - before <= 6 + 4, `${served - before} calls went first`)
  over.abort()
  await Promise.all(clients)
  t.same(loads(opened), ['a', 'b', 'a'])
  t.equal(busySlots(opened.pool), 0)
})

test('a model under a steady load gives way after a bound of time', async t => {
  const opened = open(t, { ...PAIR, swap: { afterCalls: 100_000, afterMs: 100 } })
  const over = new AbortController()
  const steady = async (): Promise<void> => { while (!over.signal.aborted) await textOf(ask(opened.pool, 'words=2&everyMs=5', { model: 'a' })) }
  const clients = [steady(), steady(), steady()]
  await until(() => stateOf(opened, 'a') === 'ready', 'a is in use')
  t.equal(await textOf(ask(opened.pool, 'words=1', { model: 'b' })), 'acme0 ')
  over.abort()
  await Promise.all(clients)
})

test('when nobody waits for the other one any more, a model goes on as if nothing had been', async t => {
  const opened = open(t, { ...PAIR, models: [{ ...demand, name: 'a', slots: 1 }, { ...demand, name: 'b' }], swap: { afterCalls: 1, afterMs: 60_000 } })
  const running = await ask(opened.pool, 'words=2&everyMs=150', { model: 'a' })
  const leave = new AbortController()
  const left = ask(opened.pool, 'words=1', { model: 'b', signal: leave.signal })
  const more = [1, 2, 3].map(() => textOf(ask(opened.pool, 'words=1', { model: 'a' })))
  leave.abort()
  await t.rejects(left, { code: 'client_closed' })
  await Promise.all([textOf(running), ...more])
  t.same(loads(opened), ['a'])
})

test('the real worker: two copies of a model and memory for one, by the head of its file', async t => {
  const folder = t.testdir()
  const models = ['one', 'two'].map(name => {
    const path = join(folder, `${name}.gguf`)
    copyFileSync(BUILTIN_MODEL.path, path)
    return { ...demand, name, path, slots: 2 }
  })
  const pool = createPool(configOf({
    models, memoryBytes: 300_000_000, queue: { timeoutMs: 25_000 }, timeouts: { loadMs: 25_000, firstTokenMs: 20_000, idleMs: 20_000 }
  }), { observer: NOBODY })
  t.teardown(() => pool.close(AbortSignal.abort()))
  const before = pool.status()
  t.ok(before.models.every(({ memoryBytes, isMeasured }) => !isMeasured && memoryBytes !== null && memoryBytes > 150_000_000 && memoryBytes < 300_000_000))
  t.ok((await textOf(ask(pool, 'Hello', { model: 'one' }))).length > 0)
  const pid = pool.status().models[0]?.workers[0]?.pid ?? null
  const { memoryBytes, isMeasured } = pool.status().models[0]!
  t.ok(isMeasured && memoryBytes! > 0)
  t.ok((await textOf(ask(pool, 'Hello', { model: 'two' }))).length > 0)
  t.equal(isAlive(pid), false)
  t.match(pool.status().models, [{ state: 'unloaded' }, { state: 'ready' }])
})
