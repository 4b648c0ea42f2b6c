import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test, type Test } from 'tap'
import { CAN_SEAL, commandOf, isolationOf, type Isolation } from '../../../src/backends/pool/isolation.ts'
import { WorkerProcess } from '../../../src/backends/pool/process.ts'
import { BUILTIN_MODEL } from '../../../src/models/builtin.ts'
import type { LocalModelConfig } from '../../../src/config/schema.ts'
import type { Report } from './curious-worker.ts'
import { configOf, isAlive, kill, MODEL, NOBODY, openPool, until } from './parts.ts'
import { createPool } from '../../../src/backends/pool/pool.ts'

// tap would load itself into the workers, and write files at their end.
const tapSpawns = Object.getOwnPropertyDescriptor(globalThis, Symbol.for('process-on-spawn@*:singletonId'))?.value as { listeners: unknown[] } | undefined
tapSpawns?.listeners.splice(0)

const CURIOUS = fileURLToPath(new URL('curious-worker.ts', import.meta.url))
const { networkNamespace, reason } = isolationOf('local', 'auto')
const needsNamespace = networkNamespace ? {} : { skip: `no network namespace here: ${reason}` }
const needsSeal = CAN_SEAL ? {} : { skip: 'Node 26.3 and newer can give up permissions' }

