/** Durable facts. SQLite on one machine; Postgres for several. One contract: test/conformance/store.ts. */
export interface Store {
  readonly keys: KeyStore
  readonly usage: UsageStore
  readonly responses: ResponseStore
  close (): Promise<void>
}

/** Responses that a tenant's policy lets callers keep. The only table that holds what was said. A tenant sees its own alone. */
export interface ResponseStore {
  /**
   * Of the tenant at most `most` are kept: the oldest go.
   * @throws GatewayError when there is one of this id
   */
  insert (row: ResponseRow, most: number): Promise<void>
  /** Null when there is none, it is another tenant's, or it has expired. */
  find (tenant: string, id: string, now: Date): Promise<ResponseRow | null>
  /** @returns false when there was none */
  delete (tenant: string, id: string): Promise<boolean>
  /** Deletes at most `most` that have expired. @returns how many */
  sweep (now: Date, most: number): Promise<number>
}

export interface ResponseRow {
  readonly id: string
  readonly tenant: string
  readonly createdAt: Date
  readonly expiresAt: Date
  /** The response it goes on from. */
  readonly previousId: string | null
  readonly dataClass: string
  /** The caller's own items, JSON. */
  readonly input: string
  /** As it was answered, JSON. */
  readonly response: string
}

export interface KeyStore {
  /** Null when there is none; revoked and expired keys are returned as such. */
  find (id: string): Promise<KeyRow | null>
  /** @throws GatewayError when there is a key of this id */
  insert (key: KeyRow): Promise<void>
  /**
   * Inserts all of them when the store holds no key at all, revoked ones included; else none. Atomic, so that of several
   * replicas that start on an empty store one makes the first keys.
   * @returns whether they were inserted
   */
  insertFirst (keys: readonly KeyRow[]): Promise<boolean>
  /** Oldest first. */
  list (): Promise<readonly KeyRow[]>
  /** @returns false when there is no such key; revoking twice keeps the first time */
  revoke (id: string, at: Date): Promise<boolean>
}

export type Scope = 'inference' | 'admin'

export interface KeyRow {
  readonly id: string
  readonly tenant: string
  readonly name: string
  readonly scopes: readonly Scope[]
  /** HMAC-SHA-256 of the secret part under the installation's pepper, hex. */
  readonly hmac: string
  readonly createdAt: Date
  readonly expiresAt: Date | null
  readonly revokedAt: Date | null
}

export interface UsageStore {
  /** All rows or none. A row whose `callId` is there already is skipped, so a replay counts once. */
  append (rows: readonly UsageRow[]): Promise<void>
  /** Sums per tenant, model and target, in that order, of calls that started in [from, until). */
  totals (query: { from: Date, until: Date, tenant?: string }): Promise<readonly UsageTotals[]>
}

/** One row per call. Prompt and answer text are never in it. Every number is whole and not negative. */
export interface UsageRow {
  readonly callId: string
  readonly startedAt: Date
  readonly tenant: string
  readonly keyId: string
  readonly model: string
  /** `backend/model` that answered, or null. */
  readonly target: string | null
  readonly locality: string | null
  readonly dataClass: string
  readonly outcome: string
  readonly errorCode: string | null
  readonly attempts: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cachedInputTokens: number
  readonly reasoningTokens: number
  /** True where the backend gave no usage and we counted. */
  readonly estimated: boolean
  readonly firstTokenMs: number | null
  readonly durationMs: number
}

export interface UsageTotals {
  readonly tenant: string
  readonly model: string
  readonly target: string | null
  readonly calls: number
  readonly inputTokens: number
  readonly outputTokens: number
}
