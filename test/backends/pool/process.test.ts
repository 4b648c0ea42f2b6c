import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'tap'
import { WorkerProcess, type Loaded } from '../../../src/backends/pool/process.ts'
import { isolationOf } from '../../../src/backends/pool/isolation.ts'
import { configOf, isAlive, MODEL, openReady, SCRIPTED, until } from './parts.ts'

test('a process that was killed leaves no socket behind', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'process-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  const socketPath = join(folder, '0.sock')
  const ready = Promise.withResolvers<Loaded>()
  let ends = 0
  const worker = new WorkerProcess({ entry: SCRIPTED, model: MODEL, isolation: isolationOf('local', 'off'), socketPath, loadMs: 10_000, watchdog: { silentMs: 15_000, stepMs: 15_000 } }, {
    ready: ready.resolve, said: () => {}, ended: () => { ends++ }
  })
  t.match(await ready.promise, { contextTokens: 512, slots: 4, memoryBytes: 1000 })
  t.ok(existsSync(socketPath))
  process.kill(worker.pid ?? NaN, 'SIGKILL')
  await worker.ended
  t.strictSame([existsSync(socketPath), worker.pid, worker.lastExit, ends], [false, null, 'SIGKILL', 1])
  await worker.stop()
})

if (existsSync('/proc/self/environ')) {
  test('each worker of a model can have a device of its own', async t => {
    const { workers } = await openReady(t, { models: [{ workers: 2, environment: { CUDA_VISIBLE_DEVICES: '{worker}', OTHER: 'same' } }] })
    const devices = workers().map(({ pid }) => readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(line => /^(CUDA|OTHER)/.test(line)).toSorted())
    t.strictSame(devices, [['CUDA_VISIBLE_DEVICES=0', 'OTHER=same'], ['CUDA_VISIBLE_DEVICES=1', 'OTHER=same']])
  })
}

test('a worker that will not end is killed', async t => {
  const { pool, workers } = await openReady(t, { models: [{ path: 'stubborn.gguf' }] })
  const pid = workers()[0]?.pid ?? null
  const start = performance.now()
  await pool.close()
  t.equal(isAlive(pid), false)
  t.ok(performance.now() - start >= 4900, 'after 5 s, not before')
})

for (const end of ['process.exit(3)', 'process.kill(process.pid, \'SIGKILL\')']) {
  test(`no worker outlives a gateway that ends by ${end}`, async t => {
    // A worker that does not watch its parent shows that the gateway takes it along; after SIGKILL only the worker can notice.
    const path = end.includes('exit') ? 'stubborn.gguf' : 'good.gguf'
    const pool = fileURLToPath(new URL('../../../src/backends/pool/pool.ts', import.meta.url))
    const program = `
      const { createPool } = await import(${JSON.stringify(pool)})
      const observer = { workerLost () {}, workerReady () {}, queueLeft () {}, admissionRejected () {} }
      const pool = createPool(${JSON.stringify(configOf({ models: [{ path }] }))}, { observer, entry: ${JSON.stringify(SCRIPTED)} })
      await pool.whenReady(AbortSignal.timeout(10_000))
      process.stdout.write(String(pool.status().models[0].workers[0].pid), () => { ${end} })`
    const TMPDIR = mkdtempSync(join(tmpdir(), 'gateway-'))
    t.teardown(() => { rmSync(TMPDIR, { recursive: true }) })
    const gateway = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, TMPDIR }
    })
    let output = ''
    gateway.stdout.on('data', (bytes: Buffer) => { output += bytes.toString() })
    await once(gateway, 'close')
    const pid = Number(output)
    t.ok(pid > 0)
    t.teardown(() => { if (isAlive(pid)) process.kill(pid, 'SIGKILL') })
    await until(() => !isAlive(pid), 'the worker has ended')
  })
}
