/** Durable facts. SQLite on one machine; Postgres for several. One contract: test/conformance/store.ts. */
export interface Store {
  readonly keys: KeyStore
  readonly usage: UsageStore
  readonly responses: ResponseStore
  readonly answers: AnswerStore
  readonly files: FileStore
  readonly batches: BatchStore
  close (): Promise<void>
}

/**
 * Responses that a tenant's policy lets callers keep. With the answers of a running batch the only rows that hold what was said.
 * A tenant sees its own alone.
 */
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

/** Answers kept under the key that their caller gave, where the tenant's policy allows it, to be given again. */
export interface AnswerStore {
  /**
   * Takes the key for a call, unless it is taken: then nothing changes, and what stands there is given back. Atomic.
   * Of the tenant at most `most` are kept: the oldest go.
   */
  begin (turn: AnswerTurn & { readonly fingerprint: string, readonly createdAt: Date, readonly expiresAt: Date }, most: number): Promise<AnswerRow | null>
  /** What the call answered; null bytes are an answer too large to be kept. Nothing where the key is another call's by now. */
  finish (turn: AnswerTurn, answer: { readonly type: string, readonly bytes: Buffer | null, readonly expiresAt: Date }): Promise<void>
  /** The call came to nothing, and its key is free. */
  forget (turn: AnswerTurn): Promise<void>
  /** Deletes at most `most` that have expired. @returns how many */
  sweep (now: Date, most: number): Promise<number>
}

/** Whose turn it is with a key. The key itself is not kept. */
export interface AnswerTurn { readonly tenant: string, readonly keyHash: string, readonly callId: string }

