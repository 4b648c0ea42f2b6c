/** Two gateways, each a process of its own, on one real Redis: limits are exact across them, and its loss costs callers nothing. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { openFolder, start, type Started } from '../cli/command.ts'
import { RedisServer, withoutRedis } from '../state/server.ts'
import { ask, eventually, seriesOf } from './harness.ts'
import { startProvider, type Provider } from './provider.ts'

const limits = { timeout: 60_000, skip: withoutRedis }

interface Scene { readonly redis: RedisServer, readonly provider: Provider, readonly gateways: readonly Started[] }

interface SceneOptions { readonly tenant: string, readonly count?: number, readonly onStateLoss?: string, readonly timeoutMs?: number }

/** @param timeoutMs by default so long that Redis on a busy machine is slow, but not lost */
async function scene (t: Test, { tenant, count = 2, onStateLoss = 'local', timeoutMs = 5_000 }: SceneOptions): Promise<Scene> {
  const redis = await RedisServer.start(t)
  const provider = await startProvider(t)
  const gateways = await Promise.all(Array.from({ length: count }, async () => {
    const folder = openFolder(t)
    const file = join(folder, 'torchgate.yaml')
    writeFileSync(file, `
backends: [{ name: cloud, kind: openai, baseUrl: "${provider.url}", locality: cloud }]
models: [{ name: m, targets: [{ backend: cloud, model: m }] }]
tenants: [{ name: default, limits: ${tenant} }]
state: { redis: { url: { env: REDIS_URL }, timeoutMs: ${timeoutMs} } }
limits: { onStateLoss: ${onStateLoss} }
`)
    return start(t, folder, ['--config', file], { env: { REDIS_URL: redis.url } })
  }))
  return { redis, provider, gateways }
}

async function call ({ url, key }: Started) {
  const startMs = performance.now()
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(ask('Hello', 'm'))
  })
  const body = await response.json() as { error?: { code: string } }
  return { status: response.status, code: body.error?.code, retryAfter: response.headers.get('retry-after'), ms: performance.now() - startMs }
}

async function degraded ({ adminUrl }: Started): Promise<number> {
  return seriesOf(await (await fetch(`${adminUrl}/metrics`)).text(), 'torchgate_store_degraded', { store: 'state' })
}

/** 20 calls at once, shared out evenly. @returns how many were answered, for the whole and by gateway */
async function twentyCalls (t: Test, gateways: readonly Started[]) {
  const outcomes = await Promise.all(Array.from({ length: 20 }, async (_, index) => {
    const at = index % gateways.length
    return { at, ...await call(gateways[at]!) }
  }))
  const answered = outcomes.filter(({ status }) => status === 200)
  for (const { status, code, retryAfter } of outcomes.filter(outcome => !answered.includes(outcome))) {
    t.match([status, code, Number(retryAfter) > 0], [429, 'rate_limit_exceeded', true])
  }
  return { all: answered.length, each: gateways.map((_, index) => answered.filter(({ at }) => at === index).length) }
}

test('20 calls at once over two gateways, on a limit of 5, are 5', limits, async t => {
  const { gateways, provider } = await scene(t, { tenant: '{ requestsPerMinute: 5 }' })
  t.equal((await twentyCalls(t, gateways)).all, 5)
  t.equal(provider.seen.requests.length, 5, 'what is refused reaches nobody')
})

test('at most 3 calls run at the same time, wherever they came in', limits, async t => {
  const { gateways, provider } = await scene(t, { tenant: '{ concurrency: 3 }' })
  provider.behave = { do: 'hang' }
  const calls = Array.from({ length: 12 }, async (_, index) => call(gateways[index % 2]!))
  calls.forEach(each => { each.catch(() => {}) })
  await eventually(() => provider.seen.requests.length === 3)
  await wait(300)
  t.equal(provider.seen.requests.length, 3)
})

test('Redis is killed in the middle: calls go on, each gateway counting alone, and are counted together again once it is back', limits, async t => {
  const { gateways, redis } = await scene(t, { tenant: '{ requestsPerMinute: 5 }' })
  t.equal((await twentyCalls(t, gateways)).all, 5)
  t.same(await Promise.all(gateways.map(degraded)), [0, 0])

  await redis.kill()
  t.same((await twentyCalls(t, gateways)).each, [5, 5], 'none is lost, and the limit still holds at each')
  t.same(await Promise.all(gateways.map(degraded)), [1, 1])
  const told = ({ command }: Started) => /"up":false,"why":"([^"]+)","msg":"Redis is away"/.exec(command.stdout)?.[1]
  t.ok(await eventually(() => gateways.every(gateway => told(gateway) !== undefined)), 'the log says so')
  t.same(gateways.map(told), ['the connection was closed', 'the connection was closed'])

  await redis.start()
  t.ok(await eventually(async () => (await Promise.all(gateways.map(degraded))).every(value => value === 0)), 'found again, without a restart')
  // For a second after a failure nobody asks it; then one call does, and those after it follow.
  await wait(1_100)
  await Promise.all(gateways.map(call))
  await redis.ask('FLUSHALL')
  t.equal((await twentyCalls(t, gateways)).all, 5)
})

test('a call that meets the loss of Redis waits less than 100 ms for it, be it dead or only silent', limits, async t => {
  const { gateways: [gateway], redis } = await scene(t, { tenant: '{ requestsPerMinute: 1000000 }', count: 1, timeoutMs: 50 })
  const slowest = async (while_: () => Promise<void>) => {
    let most = 0
    const over = new AbortController()
    void while_().finally(() => { over.abort() })
    while (!over.signal.aborted) {
      const { status, ms } = await call(gateway!)
      if (status !== 200) t.fail(`a call got ${status}`)
      most = Math.max(most, ms)
    }
    return most
  }
  await slowest(() => wait(300))
  const before = await slowest(() => wait(700))
  const silent = await slowest(async () => { redis.signal('SIGSTOP'); await wait(1_500); redis.signal('SIGCONT'); await wait(300) })
  const dead = await slowest(async () => { await redis.kill(); await wait(1_500) })
  const back = await slowest(async () => { await redis.start(); await eventually(async () => await degraded(gateway!) === 0) })
  t.comment(`slowest call: ${[before, silent, dead, back].map(Math.round).join(', ')} ms before, silent, dead, coming back`)
  for (const ms of [silent, dead, back]) t.ok(ms < before + 100 + SLOW_MACHINE_MS)
})

/** Another process that has the CPU for a moment is not our delay. */
const SLOW_MACHINE_MS = 100

test('onStateLoss refuse: 503 while Redis is away, and answers again when it is back', limits, async t => {
  const { gateways: [gateway], redis, provider } = await scene(t, { tenant: '{ requestsPerMinute: 1000000 }', count: 1, onStateLoss: 'refuse' })
  t.equal((await call(gateway!)).status, 200)
  await redis.kill()
  const before = provider.seen.requests.length
  t.ok(await eventually(async () => (await call(gateway!)).status === 503))
  t.match(await call(gateway!), { status: 503, code: 'state_unavailable', retryAfter: '1' })
  t.equal(provider.seen.requests.length, before, 'nothing is sent')
  await redis.start()
  t.ok(await eventually(async () => (await call(gateway!)).status === 200))
})
