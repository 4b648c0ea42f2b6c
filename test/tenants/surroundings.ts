import type { TenantConfig } from '../../src/config/schema.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import type { KeyStore, Scope } from '../../src/store/store.ts'
import { createTenants } from '../../src/tenants/directory.ts'
import { createKey } from '../../src/tenants/keys.ts'

export const pepper = Buffer.alloc(32, 7)

interface Surroundings { cacheTtlMs?: number, cacheSize?: number }

export function surroundings (options: Surroundings = {}) {
  const clock = { at: Date.UTC(2026, 10, 22) }
  const store = new CountingStore()
  const acme = tenantConfig('acme')
  const tenants = createTenants({ tenants: [acme, tenantConfig('other')], keys: store, pepper, now: () => clock.at, ...options })
  async function issue ({ tenant = 'acme', scopes = ['inference'] as Scope[], expiresAt = null as Date | null } = {}) {
    const made = createKey(pepper)
    await store.keys.insert({ id: made.id, hmac: made.hmac, tenant, name: '', scopes, createdAt: new Date(clock.at), expiresAt, revokedAt: null })
    return made
  }
  return { acme, clock, store, tenants, issue }
}

/** The real store, with a count of reads and a way to fail. */
class CountingStore implements KeyStore {
  readonly keys = openSqlite(':memory:').keys
  reads = 0
  fails = false
  during?: () => Promise<void>

  async find (id: string) {
    this.reads++
    if (this.fails) throw new Error('disk gone')
    const row = await this.keys.find(id)
    await this.during?.()
    return row
  }

  insert: KeyStore['insert'] = key => this.keys.insert(key)
  insertFirst: KeyStore['insertFirst'] = keys => this.keys.insertFirst(keys)
  list: KeyStore['list'] = () => this.keys.list()
  revoke: KeyStore['revoke'] = (id, at) => this.keys.revoke(id, at)
}

export function tenantConfig (name: string): TenantConfig {
  return { name, class: 'internal', boundary: 'cloud', models: ['*'], limits: {} }
}
