import type { KeyRow, ResponseRow, UsageRow } from '../../src/store/store.ts'

export const EVER = { from: new Date(0), until: new Date(8_640_000_000_000_000) }

export function keyRow (row: Partial<KeyRow>): KeyRow {
  return {
    id: 'key', tenant: 'acme', name: '', scopes: ['inference'], hmac: '00'.repeat(32),
    createdAt: new Date(1_700_000_000_000), expiresAt: null, revokedAt: null, ...row
  }
}

export function usageRow (row: Partial<UsageRow>): UsageRow {
  return {
    callId: 'call', startedAt: new Date(1_700_000_000_000), tenant: 'acme', keyId: 'key', model: 'chat', target: 'gpu/chat',
    locality: 'local', dataClass: 'internal', outcome: 'ok', errorCode: null, attempts: 1, inputTokens: 1, outputTokens: 1,
    cachedInputTokens: 0, reasoningTokens: 0, estimated: false, firstTokenMs: 3, durationMs: 10, ...row
  }
}

export function responseRow (row: Partial<ResponseRow>): ResponseRow {
  return {
    id: 'resp', tenant: 'acme', createdAt: new Date(1_700_000_000_000), expiresAt: new Date(1_800_000_000_000), previousId: null,
    dataClass: 'internal', input: '[]', response: '{}', ...row
  }
}
