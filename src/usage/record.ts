import type { DataClass, Locality } from '../config/schema.ts'
import type { ErrorCode, Outcome } from '../errors.ts'
import type { TokenUsage } from '../wire/chat.ts'

/**
 * The one account of a call. Metrics, usage rows, access log and traces all read it, so they cannot disagree.
 * Every accepted call ends in exactly one record. Prompt and answer text are never in it.
 * Times are milliseconds from `startedAt` on a clock that never jumps.
 */
export interface CallRecord {
  readonly id: string
  /** What the caller calls it, where it does; made safe to repeat. */
  clientId?: string
  readonly startedAt: Date
  readonly endpoint: Endpoint
  tenant: string | null
  keyId: string | null
  /** Public name as asked for, when it is a configured one; null otherwise, so that junk never becomes a label. */
  model: string | null
  stream: boolean
  dataClass: DataClass | null
  boundary: Locality | null
  /** Candidates that policy or health left out. */
  rejected: readonly { readonly target: string, readonly reason: string }[]
  /** When the body had come; what passed before was the caller's time. Null when it never did. */
  receivedMs: number | null
  /** How many candidates the plan kept. */
  planned: number
  attempts: Attempt[]
  /** First content forwarded to the caller; null when none was. */
  firstTokenMs: number | null
  durationMs: number | null
  usage: TokenUsage | null
  /** Usage was counted by us because the backend gave none. */
  usageEstimated: boolean
  /** Of a recording, where the backend charges for its length. */
  audioSeconds?: number
  outcome: Outcome | null
  errorCode: ErrorCode | null
  /** HTTP status sent to the caller; 499 when it had left. */
  status: number | null
  /** Which limit refused the call, when one did: `tenant:requests`. */
  limit: { readonly scope: string, readonly resource: string } | null
}

export const ENDPOINTS = ['chat_completions', 'messages', 'responses', 'completions', 'embeddings', 'rerank', 'tokens', 'moderations', 'audio', 'images'] as const
export type Endpoint = (typeof ENDPOINTS)[number]

/** One try of one target. */
export interface Attempt {
  /** `backend/model` */
  readonly target: string
  readonly backend: string
  readonly locality: Locality
  /** Name of the key that it answered with, where the backend has several. */
  key?: string
  /** Start, first content and end of the attempt. */
  readonly startMs: number
  firstTokenMs: number | null
  endMs: number | null
  error: ErrorCode | null
}

/** A reader of records. Called once per call, when it has ended, and must not throw. */
export interface Recorder { (record: CallRecord): void }