export interface AnswerRow {
  /** Of the request. */
  readonly fingerprint: string
  readonly callId: string
  readonly state: 'running' | 'kept' | 'too_large'
  /** Content type. */
  readonly type: string | null
  readonly bytes: Buffer | null
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

/** What is known of the files that a tenant keeps; their bytes lie elsewhere. A tenant sees its own alone. */
export interface FileStore {
  /**
   * @param most of the tenant, this one included
   * @returns false when the tenant would have more; then nothing is inserted
   */
  insert (row: FileRow, most: { readonly files: number, readonly bytes: number }): Promise<boolean>
  /** Null when there is none, it is another tenant's, or it has expired. */
  find (tenant: string, id: string, now: Date): Promise<FileRow | null>
  /** At most `page.most`, in the order of time. What comes after an id that is not there is nothing. */
  list (tenant: string, page: Page & { readonly purpose: string | null, readonly ascending: boolean, readonly now: Date }): Promise<readonly FileRow[]>
  /** Bytes of all files of the tenant. */
  usedBytes (tenant: string): Promise<number>
  /** A file that a batch still reads stays. */
  delete (tenant: string, id: string): Promise<'deleted' | 'missing' | 'in_use'>
  /** Deletes at most `most` that have expired and that no batch reads. @returns their ids */
  sweep (now: Date, most: number): Promise<readonly string[]>
  /** Which of the ids have a row. */
  known (ids: readonly string[]): Promise<ReadonlySet<string>>
}

export interface FileRow {
  readonly id: string
  readonly tenant: string
  readonly purpose: string
  readonly filename: string
  readonly bytes: number
  readonly dataClass: string
  readonly createdAt: Date
  readonly expiresAt: Date
}

export interface Page { readonly after: string | null, readonly most: number }

/**
 * Batches and their lines. What is to be done is leased: one owner at a time has a batch (to validate or to finish it) or a line
 * (to answer it), until a time; a lease that has run out is anybody's. Whatever an owner writes counts only while it is its own.
 */
export interface BatchStore {
  /** @param most of the tenant that have not ended, this one included. @returns false when there are so many already */
  insert (row: NewBatch, most: number): Promise<boolean>
  /** Null when there is none, or it is another tenant's. */
  find (tenant: string, id: string): Promise<BatchRow | null>
  /** Latest first. */
  list (tenant: string, page: Page): Promise<readonly BatchRow[]>
  /** `cancelling`, where the batch is validating or in progress. @returns the batch as it is then; null as `find` */
  cancel (tenant: string, id: string, now: Date): Promise<BatchRow | null>
  /** Those in progress whose time is not over, oldest first, at most `most`. */
  running (now: Date, most: number): Promise<readonly BatchRow[]>
  /** A batch to validate (`validating`) or to finish (`finalizing`, `cancelling`); one in progress is to be finished when nothing is left to start. */
  leaseBatch (lease: Lease): Promise<BatchRow | null>
  /** The next lines that nobody has, in their order. One whose last owner was lost has tried once more. */
  leaseLines (batchId: string, lease: Lease, want: { readonly most: number, readonly exceptModels: readonly string[] }): Promise<readonly LineRow[]>
  /** Moves the end of the leases that are still this owner's. */
  renew (lease: Lease, of: { readonly batches: readonly string[], readonly lines: readonly LineRef[] }): Promise<void>
  /** Of a batch that this owner validates. @returns false when it is its own no more */
  addLines (batchId: string, owner: string, lines: readonly NewLine[]): Promise<boolean>
  /** Deletes at most `most` lines of the batch. @returns how many */
  clearLines (batchId: string, most: number): Promise<number>
  /** Ends the validation: from now on lines are answered. @returns false when the batch is this owner's no more, or was cancelled */
  begin (batchId: string, owner: string, now: Date, what: { readonly total: number, readonly model: string | null }): Promise<boolean>
  /** Ends the batch before it began. @param errors JSON. @returns as `begin` */
  fail (batchId: string, owner: string, now: Date, errors: string): Promise<boolean>
  /** @returns false when the line is this owner's no more: then it has or gets another answer, and this one counts nowhere */
  answer (line: LineRef, owner: string, answer: LineAnswer): Promise<boolean>
  /** Gives the line back, to be tried again. */
  release (line: LineRef, owner: string, again: { readonly notBefore: Date, readonly isTry: boolean }): Promise<void>
  /** Lines in the order of the input, after one of them. */
  lines (batchId: string, afterLine: number, most: number): Promise<readonly AnsweredLine[]>
  /** The end of a batch that this owner finishes, together with its files. @returns false when it is its own no more */
  finish (batchId: string, owner: string, now: Date, end: BatchEnd): Promise<boolean>
  /** Gives the batch back. */
  releaseBatch (batchId: string, owner: string): Promise<void>
  /** Deletes lines of batches that have ended, and batches that ended before a time; at most `most` of each. @returns how many */
  sweep (endedBefore: Date, most: number): Promise<number>
}

export interface Lease { readonly owner: string, readonly now: Date, readonly until: Date }

export type BatchStatus = 'validating' | 'failed' | 'in_progress' | 'finalizing' | 'completed' | 'expired' | 'cancelling' | 'cancelled'

export interface NewBatch {
  readonly id: string
  readonly tenant: string
  readonly keyId: string
  readonly endpoint: string
  readonly inputFileId: string
  /** Of every one of its calls, at least. */
  readonly dataClass: string
  /** JSON. */
  readonly metadata: string | null
  /** How long the files it makes are kept, in seconds; null for as long as usual. */
  readonly outputLastsS: number | null
  readonly createdAt: Date
  /** The end of its completion window. */
  readonly expiresAt: Date
}

export interface BatchRow extends NewBatch {
  readonly status: BatchStatus
  readonly inProgressAt: Date | null
  readonly finalizingAt: Date | null
  readonly cancellingAt: Date | null
  /** Failed, completed, expired or cancelled, as the status says. */
  readonly endedAt: Date | null
  /** Where all lines name the same. */
  readonly model: string | null
  /** JSON. */
  readonly errors: string | null
  readonly outputFileId: string | null
  readonly errorFileId: string | null
  readonly total: number
  readonly completed: number
  readonly failed: number
  readonly usage: LineUsage
}

export interface LineUsage { readonly input: number, readonly cachedInput: number, readonly output: number, readonly reasoning: number }

export interface LineRef { readonly batchId: string, readonly line: number }

export interface NewLine {
  /** In the input file, from 1. */
  readonly line: number
  /** In the order in which lines are answered. */
  readonly place: number
  readonly customId: string
  readonly model: string
  readonly byteOffset: number
  readonly byteLength: number
}

export interface LineRow extends NewLine, LineRef {
  /** How often it has been tried in vain. */
  readonly tries: number
}

export interface LineAnswer {
  readonly state: 'completed' | 'failed'
  /** The line of the output or error file, JSON. */
  readonly answer: string
  readonly usage: LineUsage
}

/** `answer` is null where there is none. */
export interface AnsweredLine { readonly line: number, readonly customId: string, readonly state: string, readonly answer: string | null }

export interface BatchEnd {
  readonly status: 'completed' | 'expired' | 'cancelled'
  readonly output: FileRow | null
  readonly errors: FileRow | null
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
