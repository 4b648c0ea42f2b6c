import type { CallRecord } from '../usage/record.ts'
import type { TokenUsage } from '../wire/chat.ts'

/** A record as the admin API shows it: named members only, so that nothing is shown because it happened to be there. */
export function showCall (record: CallRecord) {
  return {
    id: record.id,
    ...record.clientId !== undefined && { client_id: record.clientId },
    started_at: record.startedAt,
    endpoint: record.endpoint,
    tenant: record.tenant,
    key: record.keyId,
    model: record.model,
    stream: record.stream,
    class: record.dataClass,
    boundary: record.boundary,
    rejected: record.rejected.map(({ target, reason }) => ({ target, reason })),
    attempts: record.attempts.map(({ target, locality, key, startMs, firstTokenMs, endMs, error }) => (
      { target, locality, ...key !== undefined && { key }, start_ms: startMs, first_token_ms: firstTokenMs, end_ms: endMs, error }
    )),
    first_token_ms: record.firstTokenMs,
    duration_ms: record.durationMs,
    usage: record.usage === null ? null : showUsage(record.usage),
    usage_estimated: record.usageEstimated,
    ...record.audioSeconds !== undefined && { audio_seconds: record.audioSeconds },
    outcome: record.outcome,
    error: record.errorCode,
    status: record.status,
    limit: record.limit === null ? null : `${record.limit.scope}:${record.limit.resource}`
  }
}

function showUsage ({ input, output, cachedInput, reasoning }: TokenUsage) {
  return { input_tokens: input, output_tokens: output, cached_input_tokens: cachedInput, reasoning_tokens: reasoning }
}
