import { Redis, type RedisOptions } from 'ioredis'
import { GatewayError } from '../errors.ts'
import { SCRIPT } from './script.ts'
import type { Bucket, Hold, Home, Refund, SharedState, Take } from './state.ts'

export interface RedisStateOptions {
  /** `redis://`, `rediss://`, or the absolute path of a socket. May hold a password: never printed. */
  readonly url: string
  /** Longest wait for one command. */
  readonly timeoutMs?: number
  /** Put before every key. */
  readonly prefix?: string
  /** Called when Redis is lost or found, not for each failure in between. */
  readonly onChange?: (up: boolean, why: string) => void
}

/** A server that accepts the connection and then says nothing is hung up on after this long. */
const SILENCE_MS = 2_000
const MAX_RECONNECT_MS = 2_000
/** Holds still to be freed that are remembered while Redis is away; those beyond expire by themselves. */
const MAX_OWED = 10_000
/** Holds renewed or freed by one run of the script, which keeps everybody else waiting. */
const CHUNK = 500

const CONNECTION = {
  lazyConnect: true,
  connectionName: 'torchgate',
  disableClientInfo: true,
  connectTimeout: SILENCE_MS,
  socketTimeout: SILENCE_MS,
  disconnectTimeout: 200,
  // A command that waited for Redis to come back would be answered long after its call.
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  // Half of the pause is random, so that many gateways do not come back in step.
  retryStrategy: times => Math.min(MAX_RECONNECT_MS, 50 * 2 ** Math.min(times - 1, 10)) * (0.5 + Math.random() / 2),
  // After a failover the name leads to the new primary, but only a new connection asks for it.
  reconnectOnError: error => error.message.includes('READONLY')
} satisfies RedisOptions

type Operation = 'take' | 'give' | 'renew'
interface Scripted { lease (keys: number, ...rest: (string | number)[]): Promise<string[]> }

/**
 * Counters shared by all replicas, in Redis 6.2 or later, or Valkey. Connects at once, and again for ever; while Redis
 * is away every call fails at once and nothing queues up.
 */
export class RedisState implements SharedState, Home {
  /** Whether the first attempt to connect succeeded. Never rejects. */
  readonly opened: Promise<boolean>
  readonly #redis: Redis & Scripted
  readonly #timeoutMs: number
  readonly #onChange: (up: boolean, why: string) => void
  /** What is wrong: no answer, or a refusal; undefined before the first attempt has ended. */
  #down: 'silent' | 'refusing' | null | undefined
  #lastError = 'not connected yet'
  #closing = false
  #owed: Hold[] = []

  /** @throws GatewayError when `url` has another form */
  constructor ({ url, timeoutMs = 50, prefix = 'torchgate:', onChange = () => {} }: RedisStateOptions) {
    if (!/^(rediss?:\/\/|\/)/.test(url)) throw new GatewayError('internal_error', 'state.redis.url: expected redis://, rediss:// or the absolute path of a socket.')
    this.#timeoutMs = timeoutMs
    this.#onChange = onChange
    this.#redis = new Redis(url, { ...CONNECTION, keyPrefix: prefix }) as Redis & Scripted
    this.#redis.defineCommand('lease', { lua: SCRIPT })
    this.#redis.on('error', error => { this.#lastError = reason(error) })
    this.#redis.on('close', () => this.#lost('silent', this.#lastError))
    this.#redis.on('ready', () => this.#connected())
    this.opened = this.#redis.connect().then(() => true, () => false)
  }

  async take (buckets: readonly Bucket[], holds: readonly Hold[]): Promise<Take> {
    const reply = this.#send('take', buckets.map(bucket => ({ ...bucket, amount: bucket.cost })), holds)
    try {
      return this.#read(await this.#inTime(reply), buckets, holds)
    } catch (error) {
      this.#undo(reply, buckets, holds)
      throw error
    }
  }

  async give (refunds: readonly Refund[], holds: readonly Hold[]): Promise<void> {
    try {
      await this.#inTime(this.#send('give', refunds, holds))
    } catch (error) {
      this.#owe(holds)
      throw error
    }
  }

