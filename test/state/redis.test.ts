import { setTimeout as sleep } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { RedisState } from '../../src/state/redis.ts'
import { stateContract } from '../conformance/state.ts'
import { eventually, RedisServer, withoutRedis } from './server.ts'

const skip = withoutRedis

stateContract('redis', async t => {
  const { url } = await RedisServer.start(t)
  const open = async () => {
    const state = new RedisState({ url, timeoutMs: 2_000 })
    t.teardown(() => state.close())
    t.ok(await state.opened)
    return state
  }
  return { replicas: [await open(), await open()], pass: ms => sleep(ms + 2) }
}, { skip })

const perMinute = (cost: number) => ({ key: 'tenant:{acme}:tokens', capacity: 60, refillPerS: 1, cost })
const place = (id: string) => ({ key: 'tenant:{acme}:concurrency', capacity: 2, id, ttlMs: 60_000 })

test('redis: every key expires by itself, a bucket when it is full and places when the last hold ends', { skip }, async t => {
  const server = await RedisServer.start(t)
  const state = new RedisState({ url: server.url })
  t.teardown(() => state.close())
  await state.opened
  await state.take([perMinute(30)], [{ ...place('a'), ttlMs: 90_000 }, place('b')])
  const ttl = async (name: string) => Number(await server.ask('PTTL', `torchgate:tenant:{acme}:${name}`))
  near(t, await ttl('tokens'), 31_000)
  near(t, await ttl('concurrency'), 90_000)
  await state.renew([place('a')])
  near(t, await ttl('concurrency'), 90_000)
  await state.give([{ ...perMinute(0), amount: 30 }], [place('a'), place('b')])
  t.same(await server.ask('KEYS', '*'), [], 'a full bucket and free places need no key')
})

test('redis: a server clock that went back an hour refills nothing and loses nothing', { skip }, async t => {
  const server = await RedisServer.start(t)
  const state = new RedisState({ url: server.url, timeoutMs: 2_000 })
  t.teardown(() => state.close())
  await state.opened
  // What a take of 50 an hour ahead has left behind.
  await server.ask('SET', 'torchgate:tenant:{acme}:tokens', `10 ${Date.now() + 3_600_000}`)
  t.match(await state.take([perMinute(11)], []), { granted: false, retryAfterS: 1, remaining: [10] })
  t.match(await state.take([perMinute(10)], []), { granted: true, remaining: [0] })
  await sleep(50)
  const { remaining } = await state.take([perMinute(10)], [])
  t.ok(remaining[0]! > 0.04 && remaining[0]! < 1, `refills from now on: ${remaining[0]}`)
})

test('redis: holds that have expired do not pile up', { skip }, async t => {
  const server = await RedisServer.start(t)
  const state = new RedisState({ url: server.url, timeoutMs: 2_000 })
  t.teardown(() => state.close())
  await state.opened
  await state.take([], [place('long')])
  await state.take([], [{ ...place('brief'), ttlMs: 10 }])
  await sleep(20)
  await state.take([], [place('next')])
  t.equal(await server.ask('ZCARD', 'torchgate:tenant:{acme}:concurrency'), 2)
})

test('redis: one take stays on one node of a cluster', { skip }, async t => {
  const server = await RedisServer.start(t, { settings: ['--cluster-enabled', 'yes'] })
  await server.ask('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  t.ok(await eventually(async () => String(await server.ask('CLUSTER', 'INFO')).includes('cluster_state:ok')))
  const state = new RedisState({ url: server.url, timeoutMs: 2_000 })
  t.teardown(() => state.close())
  await state.opened
  t.match(await state.take([perMinute(1), { ...perMinute(1), key: 'tenant:{acme}:requests' }], [place('a')]), { granted: true })
})

test('redis: an address of another kind is refused without printing it', async t => {
  t.throws(() => new RedisState({ url: 'http://:hunter2@localhost' }), { message: /^state\.redis\.url: expected redis:/ })
})

test('redis: renews and frees more holds than one run of the script takes', { skip }, async t => {
  const server = await RedisServer.start(t)
  const state = new RedisState({ url: server.url, timeoutMs: 2_000 })
  t.teardown(() => state.close())
  await state.opened
  await state.renew(Array.from({ length: 1_201 }, (_, i) => place(`call-${i}`)))
  t.equal(await server.ask('ZCARD', 'torchgate:tenant:{acme}:concurrency'), 1_201)
})

function near (t: Test, actual: number, expected: number): void {
  t.ok(actual > expected - 1_000 && actual <= expected, `${actual} ms of ${expected}`)
}
