import type { Standing } from './limits.ts'

/** A longer wait is told in the message alone: SDKs ignore a `Retry-After` of more than a minute. */
const MAX_RETRY_S = 60

/** Source of the names and forms: OpenAI guide "Rate limits", "Rate limits in headers", read 2026-11-22. */
export function rateLimitHeaders ({ requests, tokens }: { readonly requests: Standing | null, readonly tokens: Standing | null }): Record<string, string> {
  return { ...headersOf('requests', requests), ...headersOf('tokens', tokens) }
}

/** `retry-after` is for everybody, `retry-after-ms` for the OpenAI SDKs, which prefer it. */
export function retryHeaders (retryAfterS: number): Record<string, string> {
  const s = Math.min(MAX_RETRY_S, Math.max(0, retryAfterS))
  return { 'retry-after': String(Math.max(1, Math.ceil(s))), 'retry-after-ms': String(Math.max(1, Math.ceil(s * 1000))) }
}

function headersOf (resource: 'requests' | 'tokens', standing: Standing | null): Record<string, string> {
  if (standing === null) return {}
  return {
    [`x-ratelimit-limit-${resource}`]: String(standing.limit),
    [`x-ratelimit-remaining-${resource}`]: String(Math.max(0, Math.floor(standing.remaining))),
    [`x-ratelimit-reset-${resource}`]: duration(standing.resetS)
  }
}

/** As Go prints it, and so OpenAI: `0s`, `20ms`, `1.5s`, `6m0s`, `1h0m0s`. Rounded up to whole milliseconds. */
export function duration (seconds: number): string {
  const ms = Math.ceil(seconds * 1000)
  if (ms > 0 && ms < 1000) return `${ms}ms`
  const s = `${ms % 60_000 / 1000}s`
  if (ms < 60_000) return s
  const minutes = Math.floor(ms / 60_000)
  return minutes < 60 ? `${minutes}m${s}` : `${Math.floor(minutes / 60)}h${minutes % 60}m${s}`
}