  async renew (holds: readonly Hold[]): Promise<void> {
    await Promise.all(chunks(holds).map(chunk => this.#inTime(this.#send('renew', [], chunk))))
  }

  /** Waits for what is under way, `timeoutMs` at most. */
  async close (): Promise<void> {
    this.#closing = true
    // A server that does not answer cannot be told; the connection is dropped either way.
    if (this.#redis.status === 'ready') await within(this.#redis.quit(), this.#timeoutMs).catch(() => {})
    this.#redis.disconnect()
  }

  /** @throws GatewayError `state_unavailable` at once when there is no connection */
  #send (operation: Operation, buckets: readonly Refund[], holds: readonly Hold[]): Promise<string[]> {
    if (this.#redis.status !== 'ready') throw unavailable(new Error(this.#lastError))
    const keys: string[] = []
    const rest: (string | number)[] = [operation, buckets.length]
    for (const { key, capacity, refillPerS, amount } of buckets) {
      keys.push(key)
      rest.push(capacity, refillPerS, amount)
    }
    for (const { key, capacity, id, ttlMs } of holds) {
      keys.push(key)
      rest.push(capacity, id, ttlMs)
    }
    return this.#redis.lease(keys.length, ...keys, ...rest)
  }

  /** @throws GatewayError `state_unavailable` */
  async #inTime (reply: Promise<string[]>): Promise<string[]> {
    try {
      const answer = await within(reply, this.#timeoutMs)
      this.#found('it answers again')
      return answer
    } catch (cause) {
      this.#lost((cause as Error).name === 'ReplyError' ? 'refusing' : 'silent', reason(cause as Error))
      throw unavailable(cause as Error)
    }
  }

  #read ([granted, index, wait, ...levels]: string[], buckets: readonly Bucket[], holds: readonly Hold[]): Take {
    const remaining = levels.map(Number)
    if (granted === '1') return { granted: true, remaining, home: this }
    const { key } = [...buckets, ...holds][Number(index) - 1]!
    const retryAfterS = Number(wait)
    return { granted: false, key, retryAfterS: Number.isFinite(retryAfterS) ? retryAfterS : null, remaining }
  }

  /**
   * Nobody waits for this take any more, and its call is counted elsewhere. If its answer still comes, what it took is
   * given back; if the connection went first, its holds are freed on the next one.
   */
  #undo (reply: Promise<string[]>, buckets: readonly Bucket[], holds: readonly Hold[]): void {
    const giveBack = async ([granted]: string[]) => {
      if (granted === '1') await this.give(buckets.map(bucket => ({ ...bucket, amount: bucket.cost })), holds)
    }
    reply.then(giveBack).catch(() => this.#owe(holds))
  }

  #owe (holds: readonly Hold[]): void {
    this.#owed.push(...holds.slice(0, MAX_OWED - this.#owed.length))
  }

  #connected (): void {
    // A server that is killed closes the connection without an error.
    this.#lastError = 'the connection was closed'
    if (this.#down !== 'refusing') this.#found('connected')
    const owed = this.#owed
    this.#owed = []
    for (const chunk of chunks(owed)) this.give([], chunk).catch(() => {}) // give() remembers them again
  }

  #found (why: string): void {
    if (this.#down === null || this.#closing) return
    this.#down = null
    this.#onChange(true, why)
  }

  #lost (how: 'silent' | 'refusing', why: string): void {
    if (this.#closing) return
    const known = this.#down !== null && this.#down !== undefined
    if (!known || how === 'refusing') this.#down = how
    if (!known) this.#onChange(false, why)
  }
}

/** A timer may fire late, in a process that was busy; then the answer is there already and is read first. */
function within<T> (promise: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => setImmediate(reject, new Error(`no answer within ${ms} ms`))
    const timer = setTimeout(late, ms)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/** By key, so that a chunk stays on one node of a Redis Cluster. */
function chunks (holds: readonly Hold[]): Hold[][] {
  return [...Map.groupBy(holds, ({ key }) => key).values()].flatMap(group =>
    Array.from({ length: Math.ceil(group.length / CHUNK) }, (_, i) => group.slice(i * CHUNK, (i + 1) * CHUNK)))
}

/** What ioredis says of a command that meets a connection which is going. */
const CLOSED = /^(?:Stream isn't writeable|Connection is closed)/

/** An error of several addresses has no message of its own. */
function reason (error: Error & { code?: string }): string {
  if (CLOSED.test(error.message)) return 'the connection was closed'
  return error.message || error.code || error.name
}

function unavailable (cause: Error): GatewayError {
  return new GatewayError('state_unavailable', `Redis, which keeps the limits, fails: ${reason(cause)}.`, { retryAfterS: 1, cause })
}
