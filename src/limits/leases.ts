import { Bag, type Bagged } from '../bag.ts'
import { GatewayError } from '../errors.ts'
import type { Bucket, Hold, Home, SharedState, Short } from '../state/state.ts'
import { duration } from './headers.ts'
import type { Lease, Limits, Standing, Subject } from './limits.ts'

export interface LimitsOptions {
  /** How long the place of a call outlives a gateway that was killed. Running calls renew theirs at a third of it. */
  readonly holdTtlMs?: number
  /** A settlement or renewal failed, once per failure; the call itself is not harmed. Must not throw. */
  readonly onError?: (error: unknown) => void
}

export type Resource = 'requests' | 'tokens' | 'concurrency'
export interface Standings { readonly requests: Standing | null, readonly tokens: Standing | null }

/** Which limit refused the call, and how the others stand; null where nothing was asked. */
export class RateLimited extends GatewayError {
  readonly standing: Standings
  readonly limit: { readonly scope: 'tenant', readonly resource: Resource }

  constructor (message: string, resource: Resource, standing: Standings, retryAfterS: number | null) {
    super('rate_limit_exceeded', message, { retryAfterS })
    this.standing = standing
    this.limit = { scope: 'tenant', resource }
  }
}

/** Limits of tenants on shared counters. The counters belong to the caller, who closes them. */
export function limitsOn (state: SharedState, { holdTtlMs = 60_000, onError = () => {} }: LimitsOptions = {}): Limits {
  const running = new Bag<Granted>()
  const renewal = setInterval(() => { void renew(running, onError) }, holdTtlMs / 3)
  renewal.unref()

  return {
    async admit (who, want) {
      if (!isCount(want.tokens)) throw new GatewayError('internal_error', `A call of ${who.tenant} wants ${want.tokens} tokens, which is no count.`)
      const ask = asked(who, want, holdTtlMs)
      if (ask.tokens !== null && ask.tokens.cost > ask.tokens.capacity) throw neverFits(who, ask.tokens)
      if (ask.buckets.length + ask.holds.length === 0) return UNLIMITED
      const take = await state.take(ask.buckets, ask.holds)
      if (!take.granted) throw refusal(who, ask, take)
      const granted: Granted = { ask, home: take.home, place: -1 }
      running.add(granted)
      const settle = async (used: { readonly tokens: number }) => {
        if (running.delete(granted)) await settled(granted, used.tokens).catch(onError)
      }
      return { ...standingsOf(ask, take.remaining), settle }
    },
    async close () { clearInterval(renewal) }
  }
}

/** What one call wants of the shared counters. */
interface Ask { readonly buckets: Bucket[], readonly holds: Hold[], readonly requests: Bucket | null, readonly tokens: Bucket | null }
interface Granted extends Bagged { readonly ask: Ask, readonly home: Home }

const UNLIMITED: Lease = { requests: null, tokens: null, settle: async () => {} }

const MAX_TENANTS = 10_000
const keysByTenant = new Map<string, Readonly<Record<Resource, string>>>()

/** Names of a tenant's counters, made once. The braces keep the keys of one tenant on one node of a Redis Cluster. */
function keysOf (tenant: string): Readonly<Record<Resource, string>> {
  const known = keysByTenant.get(tenant)
  if (known !== undefined) return known
  const keys = { requests: `tenant:{${tenant}}:requests`, tokens: `tenant:{${tenant}}:tokens`, concurrency: `tenant:{${tenant}}:concurrency` }
  if (keysByTenant.size < MAX_TENANTS) keysByTenant.set(tenant, keys)
  return keys
}

function asked ({ tenant, limits }: Subject, want: { callId: string, tokens: number }, ttlMs: number): Ask {
  const { requestsPerMinute, tokensPerMinute, concurrency } = limits
  const keys = keysOf(tenant)
  const perMinute = (resource: Resource, capacity: number | undefined, cost: number): Bucket | null =>
    capacity === undefined ? null : { key: keys[resource], capacity, refillPerS: capacity / 60, cost }
  const requests = perMinute('requests', requestsPerMinute, 1)
  const tokens = perMinute('tokens', tokensPerMinute, want.tokens)
  return {
    requests,
    tokens,
    buckets: [requests, tokens].filter(bucket => bucket !== null),
    holds: concurrency === undefined ? [] : [{ key: keys.concurrency, capacity: concurrency, id: want.callId, ttlMs }]
  }
}

function standingsOf ({ buckets, requests, tokens }: Ask, remaining: readonly number[]): Standings {
  const standing = (bucket: Bucket | null): Standing | null => {
    if (bucket === null) return null
    const left = remaining[buckets.indexOf(bucket)]!
    return { limit: bucket.capacity, remaining: left, resetS: (bucket.capacity - left) / bucket.refillPerS }
  }
  return { requests: standing(requests), tokens: standing(tokens) }
}

function refusal (who: Subject, ask: Ask, { key, retryAfterS, remaining }: Short): RateLimited {
  const standing = standingsOf(ask, remaining)
  const bucket = [ask.requests, ask.tokens].find(wanted => wanted?.key === key) ?? null
  if (bucket === null) {
    const message = `Rate limit reached for ${who.tenant} on concurrent requests: limit ${ask.holds[0]!.capacity}. Please try again when one of them has ended.`
    return new RateLimited(message, 'concurrency', standing, 1)
  }
  const resource = bucket === ask.requests ? 'requests' : 'tokens'
  const left = Math.max(0, Math.floor(standing[resource]!.remaining))
  const again = retryAfterS === null ? '' : ` Please try again in ${duration(retryAfterS)}.`
  const message = `Rate limit reached for ${who.tenant} on ${resource} per minute: limit ${bucket.capacity}, remaining ${left}, requested ${bucket.cost}.${again}`
  return new RateLimited(message, resource, standing, retryAfterS)
}

function neverFits (who: Subject, { capacity, cost }: Bucket): RateLimited {
  const message = `Request too large for ${who.tenant} on tokens per minute: limit ${capacity}, requested ${cost}. A shorter prompt or a lower max_completion_tokens would fit.`
  return new RateLimited(message, 'tokens', { requests: null, tokens: null }, null)
}

/** Gives back what was reserved and not used, or charges what was used beyond it; frees the place. */
async function settled ({ ask: { tokens, holds }, home }: Granted, used: number): Promise<void> {
  const differs = tokens !== null && isCount(used) && used !== tokens.cost
  const refunds = differs ? [{ ...tokens, amount: tokens.cost - used }] : []
  if (refunds.length + holds.length > 0) await home.give(refunds, holds)
  if (!isCount(used)) throw new GatewayError('internal_error', `A lease was settled with ${used} tokens, which is no count; the estimate stands.`)
}

/** Anything else would spoil a bucket for good. */
function isCount (tokens: number): boolean {
  return Number.isFinite(tokens) && tokens >= 0
}

async function renew (running: Bag<Granted>, onError: (error: unknown) => void): Promise<void> {
  const byHome = Map.groupBy(running.items, ({ home }) => home)
  await Promise.all([...byHome].map(([home, granted]) => home.renew(granted.flatMap(({ ask }) => ask.holds)).catch(onError)))
}
