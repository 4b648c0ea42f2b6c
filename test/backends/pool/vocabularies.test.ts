/** Vocabularies in real processes, while their models are not in memory. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import tap, { test, type Test } from 'tap'
import type { Question } from '../../../src/backends/pool/attempt.ts'
import { createPool, type Pool } from '../../../src/backends/pool/pool.ts'
import type { WorkerProcess } from '../../../src/backends/pool/process.ts'
import { Vocabularies, type VocabulariesSetup } from '../../../src/backends/pool/vocabularies.ts'
import type { LocalModelConfig } from '../../../src/config/schema.ts'
import { BUILTIN_MODEL } from '../../../src/models/builtin.ts'
import type { BodyAnswer } from '../../../src/wire/answer.ts'
import { configOf, isAlive, NOBODY, until } from './parts.ts'

const hasProc = readdirSync('/').includes('proc')
const folder = tap.testdir()
const broken = join(folder, 'broken.gguf')
writeFileSync(broken, 'no model')

function open (t: Test, ...paths: readonly string[]): Pool {
  const models = paths.map((path, at) => ({ name: `m${at}`, path, load: 'demand' as const, slots: 1 }))
  const pool = createPool(configOf({ models }), { observer: NOBODY, estimate: () => 1 })
  t.teardown(() => pool.close(AbortSignal.abort()))
  return pool
}

const options = (signal = new AbortController().signal) => ({ signal, boundary: 'local' as const, callId: 'call-1', isolation: 'acme' })
const count = (pool: Pool, model: string, signal?: AbortSignal) => pool.count!({ model, n: 3, messages: [{ role: 'user', content: 'Hello there' }] }, options(signal))

/** Ids of the processes that hold vocabularies for this one. */
function processes (): number[] {
  return readdirSync('/proc').filter(name => /^\d+$/.test(name)).map(Number).filter(pid => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--vocabulary-only') && readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[1] === String(process.pid)
    } catch {
      return false
    }
  })
}

test('texts are read and prompts counted by one process that stays, and no model is loaded', { skip: !hasProc }, async t => {
  const pool = open(t, BUILTIN_MODEL.path)
  const controller = new AbortController()
  const left = count(pool, 'm0', controller.signal)
  const all = Array.from({ length: 33 }, () => count(pool, 'm0'))
  controller.abort()
  await t.rejects(left, { code: 'client_closed' }, 'a caller that leaves waits no longer')
  const results = await Promise.allSettled(all)
  const refused = results.filter(result => result.status === 'rejected')
  t.equal(refused.length, 2)
  t.match(refused[0], { reason: { code: 'backend_overloaded', message: /32 calls read texts/ } })
  const counts = results.flatMap(result => result.status === 'fulfilled' ? [result.value] : [])
  t.equal(new Set(counts).size, 1)
  const { value } = await pool.tokenize!({ model: 'm0', content: 'Hello there' }, options()) as BodyAnswer
  const { tokens } = value as { tokens: number[] }
  t.ok(tokens.length > 0 && tokens.length < counts[0]!, 'a prompt has its template besides')
  t.match(await pool.detokenize!({ model: 'm0', tokens }, options()), { value: { content: 'Hello there' } })
  t.equal(processes().length, 1)
  t.match(pool.status(), { usedBytes: 0, models: [{ state: 'unloaded', workers: [{ pid: null, restarts: 0 }] }] })
  process.kill(processes()[0]!, 'SIGKILL')
  await until(() => processes().length === 0, 'it has ended')
  await sleep(50)
  t.equal(await count(pool, 'm0'), counts[0], 'another one is started when it was killed')
  const [pid] = processes()
  await pool.close()
  t.equal(isAlive(pid!), false, 'it ends with the pool')
})

test('a third vocabulary takes the place of the one used longest ago', { skip: !hasProc }, async t => {
  const pool = open(t, BUILTIN_MODEL.path, BUILTIN_MODEL.path, BUILTIN_MODEL.path)
  await count(pool, 'm0')
  const [first] = processes()
  await count(pool, 'm1')
  await count(pool, 'm0')
  const second = processes().find(pid => pid !== first)
  await count(pool, 'm2')
  await until(() => processes().length === 2, 'two are left')
  t.ok(processes().includes(first!))
  t.notOk(processes().includes(second!))
})

test('one that cannot be loaded says why, at once for those who ask again', async t => {
  const pool = open(t, broken)
  await t.rejects(count(pool, 'm0'), { code: 'backend_unavailable', message: /the vocabulary of m0 cannot be loaded; load failed: .*not a GGUF file/ })
  const start = performance.now()
  await t.rejects(count(pool, 'm0'), { code: 'backend_unavailable' })
  t.ok(performance.now() - start < 50)
})

test('one that could not be loaded is tried again after a while, however often it was asked for meanwhile', async t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => { mock.timers.reset() })
  let starts = 0
  const start: VocabulariesSetup['start'] = (_, { ended }) => {
    starts++
    queueMicrotask(ended)
    return { readyAt: null, lastExit: 'exit 1', stop: async () => undefined } as WorkerProcess
  }
  const vocabularies = new Vocabularies({ pool: 'p', start })
  const ask = () => vocabularies.ask({ name: 'm' } as LocalModelConfig, {} as Question, new AbortController().signal)
  await t.rejects(ask(), { code: 'backend_unavailable' })
  mock.timers.tick(9_000)
  await t.rejects(ask(), { code: 'backend_unavailable' })
  t.equal(starts, 1)
  mock.timers.tick(1_000)
  await t.rejects(ask(), { code: 'backend_unavailable' })
  t.equal(starts, 2)
})
