import type { TenantConfig } from '../config/schema.ts'
import type { Scope } from '../store/store.ts'

/** Who is calling: a key that was checked, and the tenant it belongs to. */
export interface Principal {
  readonly tenant: TenantConfig
  readonly keyId: string
  readonly scopes: readonly Scope[]
}

export interface Tenants {
  /**
   * @param credential the bearer token as it came, undefined when none did
   * @throws GatewayError `missing_api_key` or `invalid_api_key`; the message never holds the key
   */
  authenticate (credential: string | undefined): Promise<Principal>
  /** For explain and admin: a tenant by its name, or null. */
  byName (name: string): TenantConfig | null
}
