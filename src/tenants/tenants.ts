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
  /**
   * Whom a key stands for at this moment, for work that goes on when its caller has left. Asks the store each time.
   * @throws GatewayError `invalid_api_key` when the key is gone, revoked or expired; `internal_error` when the store cannot be read
   */
  principalOf (keyId: string): Promise<Principal>
  /** For explain and admin: a tenant by its name, or null. */
  byName (name: string): TenantConfig | null
}
