import { randomBytes } from 'node:crypto'
import { GatewayError, toGatewayError } from '../errors.ts'
import type { Files } from '../files/files.ts'
import { Call } from '../pipeline/call.ts'
import type { Services } from '../pipeline/serve.ts'
import type { BatchRow, LineAnswer, LineRow, LineUsage } from '../store/store.ts'
import type { Tenants } from '../tenants/tenants.ts'
import type { Recorder } from '../usage/record.ts'
import { parseBody } from '../wire/parse.ts'
import { BATCH_ENDPOINTS } from './endpoints.ts'
import { restMs } from './headroom.ts'
import { verdictOn, type Again } from './verdict.ts'

export interface LineParts {
  /** Those of every other call, but their backends answer others first. */
  readonly services: Services
  readonly files: Pick<Files, 'slice'>
  readonly tenants: Tenants
  readonly recorders: readonly Recorder[]
  readonly onStart: () => void
  /** How often a line is tried. */
  readonly tries: number
}

export interface Tried {
  readonly outcome: LineAnswer | Again
  /** How long batches of the tenant leave its limits to others. */
  readonly restMs: number
}

/** Beyond the tries of a line: how often the gateway may end while it is under way, before the line is believed to be what ends it. */
const MOST_LOST = 10
const NOTHING: LineUsage = { input: 0, cachedInput: 0, output: 0, reasoning: 0 }

/** Asks what a line asks, as a call of its own: with its key, its limits and its record. Never throws. */
export async function answerLine (parts: LineParts, batch: BatchRow, line: LineRow, signal: AbortSignal): Promise<Tried> {
  const { endpoint, serve } = BATCH_ENDPOINTS.get(batch.endpoint)!
  const call = new Call(`req_${randomBytes(12).toString('hex')}`, endpoint, parts.recorders)
  call.record.tenant = batch.tenant
  call.record.keyId = batch.keyId
  parts.onStart()
  let body: unknown = null
  const outlet = { body: (_bytes: Buffer, value: unknown) => { body = value }, begin: onlyWhole, frame: onlyWhole, end: onlyWhole }
  try {
    if (line.tries >= parts.tries + MOST_LOST) throw lost(line)
    const principal = await allowed(parts.tenants, batch)
    const asked = await bodyOf(parts.files, batch, line)
    call.record.receivedMs = call.elapsedMs
    await serve(parts.services, call, { principal, body: asked, claimedClass: batch.dataClass, signal }, outlet)
    const outcome = { state: 'completed', answer: said(line, call, 200, body), usage: call.record.usage ?? NOTHING } as const
    return { outcome, restMs: restMs(call.lease) }
  } catch (thrown) {
    const error = toGatewayError(thrown)
    call.end(error)
    const verdict = verdictOn(error, line.tries, parts.tries)
    const outcome = verdict.kind === 'again' ? verdict : { state: 'failed', answer: said(line, call, error.status, error.toBody()), usage: NOTHING } as const
    return { outcome, restMs: restMs(call.lease) }
  }
}

/** The key may have been revoked since, and the policy of the tenant may be another one. */
async function allowed (tenants: Tenants, { keyId, tenant }: BatchRow) {
  const principal = await tenants.principalOf(keyId)
  if (principal.tenant.name !== tenant || !principal.scopes.includes('inference')) {
    throw new GatewayError('permission_denied', 'The key of this batch may not ask for it any more.')
  }
  if (principal.tenant.storeFiles !== true) {
    throw new GatewayError('files_not_kept', `No files are kept for the tenant ${tenant} any more (tenants[].storeFiles).`)
  }
  return principal
}

async function bodyOf (files: Pick<Files, 'slice'>, batch: BatchRow, line: LineRow): Promise<Record<string, unknown>> {
  const bytes = await files.slice(batch.inputFileId, line.byteOffset, line.byteLength)
  return parseBody(bytes)['body'] as Record<string, unknown>
}

/** As OpenAI's output and error files have it. */
function said ({ customId }: LineRow, call: Call, status: number, body: unknown): string {
  return JSON.stringify({ id: newLineId(), custom_id: customId, response: { status_code: status, request_id: call.id, body }, error: null })
}

/** A line that has no answer when its batch ends. */
export function unanswered (customId: string, status: 'expired' | 'cancelled'): string {
  const error = status === 'expired'
    ? { code: 'batch_expired', message: 'This request could not be executed before the completion window expired.' }
    : { code: 'batch_cancelled', message: 'This request was not executed, because the batch was cancelled.' }
  return JSON.stringify({ id: newLineId(), custom_id: customId, response: null, error })
}

function newLineId (): string { return `batch_req_${randomBytes(12).toString('hex')}` }

function lost ({ tries }: LineRow): GatewayError {
  return new GatewayError('backend_interrupted', `The request was given up: ${tries} times it was under way when the gateway ended or its backend failed.`)
}

function onlyWhole (): never { throw new GatewayError('backend_invalid_answer', 'The backend streams an answer that was to be whole.') }
