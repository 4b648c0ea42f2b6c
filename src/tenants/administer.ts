import type { TenantConfig } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import type { KeyRow, KeyStore, Scope } from '../store/store.ts'
import { createKey, type NewKey } from './keys.ts'

/** Making and ending keys, for the command line and the admin API. */
export interface KeyAdministration {
  /**
   * @returns the plaintext, which nobody can show again, and the row that was stored
   * @throws GatewayError `invalid_value` for an unknown tenant, a name that is too long or holds control characters,
   *   no scope, or an expiry in the past
   */
  create (want: KeyWant): Promise<{ readonly key: string, readonly row: KeyRow }>
  /** Oldest first, revoked and expired ones included. */
  list (): Promise<readonly KeyRow[]>
  /**
   * Takes effect within 5 s in every running gateway.
   * @returns false when there is no such key
   */
  revoke (id: string): Promise<boolean>
}

export interface KeyWant {
  readonly tenant: string
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly expiresAt: Date | null
}

export interface AdministrationOptions {
  readonly tenants: readonly TenantConfig[]
  readonly keys: KeyStore
  readonly pepper: Buffer
  readonly now?: () => Date
}

/** Characters of a key's name. */
const NAME_LENGTH = 128

export function administerKeys ({ tenants, keys, pepper, now = () => new Date() }: AdministrationOptions): KeyAdministration {
  const names = tenants.map(tenant => tenant.name)
  return {
    async create (want) {
      const createdAt = now()
      assertSensible(want, names, createdAt)
      const made = createKey(pepper)
      const row = toRow(made, want, createdAt)
      await keys.insert(row)
      return { key: made.key, row }
    },
    list: () => keys.list(),
    revoke: id => keys.revoke(id, now())
  }
}

/** Plaintexts of the keys a new installation starts with. */
export interface FirstKeys { readonly tenant: string, readonly inference: string, readonly admin: string }

/**
 * Gives a store that never held a key one for inference and one for administration.
 * @returns their plaintexts, once; null when there were keys, or another process was faster
 */
export async function bootstrap (keys: KeyStore, pepper: Buffer, tenant: string, now = new Date()): Promise<FirstKeys | null> {
  const inference = createKey(pepper)
  const admin = createKey(pepper)
  const areFirst = await keys.insertFirst([
    toRow(inference, { tenant, name: 'first inference key', scopes: ['inference'], expiresAt: null }, now),
    toRow(admin, { tenant, name: 'first admin key', scopes: ['admin'], expiresAt: null }, now)
  ])
  return areFirst ? { tenant, inference: inference.key, admin: admin.key } : null
}

function toRow ({ id, hmac }: NewKey, { tenant, name, scopes, expiresAt }: KeyWant, createdAt: Date): KeyRow {
  return { id, tenant, name, scopes: [...new Set(scopes)], hmac, createdAt, expiresAt, revokedAt: null }
}

function assertSensible ({ tenant, name, scopes, expiresAt }: KeyWant, tenants: readonly string[], now: Date): void {
  if (!tenants.includes(tenant)) {
    const some = tenants.slice(0, 10).join(', ') + (tenants.length > 10 ? ', …' : '')
    throw invalid(`No tenant ${JSON.stringify(tenant.slice(0, 64))} is configured; there are ${some}.`)
  }
  if (name.length > NAME_LENGTH) throw invalid(`The name of a key has ${NAME_LENGTH} characters at most, this one ${name.length}.`)
  if (/\p{Cc}/u.test(name)) throw invalid('The name of a key holds no control characters.')
  if (scopes.length === 0) throw invalid('A key needs a scope: inference, admin or both.')
  // Written so that an invalid date, which compares false with everything, is refused.
  if (expiresAt !== null && !(expiresAt > now)) throw invalid('A key expires in the future.')
}

function invalid (message: string): GatewayError {
  return new GatewayError('invalid_value', message)
}
