import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { test, type Test } from 'tap'
import { limitsOn } from '../../src/limits/leases.ts'
import type { Lease, Limits } from '../../src/limits/limits.ts'
import { FallbackState } from '../../src/state/fallback.ts'
import { MemoryState } from '../../src/state/memory.ts'
import { RedisState } from '../../src/state/redis.ts'
import { eventually, RedisServer, withoutRedis } from './server.ts'

const who = { tenant: 'acme', limits: { requestsPerMinute: 1_000_000, tokensPerMinute: 6_000, concurrency: 100_000 } }
const TOKENS = 'torchgate:tenant:{acme}:tokens'
const SILENT = 'down: no answer within 50 ms'
const PLACES = 'torchgate:tenant:{acme}:concurrency'

interface Setup { readonly settings?: string[], readonly up?: boolean, readonly query?: string, readonly onLoss?: 'local' | 'refuse' }

/** A gateway's limits on a Redis that is about to fail, under calls that come and go every few milliseconds. */
function underLoad (says: string, { query = '', onLoss = 'local', ...how }: Setup, prove: (t: Test, gateway: Gateway) => Promise<void>): void {
  test(says, { skip: withoutRedis }, async t => {
    const server = await RedisServer.start(t, how)
    const gateway = new Gateway(server, server.url + query, onLoss)
    try {
      await prove(t, gateway)
    } finally {
      await gateway.end()
    }
    // A machine that was busy with something else is not our delay.
    const limitMs = 100 + gateway.stalls.max / 1e6
    t.ok(gateway.slowestMs < limitMs, `slowest of ${gateway.calls} admissions: ${gateway.slowestMs.toFixed(1)} ms of ${limitMs.toFixed(1)}`)
  })
}

class Gateway {
  readonly changes: string[] = []
  readonly errors: unknown[] = []
  readonly server: RedisServer
  readonly redis: RedisState
  readonly state: FallbackState
  readonly stalls = monitorEventLoopDelay({ resolution: 1 })
  calls = 0
  slowestMs = 0
  readonly #limits: Limits
  readonly #load: NodeJS.Timeout

