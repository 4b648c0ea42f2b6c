/** The real worker, with the model that comes with the gateway: one pool for all tests of this file. */
import { after, test } from 'tap'
import { createPool } from '../../../src/backends/pool/pool.ts'
import { BUILTIN_MODEL } from '../../../src/models/builtin.ts'
import { ask, busySlots, configOf, isAlive, kill, NOBODY, textOf, until, type Wish } from './parts.ts'

const { name, path, sha256 } = BUILTIN_MODEL
const pool = createPool(configOf({
  models: [{ name, path, sha256, slots: 4, contextTokens: 512 }, { name: 'forged', path, sha256: '0'.repeat(64) }],
  timeouts: { loadMs: 60_000, firstTokenMs: 60_000, answerMs: 60_000, idleMs: 30_000, totalMs: 90_000 },
  restart: { quarantineAfter: 3 }
}), { observer: NOBODY })
after(() => pool.close(AbortSignal.abort()))

const worker = () => pool.status().models[0]?.workers[0]
const hello = (wish: Wish = {}) => textOf(ask(pool, 'Hello', { model: name, ...wish }))

test('a file with another digest than the configured one is not loaded', async t => {
  await until(() => pool.availability(name).state === 'ready' && pool.availability('forged').state === 'down', 'both loads are over', 60_000)
  await t.rejects(ask(pool, 'Hello', { model: 'forged' }), { code: 'backend_unavailable', message: /w0 quarantined \(load failed: .*sha256/i })
})

test('fifty streams over four slots are all answered', async t => {
  const texts = await Promise.all(Array.from({ length: 50 }, (_, at) => hello({ isolation: `t${at % 3}` })))
  t.ok(texts.every(text => text.length > 0))
  t.ok((await hello({ stream: false })).length > 0, 'and so is a call without a stream')
  t.equal(busySlots(pool), 0)
})

test('fifty calls aborted at any moment leave the worker free', async t => {
  await Promise.all(Array.from({ length: 50 }, (_, at) => hello({ signal: AbortSignal.timeout(1 + at * 5) }).catch((error: unknown) => error)))
  t.equal(busySlots(pool), 0)
  t.ok((await hello()).length > 0)
  t.match(worker(), { restarts: 0 })
})

test('what the model cannot do is refused, and costs no worker', async t => {
  const request = { model: name, messages: [{ role: 'user' as const, content: 'word '.repeat(2000) }] }
  const options = { signal: AbortSignal.timeout(10_000), boundary: 'local' as const, callId: 'c', isolation: 't0' }
  await t.rejects(pool.chat(request, options), { code: 'context_length_exceeded' })
  await t.rejects(pool.chat({ ...request, messages: [{ role: 'user', content: 'Hello' }], n: 5 }, options), { code: 'unsupported_value', param: 'n' })
  t.match(worker(), { restarts: 0, busySlots: 0 })
})

test('a killed worker is replaced, and the next call answered', async t => {
  kill(worker(), 'SIGKILL')
  t.ok((await hello()).length > 0)
  t.match(worker(), { state: 'ready', restarts: 1, lastExit: 'SIGKILL', busySlots: 0 })
})

test('a worker that somebody else stops is replaced, too', async t => {
  kill(worker(), 'SIGTERM')
  await until(() => worker()?.state !== 'ready', 'it has left')
  t.ok((await hello()).length > 0)
  t.match(worker(), { state: 'ready', restarts: 2, lastExit: 'exit 0' })
})

test('closing leaves no process', async t => {
  const pid = worker()?.pid ?? null
  t.ok(isAlive(pid))
  await pool.close()
  t.equal(isAlive(pid), false)
})
