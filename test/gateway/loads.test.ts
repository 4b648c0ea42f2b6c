/** Loads that are watched, refused, broken off and failed: whole gateways, real workers. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { ask, eventually, startGateway, type Running } from './harness.ts'

/** `broken`: the file of a second model, `b`. */
interface Wish { readonly queue?: string, readonly broken?: string, readonly server?: string, readonly restart?: string }

function start (t: Test, { queue = '{}', broken, server, restart = '{ backoffMs: 20, maxBackoffMs: 50 }' }: Wish = {}): Promise<Running> {
  const files = { a: BUILTIN_MODEL.path, ...broken !== undefined && { b: broken } }
  const names = Object.keys(files)
  const models = Object.entries(files).map(([name, path]) => `{ name: ${name}, path: ${path}, contextTokens: 1024, slots: 1, gpu: false, load: demand }`)
  return startGateway(t, `
backends:
  - name: pool
    kind: pool
    models: [${models.join(', ')}]
    queue: ${queue}
    restart: ${restart}
models: [${names.map(name => `{ name: ${name}, targets: [{ backend: pool, model: ${name} }] }`).join(', ')}]
tenants: [{ name: default }, { name: other }]
`, {}, server)
}

const statusOf = (running: Running, name = 'a') => running.gateway.pools[0]!.status().models.find(({ model }) => model === name)!

interface Shown { pools: { models: { model: string, state: string, loadFraction: number | null, queued: number, waiting: { position: number, tenant: string, waitedMs: number }[] }[] }[] }

/** What a caller gets who does not use an SDK, and how soon. */
async function post (running: Running, key: string, body: object, path = '/v1/chat/completions') {
  const sentMs = performance.now()
  const response = await fetch(running.url + path, { method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body: JSON.stringify(body) })
  const text = await response.text()
  return { status: response.status, retryAfter: response.headers.get('retry-after'), text, tookMs: performance.now() - sentMs }
}

/** A busy machine lets the others wait. */
const soonest = (answers: readonly { tookMs: number }[]) => Math.min(...answers.map(({ tookMs }) => tookMs))

test('the status shows how far a load is and who waits where; the metrics count them', { timeout: 60_000 }, async t => {
  const running = await start(t)
  const [one, two] = [await running.client('default'), await running.client('other')]
  const calls = [one.chat.completions.create(ask('Hello', 'a'))]
  t.ok(await eventually(() => statusOf(running).queued === 1))
  calls.push(one.chat.completions.create(ask('Hello', 'a')))
  t.ok(await eventually(() => statusOf(running).queued === 2))
  calls.push(two.chat.completions.create(ask('Hello', 'a')))
  const fractions: number[] = []
  let places: string[] = []
  let counted = 0
  await eventually(async () => {
    const { pools: [pool] } = await running.admin<Shown>('/admin/v1/status')
    const [model] = pool!.models
    if (model!.state !== 'loading') return model!.state === 'ready'
    fractions.push(model!.loadFraction!)
    if (model!.queued < 3) return false
    places = model!.waiting.map(({ position, tenant }) => `${position} ${tenant}`)
    // The load may end between the two questions.
    counted = Math.max(counted, await running.metric('torchgate_queue_depth', { pool: 'pool' }))
    return false
  }, 20_000)
  t.same(places, ['1 default', '2 other', '3 default'], 'in the order in which they will be served: tenants by turns')
  t.equal(counted, 3)
  t.ok(fractions.length > 3 && fractions.some(fraction => fraction > 0 && fraction < 1), fractions.map(fraction => fraction.toFixed(2)).join(' '))
  t.same(fractions, fractions.toSorted((a, b) => a - b), 'never falling')
  await Promise.all(calls)
  t.match(statusOf(running), { state: 'ready', loadFraction: null, queued: 0 })
})

test('a full queue says so at once and when to come back, while the model loads and while it is busy', { timeout: 60_000 }, async t => {
  const running = await start(t, { queue: '{ length: 1 }' })
  const key = await running.key('default')
  // What a first call costs is not what is asked here.
  await post(running, key, ask('Hello', 'nothing'))
  const refused = async (what: string) => {
    const answers = []
    for (const stream of [false, true, false, true]) answers.push(await post(running, key, { ...ask('Hello', 'a'), stream }))
    for (const { status, retryAfter, text } of answers) {
      t.equal(status, 503)
      t.ok(Number(retryAfter) >= 1 && Number(retryAfter) <= 60, `${what}: after ${retryAfter} s`)
      t.match(JSON.parse(text), { error: { code: 'backend_overloaded', message: /1 calls wait already|at capacity/ } })
    }
    t.ok(soonest(answers) < 50, `${what}: ${soonest(answers).toFixed(1)} ms`)
    t.equal((await post(running, key, { model: 'a', max_tokens: 5, messages: [{ role: 'user', content: 'Hello' }] }, '/v1/messages')).status, 529)
  }
  const first = post(running, key, ask('Count from 1 to 40', 'a'))
  t.ok(await eventually(() => statusOf(running).state === 'loading'))
  await refused('loading')
  t.ok(await eventually(() => statusOf(running).workers[0]!.busySlots === 1, 20_000))
  const second = post(running, key, ask('Hello', 'a'))
  t.ok(await eventually(() => statusOf(running).queued === 1))
  await refused('busy')
  t.same([(await first).status, (await second).status], [200, 200])
})

