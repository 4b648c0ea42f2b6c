/** Models that take turns in one memory, and callers that wait for them: whole gateways, real workers. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type OpenAI from 'openai'
import { test, type Test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { ask, eventually, readAll, startGateway, type Running } from './harness.ts'

/** One of them takes about 180 MB, so two do not fit. */
const ROOM_FOR_ONE = 300_000_000

interface Wish { readonly names?: readonly string[], readonly more?: string, readonly broken?: string }

/** Models `a`, `b` and so on, all the same file but `broken`, loaded on demand into a memory that has room for one. */
function start (t: Test, { names = ['a', 'b'], more = '', broken }: Wish = {}): Promise<Running> {
  const files = { ...Object.fromEntries(names.map(name => [name, BUILTIN_MODEL.path])), ...broken !== undefined && { broken } }
  const models = Object.entries(files).map(([name, path]) => `{ name: ${name}, path: ${path}, contextTokens: 1024, slots: 2, gpu: false, load: demand }`)
  return startGateway(t, `
backends:
  - name: pool
    kind: pool
    memoryBytes: ${ROOM_FOR_ONE}
    models: [${models.join(', ')}]
    restart: { backoffMs: 20, maxBackoffMs: 50, quarantineAfter: 2 }
${more}
models: [${Object.keys(files).map(name => `{ name: ${name}, targets: [{ backend: pool, model: ${name} }] }`).join(', ')}]
tenants: [{ name: default }, { name: other }]
`)
}

const statusOf = (running: Running, name: string) => running.gateway.pools[0]!.status().models.find(({ model }) => model === name)!
const streamed = async (client: OpenAI, content: string, model: string) => readAll(await client.chat.completions.create({ ...ask(content, model), stream: true }))

test('callers of models that exclude each other are all answered, and never more is in memory than fits', { timeout: 60_000 }, async t => {
  const running = await start(t, { names: ['a', 'b', 'c'] })
  const client = await running.client('default')
  let mostUsed = 0
  const watch = setInterval(() => { mostUsed = Math.max(mostUsed, running.gateway.pools[0]!.status().usedBytes) }, 5)
  t.teardown(() => clearInterval(watch))
  const whole = (await streamed(client, 'Count from 1 to 20', 'a')).text
  const answers = await Promise.all(Array.from({ length: 18 }, async (_, at) => {
    await wait(at * 20)
    const model = ['a', 'b', 'c'][at % 3]!
    if (at % 2 === 0) return (await streamed(client, 'Count from 1 to 20', model)).text
    return (await client.chat.completions.create(ask('Count from 1 to 20', model))).choices[0]!.message.content
  }))
  t.same(answers, answers.map(() => whole))
  t.ok(mostUsed > 0 && mostUsed < ROOM_FOR_ONE, `${mostUsed} bytes`)
  const evicted = await running.metric('torchgate_model_unloads_total', { reason: 'evicted' })
  t.ok(evicted >= 2 && evicted <= 9, `${evicted} swaps for eighteen calls: they are served in batches`)
  t.equal(await running.metric('torchgate_worker_restarts_total'), 0)
  t.same(['a', 'b', 'c'].map(name => statusOf(running, name).queued), [0, 0, 0])
})

test('a busy model finishes its streams first, and a crowded one gives way after its turn', { timeout: 60_000 }, async t => {
  const running = await start(t, { more: '    swap: { afterCalls: 3, afterMs: 2000 }' })
  const client = await running.client('default')
  await streamed(client, 'Hello', 'a')
  const over = new AbortController()
  const crowd = Promise.all(Array.from({ length: 3 }, async () => {
    const texts = new Set<string>()
    while (!over.signal.aborted) texts.add((await streamed(client, 'Count from 1 to 30', 'a')).text)
    return texts
  }))
  await wait(100)
  const started = performance.now()
  const answer = await streamed(client, 'What is the capital of France?', 'b')
  const tookMs = performance.now() - started
  over.abort()
  t.equal(answer.text, 'The capital of France is Paris.')
  t.ok(tookMs < 15_000, `${Math.round(tookMs)} ms, load included`)
  t.equal(new Set((await crowd).flatMap(texts => [...texts])).size, 1, 'no stream of the crowd was cut short')
})

