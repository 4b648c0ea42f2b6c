import type { Attempt, CallRecord } from '../../src/usage/record.ts'

/** A streamed call that one local target answered well. */
export function recordOf (changes: Partial<CallRecord> = {}): CallRecord {
  return {
    id: 'req_1',
    startedAt: new Date('2026-11-01T08:00:00Z'),
    endpoint: 'chat_completions',
    tenant: 'acme',
    keyId: 'key_1',
    model: 'chat',
    stream: true,
    dataClass: 'internal',
    boundary: 'cloud',
    rejected: [],
    planned: 1,
    attempts: [attemptOf()],
    receivedMs: 0,
    firstTokenMs: 45,
    durationMs: 1045,
    usage: { input: 100, output: 51, cachedInput: 30, reasoning: 7 },
    usageEstimated: false,
    outcome: 'ok',
    errorCode: null,
    status: 200,
    limit: null,
    ...changes
  }
}

export function attemptOf (changes: Partial<Attempt> = {}): Attempt {
  return { target: 'gpu/qwen', backend: 'gpu', locality: 'local', startMs: 1, firstTokenMs: 44, endMs: 1041, error: null, ...changes }
}
