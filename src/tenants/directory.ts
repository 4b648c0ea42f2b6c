import { hash } from 'node:crypto'
import type { TenantConfig } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import type { KeyRow, KeyStore } from '../store/store.ts'
import { isSecretOf, KEY_LENGTH, maskOf, parseKey, type ParsedKey } from './keys.ts'
import { Recent } from './recent.ts'
import type { Principal, Tenants } from './tenants.ts'

export interface TenantsOptions {
  readonly tenants: readonly TenantConfig[]
  readonly keys: KeyStore
  readonly pepper: Buffer
  /** Longest time until a revocation made elsewhere takes effect here. */
  readonly cacheTtlMs?: number
  /** Keys remembered, good and bad ones apart, so that a flood of bad keys cannot push out a good one. */
  readonly cacheSize?: number
  /** Milliseconds since 1970. */
  readonly now?: () => number
}

/** While the store cannot be read, a key that was good this long ago still is. */
export const STORE_LOSS_MS = 300_000

/**
 * Checks keys. One that was checked is remembered for `cacheTtlMs` under the SHA-256 of the whole key (never a part of
 * it), so a call costs a hash and no store. When the store fails, a remembered key stays good until 5 minutes after the
 * store last confirmed it, whatever became of it meanwhile; any other gets `internal_error`.
 */
export function createTenants (options: TenantsOptions): Tenants {
  const { keys, pepper, cacheTtlMs = 5000, cacheSize = 10_000, now = Date.now } = options
  const byName = new Map(options.tenants.map(tenant => [tenant.name, tenant]))
  const good = new Recent<Checked>(cacheSize)
  const bad = new Recent<Checked>(cacheSize)
  const pending = new Map<string, Promise<Checked>>()

  async function check (digest: string, { id, secret }: ParsedKey): Promise<Checked> {
    const asked = now()
    try {
      const row = await keys.find(id)
      const checked = isSecretOf(row?.hmac ?? null, pepper, secret) ? toChecked(row as KeyRow, byName, asked) : unknownAt(id, asked)
      // What was good and no longer is must not be remembered as good for when the store is away.
      good.delete(digest)
      ;(checked.principal === null ? bad : good).set(digest, checked)
      return checked
    } catch (error) {
      const known = good.get(digest)
      if (known === undefined || !isWithin(STORE_LOSS_MS, known.confirmedAt, asked)) throw storeLost(error)
      // The store is not asked again for every call while it is away.
      known.askedAt = asked
      return known
    }
  }

  function shared (digest: string, key: ParsedKey): Promise<Checked> {
    const running = pending.get(digest)
    if (running !== undefined) return running
    const checking = check(digest, key).finally(() => pending.delete(digest))
    pending.set(digest, checking)
    return checking
  }

  return {
    async authenticate (credential) {
      if (credential === undefined || credential === '') throw missing()
      // Before the hash, so that junk of any size costs nothing.
      if (credential.length !== KEY_LENGTH) throw malformed()
      const digest = hash('sha256', credential, 'base64url')
      const at = now()
      const remembered = good.get(digest) ?? bad.get(digest)
      if (remembered !== undefined && isWithin(cacheTtlMs, remembered.askedAt, at) && isWithin(STORE_LOSS_MS, remembered.confirmedAt, at)) {
        return judge(remembered, at)
      }
      const key = parseKey(credential)
      if (key === null) throw malformed()
      return judge(await shared(digest, key), now())
    },
    async principalOf (keyId) {
      const at = now()
      const row = await keys.find(keyId)
      return judge(row === null ? unknownAt(keyId, at) : toChecked(row, byName, at), at)
    },
    byName: name => byName.get(name) ?? null
  }
}

/** What the store said of one key. */
interface Checked {
  readonly id: string
  /** Null: refused, for the reason in `refusal`. */
  readonly principal: Principal | null
  readonly refusal: string
  /** Milliseconds since 1970; Infinity when it never expires. */
  readonly expiresAt: number
  /** When the store last answered. */
  readonly confirmedAt: number
  /** When the store was last asked, whether it answered or not. */
  askedAt: number
}

function toChecked (row: KeyRow, byName: ReadonlyMap<string, TenantConfig>, at: number): Checked {
  const tenant = byName.get(row.tenant)
  const refusal = row.revokedAt !== null ? 'was revoked.' : tenant === undefined ? 'belongs to a tenant that is no longer configured.' : ''
  const principal = refusal !== '' || tenant === undefined ? null : { tenant, keyId: row.id, scopes: row.scopes }
  return { id: row.id, principal, refusal, expiresAt: row.expiresAt?.getTime() ?? Infinity, confirmedAt: at, askedAt: at }
}

/** An unknown id and a wrong secret look the same from outside. */
function unknownAt (id: string, at: number): Checked {
  return { id, principal: null, refusal: 'is not a key of this gateway.', expiresAt: Infinity, confirmedAt: at, askedAt: at }
}

function judge (checked: Checked, at: number): Principal {
  if (checked.principal === null) throw invalid(checked.id, checked.refusal)
  if (checked.expiresAt <= at) throw invalid(checked.id, 'has expired.')
  return checked.principal
}

/** False for a time in the future too: the clock was set back, and nothing may live longer for that. */
function isWithin (spanMs: number, since: number, at: number): boolean {
  return at >= since && at - since < spanMs
}

function missing (): GatewayError {
  return new GatewayError('missing_api_key', 'No API key was sent. Send one as "Authorization: Bearer tg_live_…".')
}

function malformed (): GatewayError {
  return new GatewayError('invalid_api_key', 'The API key is malformed: a key of this gateway begins with tg_live_ and has 60 characters.')
}

function invalid (id: string, why: string): GatewayError {
  return new GatewayError('invalid_api_key', `The API key ${maskOf(id)} ${why}`)
}

function storeLost (cause: unknown): GatewayError {
  return new GatewayError('internal_error', 'API keys cannot be checked at the moment.', { cause })
}