  constructor (server: RedisServer, url: string, onLoss: 'local' | 'refuse') {
    this.server = server
    this.redis = new RedisState({ url, onChange: (up, why) => this.changes.push(`${up ? 'up' : 'down'}: ${why}`) })
    this.state = new FallbackState(this.redis, new MemoryState(), { onLoss, pauseMs: 100 })
    this.#limits = limitsOn(this.state, { onError: error => this.errors.push(error) })
    this.#load = setInterval(() => {
      this.admit().then(lease => lease.settle({ tokens: 0 })).catch((error: unknown) => this.errors.push(error))
    }, 5)
    this.stalls.enable()
  }

  async admit (tokens = 0): Promise<Lease> {
    const startMs = performance.now()
    try {
      return await this.#limits.admit(who, { callId: `call-${this.calls++}`, tokens })
    } finally {
      this.slowestMs = Math.max(this.slowestMs, performance.now() - startMs)
    }
  }

  /** A busy machine may make Redis miss its 50 ms; then the place is given back and taken again. */
  async admitInRedis (tokens = 0): Promise<Lease> {
    for (;;) {
      const lease = await this.admit(tokens)
      if (!this.state.degraded) return lease
      await lease.settle({ tokens: 0 })
      await sleep(100)
    }
  }

  async usesRedis (): Promise<boolean> { return eventually(() => !this.state.degraded) }
  async isDegraded (): Promise<boolean> { return eventually(() => this.state.degraded) }
  async fails (how: RegExp): Promise<boolean> {
    const bucket = { key: 'tenant:{other}:tokens', capacity: 10, refillPerS: 1, cost: 1 }
    return eventually(() => this.redis.take([bucket], []).then(() => false, (error: Error) => how.test(error.message)))
  }

  async places (): Promise<unknown> { return this.server.ask('ZCARD', PLACES) }
  stop (): void { clearInterval(this.#load) }

  async end (): Promise<void> {
    this.stop()
    this.stalls.disable()
    await this.#limits.close()
    await this.state.close()
  }
}

underLoad('down at boot: calls are counted here until Redis is there, without a restart', { up: false }, async (t, gateway) => {
  t.equal(await gateway.redis.opened, false)
  t.ok(await gateway.isDegraded())
  await sleep(300)
  t.equal(gateway.state.degraded, true)
  await gateway.server.start()
  t.ok(await gateway.usesRedis())
  said(t, gateway, [/^down: connect ENOENT/, 'up: connected'])
  t.same(gateway.errors, [])
})

underLoad('killed mid-run: calls go on here, and go back to Redis when it has restarted', {}, async (t, gateway) => {
  await gateway.redis.opened
  t.ok(await gateway.usesRedis())
  const lease = await gateway.admitInRedis(100)
  await gateway.server.kill()
  t.ok(await gateway.isDegraded())
  await lease.settle({ tokens: 50 })
  t.match(gateway.errors.at(-1), { code: 'state_unavailable' }, 'the lease lived in Redis and died with it; its caller does not notice')
  const local = await gateway.admit(3_000)
  t.match(local.tokens, { remaining: 3_000 })
  await gateway.server.start()
  t.ok(await gateway.usesRedis())
  await local.settle({ tokens: 6_000 })
  t.equal(await gateway.server.ask('GET', TOKENS), null, 'what was taken here is settled here')
  said(t, gateway, ['up: connected', /^down: /, 'up: connected'])
})

underLoad('stopped for a moment: what it grants too late is given back, exactly', {}, async (t, gateway) => {
  await gateway.redis.opened
  gateway.stop()
  await gateway.admitInRedis(1_000)
  gateway.server.signal('SIGSTOP')
  t.match(await gateway.admit(2_000), { tokens: { remaining: 4_000 } }, 'granted here')
  t.equal(gateway.state.degraded, true)
  gateway.server.signal('SIGCONT')
  t.ok(await eventually(async () => await gateway.places() === 1), 'only the first has a place in Redis')
  const level = Number(String(await gateway.server.ask('GET', TOKENS)).split(' ')[0])
  t.ok(level >= 5_000 && level < 5_200, `${level} tokens: only the first took some`)
  await gateway.admitInRedis()
  t.ok(gateway.changes.includes(SILENT))
  t.match(gateway.changes.at(-1), 'up: it answers again')
})

underLoad('stopped for long: the connection is given up, and places nobody knows of are freed on the next', {}, async (t, gateway) => {
  await gateway.redis.opened
  const lease = await gateway.admitInRedis()
  gateway.server.signal('SIGSTOP')
  t.ok(await gateway.isDegraded())
  await lease.settle({ tokens: 0 })
  await sleep(2_500)
  gateway.server.signal('SIGCONT')
  t.ok(await gateway.usesRedis())
  gateway.stop()
  t.ok(await eventually(async () => await gateway.places() === 0), 'no place is left behind')
  t.ok(gateway.changes.includes(SILENT))
  t.match(gateway.changes.at(-1), /^up: /)
})

underLoad('wrong password: calls are counted here until it is right; it is never printed', { settings: ['--requirepass', 'right'], query: '?password=hunter2' }, async (t, gateway) => {
  t.equal(await gateway.redis.opened, false)
  t.ok(await gateway.isDegraded())
  said(t, gateway, [/^down: WRONGPASS/])
  const error = await gateway.redis.take([], []).catch((thrown: unknown) => thrown)
  t.match(error, { code: 'state_unavailable' })
  t.notMatch(inspect({ ...gateway, error }, { depth: 9 }), 'hunter2')
  await gateway.server.ask('CONFIG', 'SET', 'requirepass', 'hunter2')
  t.ok(await gateway.usesRedis())
})

underLoad('a read-only replica: calls are counted here until it is a primary again', {}, async (t, gateway) => {
  await gateway.redis.opened
  await gateway.server.ask('REPLICAOF', '127.0.0.1', '1')
  t.ok(await gateway.isDegraded())
  await sleep(300)
  t.ok(await gateway.fails(/READONLY/))
  t.ok(gateway.changes.filter(change => change.includes('READONLY')).length <= 1, 'one line, though it connects again and again')
  await gateway.server.ask('REPLICAOF', 'NO', 'ONE')
  t.ok(await gateway.usesRedis())
})

underLoad('out of memory: calls are counted here until there is some', {}, async (t, gateway) => {
  await gateway.redis.opened
  await gateway.server.ask('CONFIG', 'SET', 'maxmemory', '1')
  t.ok(await gateway.isDegraded())
  t.ok(await gateway.fails(/OOM/))
  await gateway.server.ask('CONFIG', 'SET', 'maxmemory', '0')
  t.ok(await gateway.usesRedis())
})

underLoad('onLoss refuse: calls are refused at once while Redis is away, and served again when it is back', { onLoss: 'refuse' }, async (t, gateway) => {
  await gateway.redis.opened
  await gateway.server.kill()
  t.ok(await gateway.isDegraded())
  await t.rejects(gateway.admit(), { code: 'state_unavailable', status: 503, retryAfterS: 1 })
  await gateway.server.start()
  t.ok(await gateway.usesRedis())
  gateway.stop()
  t.ok(await eventually(() => gateway.admit().then(lease => lease.settle({ tokens: 0 })).then(() => true, () => false)))
})

test('emptied: the counters start again, and running calls get their places back at the next renewal', { skip: withoutRedis }, async t => {
  const server = await RedisServer.start(t)
  const redis = new RedisState({ url: server.url, timeoutMs: 2_000 })
  const errors: unknown[] = []
  const limits = limitsOn(redis, { holdTtlMs: 900, onError: error => errors.push(error) })
  t.teardown(async () => {
    await limits.close()
    await redis.close()
  })
  await redis.opened
  const lease = await limits.admit(who, { callId: 'long', tokens: 1_000 })
  await server.ask('FLUSHALL')
  await server.ask('SCRIPT', 'FLUSH')
  t.match(await limits.admit(who, { callId: 'next', tokens: 0 }), { tokens: { remaining: 6_000 } })
  t.ok(await eventually(async () => await server.ask('ZCARD', PLACES) === 2), 'both hold a place')
  await lease.settle({ tokens: 500 })
  t.equal(await server.ask('ZCARD', PLACES), 1)
  t.equal(await server.ask('EXISTS', TOKENS), 0, 'giving back fills no bucket beyond its capacity')
  t.same(errors, [])
})

/** One line per change, and no other but what a busy machine adds: a moment without an answer. */
function said (t: Test, { changes }: Gateway, expected: (string | RegExp)[]): void {
  const moments = new Set(changes.flatMap((change, i) => change === SILENT ? [i, i + 1] : []))
  const rest = changes.filter((_, i) => !moments.has(i))
  t.equal(rest.length, expected.length, rest.join(', '))
  t.match(rest, expected)
}