test('who would wait too long is refused at once, who has waited too long is told so', { timeout: 60_000 }, async t => {
  const running = await start(t, { queue: '{ timeoutMs: 200 }' })
  const key = await running.key('default')
  const { status, text, retryAfter } = await post(running, key, ask('Hello', 'a'))
  t.equal(status, 503)
  t.match(JSON.parse(text), { error: { code: 'backend_overloaded', message: 'pool: no slot of a came free within 200 ms.' } })
  t.ok(Number(retryAfter) >= 1)
  t.ok(await eventually(() => statusOf(running).state === 'ready', 20_000), 'the load has gone on')
  for (let i = 0; i < 8; i++) t.equal((await post(running, key, ask('Count from 1 to 20', 'a'))).status, 200)
  const crowd = await Promise.all(Array.from({ length: 12 }, () => post(running, key, ask('Count from 1 to 40', 'a'))))
  const soon = crowd.filter(answer => /which takes about \d+ ms; at most 200 ms are waited/.test(answer.text))
  t.ok(soon.length >= 3, `${soon.length} of 12`)
  for (const { retryAfter: seconds } of soon) t.ok(Number(seconds) >= 1)
})

test('a worker that is killed while it loads is started again, and its callers are answered', { timeout: 60_000 }, async t => {
  const running = await start(t)
  const client = await running.client('default')
  const answers = [1, 2].map(() => client.chat.completions.create(ask('What is the capital of France?', 'a')))
  t.ok(await eventually(() => (statusOf(running).loadFraction ?? 0) > 0, 20_000))
  process.kill(statusOf(running).workers[0]!.pid!, 'SIGKILL')
  for (const { choices } of await Promise.all(answers)) t.equal(choices[0]!.message.content, 'The capital of France is Paris.')
  t.equal(await running.metric('torchgate_worker_restarts_total', { reason: 'load_failed' }), 1)
})

test('a broken or missing file fails its own calls, by name, and no others; a good one in its place is served', { timeout: 60_000 }, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'torchgate-loads-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  const broken = join(folder, 'broken.gguf')
  const whole = readFileSync(BUILTIN_MODEL.path)
  writeFileSync(broken, whole.subarray(0, whole.length / 2))
  const running = await start(t, { broken, restart: '{ backoffMs: 20, maxBackoffMs: 50, quarantineAfter: 2, quarantineMs: 1000 }' })
  const client = await running.client('default')
  const failing = async (why: RegExp) => {
    const results = await Promise.allSettled([1, 2].map(stream => client.chat.completions.create({ ...ask('Hello', 'b'), stream: stream === 1 })))
    for (const result of results) t.match(result, { status: 'rejected', reason: { status: 503, message: why } })
  }
  const other = client.chat.completions.create(ask('What is the capital of France?', 'a'))
  await failing(/no worker for b is running; w0 quarantined \(load failed: /)
  t.equal((await other).choices[0]!.message.content, 'The capital of France is Paris.')
  rmSync(broken)
  t.ok(await eventually(() => statusOf(running, 'b').state === 'unloaded', 5000), 'the quarantine is over')
  await failing(/load failed: .*(no such file|cannot be read|ENOENT|not exist)/i)
  copyFileSync(BUILTIN_MODEL.path, broken)
  t.ok(await eventually(() => statusOf(running, 'b').state === 'unloaded', 5000))
  t.equal((await client.chat.completions.create(ask('What is the capital of France?', 'b'))).choices[0]!.message.content, 'The capital of France is Paris.')
  // A file that vanishes under a model in memory matters at the next load only.
  rmSync(broken)
  t.equal((await client.chat.completions.create(ask('What is the capital of France?', 'b'))).choices[0]!.message.content, 'The capital of France is Paris.')
})

test('a gateway that is closed while a model loads answers who waits, and leaves no process', { timeout: 60_000 }, async t => {
  const running = await start(t, { server: 'drainTimeoutMs: 100, heartbeatMs: 100' })
  const key = await running.key('default')
  const waiting = [post(running, key, ask('Hello', 'a')), post(running, key, { ...ask('Hello', 'a'), stream: true })]
  t.ok(await eventually(() => statusOf(running).queued === 2 && statusOf(running).workers[0]!.pid !== null))
  const { pid } = statusOf(running).workers[0]!
  const startedMs = performance.now()
  await running.gateway.close()
  t.ok(performance.now() - startedMs < 3000, `${Math.round(performance.now() - startedMs)} ms`)
  t.throws(() => process.kill(pid!, 0), { code: 'ESRCH' })
  const [whole, stream] = await Promise.all(waiting)
  t.match(JSON.parse(whole!.text), { error: { code: 'draining' } })
  t.equal(whole!.status, 503)
  t.match(stream!.text, /"code":"draining"/)
  t.notMatch(stream!.text, /\[DONE\]/)
})
