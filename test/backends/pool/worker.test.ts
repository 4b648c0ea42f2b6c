import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'tap'
import { ask, isAlive, kill, openPool, openReady, textOf, until } from './parts.ts'

test('a model that cannot be loaded is tried again, given up, and says so once', async t => {
  const { pool, workers, events, lines } = openPool(t, { models: [{ path: 'missing.gguf' }], restart: { quarantineAfter: 3 } })
  const early = ask(pool, 'words=1').catch((error: unknown) => error)
  t.equal(pool.availability('m').state, 'loading')
  await until(() => workers()[0]?.state === 'quarantined', 'quarantined')
  t.match(await early, { code: 'backend_unavailable', message: /^local: no worker for m is running; w0 quarantined \(load failed: no such file\)\.$/ })
  t.match(workers(), [{ pid: null, restarts: 2, lastExit: 'load failed: no such file' }])
  t.equal(pool.availability('m').state, 'down')
  await t.rejects(ask(pool, 'words=1'), { code: 'backend_unavailable' }, 'and nobody waits for it')
  t.strictSame(events.filter(({ kind }) => kind === 'workerLost').map(({ reason }) => reason), ['load_failed', 'load_failed', 'load_failed'])
  await until(() => lines.length >= 2, 'both log lines')
  t.match(lines, [
    { level: 'error', msg: 'worker could not load its model', model: 'm', worker: 'w0', exit: 'load failed: no such file', next: 'backoff' },
    { level: 'error', exit: 'load failed: no such file', next: 'quarantined' }
  ])
})

test('a worker comes back from quarantine by itself', async t => {
  const path = join(t.testdir(), 'late.gguf')
  const { pool, workers } = openPool(t, { models: [{ path }], restart: { quarantineAfter: 1, quarantineMs: 300 } })
  await until(() => workers()[0]?.state === 'quarantined', 'quarantined')
  writeFileSync(path, '')
  await until(() => workers()[0]?.state === 'ready', 'ready')
  t.equal(await textOf(ask(pool, 'words=1')), 'acme0 ')
})

test('a native crash in the load counts like any other, and its last words are kept', async t => {
  const { workers, lines } = openPool(t, { models: [{ path: 'abort.gguf' }], restart: { quarantineAfter: 1 } })
  await until(() => workers()[0]?.state === 'quarantined', 'quarantined')
  await until(() => workers()[0]?.lastExit === 'SIGABRT: GGML_ASSERT: bad block', 'last words')
  await until(() => lines.some(({ msg, line }) => msg === 'worker says' && line === 'GGML_ASSERT: bad block'), 'the line in the log')
})

test('a load that takes too long is cut off', async t => {
  const { workers } = openPool(t, { models: [{ path: 'endless.gguf' }], timeouts: { loadMs: 400 }, restart: { quarantineAfter: 1 } })
  await until(() => workers()[0]?.pid !== null, 'a process')
  const pid = workers()[0]?.pid ?? null
  await until(() => workers()[0]?.state === 'quarantined', 'quarantined')
  t.match(workers(), [{ pid: null, lastExit: 'load failed: not ready within 400 ms' }])
  t.equal(isAlive(pid), false)
})

test('a good worker works on when another one of its model is given up', async t => {
  const { pool, workers } = await openReady(t, { models: [{ workers: 2, slots: 1 }], restart: { quarantineAfter: 1 } })
  await until(() => workers().every(({ state }) => state === 'ready'), 'both workers ready')
  kill(workers()[0], 'SIGSEGV')
  await until(() => workers()[0]?.state === 'quarantined', 'quarantined')
  t.match(workers()[0], { lastExit: 'SIGSEGV' })
  t.match(pool.availability('m'), { state: 'ready', freeSlots: 1 })
  t.equal(await textOf(ask(pool, 'words=1')), 'acme0 ')
})

test('a worker gets its flags and a small environment, and none of the gateway\'s secrets', async t => {
  process.env['TORCHGATE_TEST_SECRET'] = 'do not inherit'
  t.teardown(() => { delete process.env['TORCHGATE_TEST_SECRET'] })
  const { lines } = openPool(t, { models: [{ path: 'flags.gguf', sha256: 'f'.repeat(64), slots: 9, chatTemplate: 'chatml', thinkingTokens: { low: 9, default: 0 }, environment: { CUDA_VISIBLE_DEVICES: '1' } }] })
  await until(() => lines.some(({ msg }) => msg === 'worker is ready'), 'ready')
  const { flags, names, threads } = JSON.parse(String(lines.find(({ msg }) => msg === 'worker says')?.['line']))
  t.strictSame({ ...flags, socket: '' }, {
    'model': 'flags.gguf', 'name': 'm', 'socket': '', 'slots': '9', 'context-tokens': '512', 'batch-tokens': '64', 'threads': '1',
    'gpu': 'false', 'sha256': 'f'.repeat(64), 'chat-template': 'chatml', 'thinking-tokens': 'low=9,default=0'
  })
  t.match(dirname(flags.socket), /torchgate-\w{6}$/)
  t.ok(names.includes('PATH') && names.includes('CUDA_VISIBLE_DEVICES'), names.join())
  t.notOk(names.includes('TORCHGATE_TEST_SECRET'))
  t.equal(threads, '11', 'sampling threads for all slots')
})
