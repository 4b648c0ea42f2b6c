import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Batches } from '../batches/batches.ts'
import { BATCH_ENDPOINTS } from '../batches/endpoints.ts'
import { GatewayError } from '../errors.ts'
import type { BatchRow } from '../store/store.ts'
import { readBatch, WINDOW } from '../wire/batches.ts'
import { pageOf, readPage } from '../wire/pages.ts'
import { parseBody } from '../wire/parse.ts'
import { refuseKey } from './answers.ts'
import { claimedClass } from './calls.ts'
import { assertKept } from './files.ts'

type WithId = { Params: { id: string } }
type WithQuery = { Querystring: Readonly<Record<string, unknown>> }

export interface BatchRouteParts {
  readonly batches: Batches
  /** How long any file is kept at most. */
  readonly retentionHours: number
}

const PAGE = { most: 100, usual: 20 }

/** /v1/batches, for the tenants whose policy keeps files. */
export async function batchRoutes (server: FastifyInstance, { batches, retentionHours }: BatchRouteParts): Promise<void> {
  const config = { scope: 'inference' } as const

  server.post('/v1/batches', { config }, async request => {
    assertKept(request.principal!)
    refuseKey(request, 'batches')
    if (request.body === undefined) throw new GatewayError('invalid_json', 'The body is empty; expected a JSON object.')
    const asked = readBatch(parseBody(request.body as Buffer), [...BATCH_ENDPOINTS.keys()], retentionHours * 3600)
    return shown(await batches.create(request.principal!, asked, claimedClass(request)))
  })

  server.get<WithQuery>('/v1/batches', { config }, async request => {
    const { after, most } = readPage(request.query, PAGE)
    return pageOf((await batches.list(tenantOf(request), { after, most: most + 1 })).map(shown), most)
  })

  server.get<WithId>('/v1/batches/:id', { config }, async request => shown(await batches.find(tenantOf(request), request.params.id)))

  server.post<WithId>('/v1/batches/:id/cancel', { config }, async request => shown(await batches.cancel(tenantOf(request), request.params.id)))
}

function tenantOf ({ principal }: { principal: FastifyRequest['principal'] }): string { return principal!.tenant.name }

function seconds (date: Date | null): number | null { return date === null ? null : Math.floor(date.getTime() / 1000) }

function shown (batch: BatchRow) {
  const { status, usage } = batch
  const endedWith = (name: string) => status === name ? seconds(batch.endedAt) : null
  return {
    id: batch.id,
    object: 'batch',
    endpoint: batch.endpoint,
    model: batch.model,
    errors: batch.errors === null ? null : { object: 'list', data: JSON.parse(batch.errors) as object[] },
    input_file_id: batch.inputFileId,
    completion_window: WINDOW,
    status,
    output_file_id: batch.outputFileId,
    error_file_id: batch.errorFileId,
    created_at: seconds(batch.createdAt),
    in_progress_at: seconds(batch.inProgressAt),
    expires_at: seconds(batch.expiresAt),
    finalizing_at: seconds(batch.finalizingAt),
    completed_at: endedWith('completed'),
    failed_at: endedWith('failed'),
    expired_at: endedWith('expired'),
    cancelling_at: seconds(batch.cancellingAt),
    cancelled_at: endedWith('cancelled'),
    request_counts: { total: batch.total, completed: batch.completed, failed: batch.failed },
    usage: {
      input_tokens: usage.input,
      input_tokens_details: { cached_tokens: usage.cachedInput },
      output_tokens: usage.output,
      output_tokens_details: { reasoning_tokens: usage.reasoning },
      total_tokens: usage.input + usage.output
    },
    metadata: batch.metadata === null ? null : JSON.parse(batch.metadata) as object
  }
}