test('callers that leave during a load leave nothing behind, and the load goes on for the next one', { timeout: 60_000 }, async t => {
  const running = await start(t)
  const client = await running.client('default')
  const controller = new AbortController()
  const left = Promise.allSettled(Array.from({ length: 6 }, (_, at) =>
    client.chat.completions.create({ ...ask('Count from 1 to 40', 'a'), stream: at % 2 === 0 }, { signal: controller.signal })))
  t.ok(await eventually(() => statusOf(running, 'a').queued === 6 && statusOf(running, 'a').state === 'loading'))
  const { pid } = statusOf(running, 'a').workers[0]!
  controller.abort()
  t.ok(await eventually(() => statusOf(running, 'a').queued === 0, 500), 'the queue is empty at once')
  t.ok((await left).every(({ status }) => status === 'rejected'))
  t.equal((await streamed(client, 'What is the capital of France?', 'a')).text, 'The capital of France is Paris.')
  t.equal(statusOf(running, 'a').workers[0]!.pid, pid, 'by the same process')
  t.equal(await running.metric('torchgate_requests_total', { outcome: 'cancelled' }), 6)

  const other = new AbortController()
  const waiting = client.chat.completions.create(ask('Hello', 'b'), { signal: other.signal }).catch(() => null)
  t.ok(await eventually(() => statusOf(running, 'b').state === 'loading'))
  other.abort()
  await waiting
  t.equal((await streamed(client, 'What is the capital of France?', 'a')).text, 'The capital of France is Paris.', 'a load that nobody wants is broken off for one that is wanted')
  t.same([statusOf(running, 'a').state, statusOf(running, 'b').state], ['ready', 'unloaded'])
  t.equal(await running.metric('torchgate_worker_restarts_total'), 0, 'none of it counts as a crash')
})

test('a model that cannot be loaded gives the memory back, and callers of the others are answered', { timeout: 60_000 }, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'torchgate-swaps-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  const broken = join(folder, 'broken.gguf')
  const whole = readFileSync(BUILTIN_MODEL.path)
  // Its head says that it takes as much as the others.
  writeFileSync(broken, whole.subarray(0, whole.length / 2))
  const running = await start(t, { names: ['a'], broken })
  const client = await running.client('default')
  await streamed(client, 'Hello', 'a')
  const [failed, ...answers] = await Promise.allSettled([streamed(client, 'Hello', 'broken'), ...[1, 2, 3].map(async at => {
    await wait(at * 100)
    return (await streamed(client, 'What is the capital of France?', 'a')).text
  })])
  t.match(failed, { status: 'rejected', reason: { message: /w0 quarantined \(load failed: / } })
  t.same(answers, answers.map(() => ({ status: 'fulfilled', value: 'The capital of France is Paris.' })))
  t.match(statusOf(running, 'broken'), { state: 'down', queued: 0 })
  t.ok(running.gateway.pools[0]!.status().usedBytes < ROOM_FOR_ONE)
})

test('keep_alive of a call says how long its model stays', { timeout: 60_000 }, async t => {
  const running = await start(t, { names: ['a'] })
  const client = await running.client('default')
  const asked = (keepAlive: number | string) => client.chat.completions.create({ ...ask('Hello', 'a'), keep_alive: keepAlive } as never)
  await asked('10m')
  const left = statusOf(running, 'a').unloadsInMs
  t.ok(left !== null && left > 590_000 && left <= 600_000, `${left} ms`)
  const { pid } = statusOf(running, 'a').workers[0]!
  await asked(0)
  t.ok(await eventually(() => statusOf(running, 'a').state === 'unloaded'))
  t.throws(() => process.kill(pid!, 0), { code: 'ESRCH' }, 'its process is gone')
  await t.rejects(asked('soon'), { message: /^400 .*keep_alive/ })
  await t.rejects(asked('9000h'), { message: /^400 .*keep_alive/ })
})