/** A model, a file that is none, and a server on this host that counts its visitors. */
async function surroundings (t: Test): Promise<{ model: Partial<LocalModelConfig>, folder: string, visitors: () => number }> {
  const folder = t.testdir({ 'model.gguf': 'a model', 'secret.txt': 'a secret' })
  let visitors = 0
  const server = createServer(socket => { visitors++; socket.destroy() }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  const environment = { CURIOUS_PORT: String((server.address() as AddressInfo).port), CURIOUS_FILE: join(folder, 'secret.txt'), CURIOUS_FOLDER: folder }
  return { model: { path: join(folder, 'model.gguf'), environment }, folder, visitors: () => visitors }
}

function reportsIn (lines: readonly unknown[]): Report[] {
  const parts = lines.flatMap(line => /^report(?: (.*)|ed)$/.exec(String(line))?.[1] ?? (line === 'reported' ? '\n' : []))
  return parts.join('').split('\n').slice(0, -1).map(report => JSON.parse(report) as Report)
}

/** What a curious worker has found out under the given isolation. */
async function reportOf (t: Test, isolation: Isolation, model: Partial<LocalModelConfig>): Promise<{ report: Report, worker: WorkerProcess }> {
  const said = Promise.withResolvers<Report>()
  const lines: string[] = []
  const sockets = mkdtempSync(join(tmpdir(), 'isolation-'))
  const worker = new WorkerProcess({
    entry: CURIOUS, model: { ...MODEL, ...model }, isolation, socketPath: join(sockets, '0.sock'), loadMs: 20_000, watchdog: { silentMs: 15_000, stepMs: 15_000 }
  }, {
    ready: () => {},
    said: line => { lines.push(line); if (line === 'reported') said.resolve(reportsIn(lines)[0]!) },
    ended: () => { said.reject(new Error(`ended before it had reported: ${lines.join('\n')}`)) }
  })
  t.teardown(async () => {
    await worker.stop()
    rmSync(sockets, { recursive: true })
  })
  return { report: await said.promise, worker }
}

const DENIED = 'ERR_ACCESS_DENIED'

test('a worker reads its program and its model, and does nothing else', async t => {
  const { model, folder, visitors } = await surroundings(t)
  const { report: { loading } } = await reportOf(t, isolationOf('local', 'auto'), model)
  const { 'read its model': read, 'connect to the host': connected, ...others } = loading
  t.equal(read, 'ok')
  t.strictSame(others, {
    'write its model': DENIED,
    'read another file': DENIED,
    'read the environment of the gateway': DENIED,
    'list a folder': DENIED,
    'write a file': DENIED,
    'start a process': DENIED,
    'start a thread': DENIED
  })
  if (networkNamespace) t.equal(connected, 'ENETUNREACH', 'it may connect, and there is nowhere to go')
  t.equal(visitors(), networkNamespace ? 0 : 1)
  t.notOk(existsSync(join(folder, 'written-by-a-worker')))
})

test('once its model is loaded it does nothing at all', needsSeal, async t => {
  const { model, visitors } = await surroundings(t)
  const { report: { sealed } } = await reportOf(t, { wanted: 'auto', permissions: true, networkNamespace: false, reason: 'a test' }, model)
  t.strictSame(new Set(Object.values(sealed)), new Set([DENIED]), JSON.stringify(sealed))
  t.equal(visitors(), 1, 'the one while it loaded: without a namespace JavaScript is held only then')
})

test('what loads a GPU may look around and start its helper, but only while it loads', needsSeal, async t => {
  const { model, visitors } = await surroundings(t)
  const { report: { loading, sealed } } = await reportOf(t, isolationOf('local', 'auto'), { ...model, gpu: 'auto' })
  t.match(loading, { 'read another file': 'ok', 'start a process': 'ok', 'write a file': DENIED, 'write its model': DENIED })
  t.strictSame(new Set(Object.values(sealed)), new Set([DENIED]), JSON.stringify(sealed))
  t.equal(visitors(), networkNamespace ? 0 : 1)
})

test('code that no permission holds still has no network, and cannot look into the gateway', needsNamespace, async t => {
  const { model, visitors } = await surroundings(t)
  const { report: { loading } } = await reportOf(t, { wanted: 'auto', permissions: false, networkNamespace: true, reason: null }, model)
  t.match(loading, { 'read another file': 'ok', 'start a process': 'ok', 'connect to the host': 'ENETUNREACH', 'read the environment of the gateway': 'EACCES' })
  t.equal(visitors(), 0)
})

test('without isolation a worker can do all of it', async t => {
  const { model, visitors } = await surroundings(t)
  const { report: { loading, sealed } } = await reportOf(t, isolationOf('local', 'off'), model)
  t.strictSame(new Set([...Object.values(loading), ...Object.values(sealed)]), new Set(['ok']), 'or the other tests would show nothing')
  t.equal(visitors(), 2)
})

test('no secret of the gateway is in the environment of a worker', async t => {
  const { model } = await surroundings(t)
  for (const name of ['OPENAI_API_KEY', 'TORCHGATE_SECRET', 'REDIS_URL', 'NODE_OPTIONS_SECRET', 'AWS_SECRET_ACCESS_KEY']) {
    process.env[name] = 'sk-canary'
    t.teardown(() => { delete process.env[name] })
  }
  const { report: { environment } } = await reportOf(t, isolationOf('local', 'auto'), model)
  t.notOk(environment.some(line => line.includes('sk-canary')), environment.join(' '))
  const known = /^(PATH|HOME|TMPDIR|TZ|LANG|LC_ALL|LD_LIBRARY_PATH|XDG_RUNTIME_DIR|CUDA_VISIBLE_DEVICES|NVIDIA_VISIBLE_DEVICES|GGML_VK_VISIBLE_DEVICES|VK_ICD_FILENAMES|VK_DRIVER_FILES|UV_THREADPOOL_SIZE|NODE_COMPILE_CACHE|NODE_CHANNEL_FD|NODE_CHANNEL_SERIALIZATION_MODE|CURIOUS_\w+)=/
  t.strictSame(environment.filter(line => !known.test(line)), [])
})

test('signals reach the worker itself, and a killed one is started again in the same isolation', async t => {
  const { model } = await surroundings(t)
  const { workers, lines, pool } = openPool(t, { models: [model], isolation: 'auto' }, { entry: CURIOUS })
  const reports = (): Report[] => reportsIn(lines.map(({ line }) => line))
  const ready = (count: number) => until(() => reports().length === count && workers()[0]?.state === 'ready', `report ${count}`)
  await ready(1)
  t.equal(workers()[0]?.pid, reports()[0]?.pid)
  if (networkNamespace) t.not(readlinkSync(`/proc/${workers()[0]?.pid}/ns/net`), readlinkSync('/proc/self/ns/net'))
  kill(workers()[0], 'SIGKILL')
  await until(() => workers()[0]?.lastExit === 'SIGKILL', 'the end is seen')
  await ready(2)
  const { pid = null } = workers()[0] ?? {}
  t.equal(pid, reports()[1]?.pid)
  t.strictSame(Object.keys(reports()[1]!.loading).filter(deed => reports()[1]!.loading[deed] === 'ok'), networkNamespace ? ['read its model'] : ['read its model', 'connect to the host'])
  await pool.close()
  t.equal(isAlive(pid), false)
  t.equal(workers()[0]?.lastExit, 'exit 0', 'SIGTERM came to the worker')
})

test('where there is no namespace the operator is told once, or nothing is started', async t => {
  const { PATH = '' } = process.env
  t.teardown(() => { process.env['PATH'] = PATH })
  process.env['PATH'] = t.testdir()
  const { pool, lines, workers } = openPool(t, { isolation: 'auto', models: [{ workers: 2 }] })
  t.match(pool.status().isolation, { wanted: 'auto', permissions: true, networkNamespace: false, reason: 'there is no unshare (of util-linux) in PATH' })
  t.match(lines, [{ level: 'warn', pool: 'local', reason: /unshare/ }])
  await until(() => workers().every(({ state }) => state === 'ready'), 'it runs without')
  t.equal(lines.filter(({ level }) => level === 'warn').length, 1)
  t.throws(() => createPool(configOf({ isolation: 'required' }), { observer: NOBODY }), { message: /^local: isolation is required, but .* no unshare .* set isolation: auto\.$/ })
})

for (const [what, script, expected] of [
  ['is refused', 'echo "unshare: write failed /proc/self/uid_map: Operation not permitted" >&2; exit 1', /Operation not permitted/],
  ['does nothing', 'shift 4; exec "$@"', /left the network as it was/],
  ['is silent', 'exit 3', /exit 3/]
] as const) {
  test(`an unshare that ${what} is not believed`, async t => {
    const { PATH = '' } = process.env
    t.teardown(() => { process.env['PATH'] = PATH })
    const bin = t.testdir()
    writeFileSync(join(bin, 'unshare'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    process.env['PATH'] = `${bin}:${PATH}`
    t.match(isolationOf('local', 'auto'), { networkNamespace: false, reason: expected })
  })
}

test('the model that comes along loads and answers under isolation, also behind a link', async t => {
  const folder = t.testdir({})
  mkdirSync(join(folder, 'models'))
  symlinkSync(BUILTIN_MODEL.path, join(folder, 'models', 'linked.gguf'))
  const pool = createPool(configOf({
    isolation: networkNamespace ? 'required' : 'auto',
    timeouts: { loadMs: 60_000 },
    models: [{ path: join(folder, 'models', 'linked.gguf'), sha256: BUILTIN_MODEL.sha256, slots: 2 }, { name: 'auto', path: BUILTIN_MODEL.path, gpu: 'auto' }]
  }), { observer: NOBODY })
  t.teardown(() => pool.close(AbortSignal.abort()))
  await pool.whenReady(AbortSignal.timeout(60_000))
  for (const model of ['m', 'auto']) {
    const answer = await pool.chat({ model, messages: [{ role: 'user', content: 'Hi' }], temperature: 0, max_tokens: 8 }, { signal: AbortSignal.timeout(30_000), boundary: 'local', callId: '1', isolation: 'acme' })
    t.match(JSON.parse(answer.kind === 'body' ? answer.bytes.toString() : '{}'), { choices: [{ message: { content: /\w/ } }] })
  }
  const [pid] = pool.status().models.flatMap(({ workers }) => workers.map(worker => worker.pid))
  t.match(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0'), new Set(['--permission']))
})

test('the command of a worker names what it may read, and starts with nothing else', async t => {
  const needs = { entry: '/app/src/worker/main.ts', model: '/models/a b,c.gguf', socketPath: '/tmp/x/0.sock', usesGpu: false, compiled: null }
  const [command, args] = commandOf({ wanted: 'auto', permissions: true, networkNamespace: false, reason: null }, needs, ['--name', 'a'])
  t.equal(command, process.execPath)
  t.strictSame(args.slice(-3), [needs.entry, '--name', 'a'])
  t.ok(args.includes('--allow-fs-read=/models/a b,c.gguf'))
  t.strictSame(args.filter(arg => arg.startsWith('--allow-fs-write')), ['--allow-fs-write=/tmp/x/0.sock'])
  t.notOk(args.some(arg => arg.endsWith('=*') || arg === '--allow-child-process' || arg === '--allow-worker'))
})
