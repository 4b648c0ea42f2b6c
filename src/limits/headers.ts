import type { Standing } from './limits.ts'

/** A longer wait is told in the message alone: SDKs ignore a `Retry-After` of more than a minute. */
const MAX_RETRY_S = 60

/** Source of the names and forms: OpenAI guide "Rate limits", "Rate limits in headers", read 2026-11-22. */
export function rateLimitHeaders ({ requests, tokens }: { readonly requests: Standing | null, readonly tokens: Standing | null }): Record<string, string> {
  const headers: Record<string, string> = {}
  if (requests !== null) {
    headers['x-ratelimit-limit-requests'] = String(requests.limit)
    headers['x-ratelimit-remaining-requests'] = remaining(requests)
    headers['x-ratelimit-reset-requests'] = duration(requests.resetS)
  }
  if (tokens !== null) {
    headers['x-ratelimit-limit-tokens'] = String(tokens.limit)
    headers['x-ratelimit-remaining-tokens'] = remaining(tokens)
    headers['x-ratelimit-reset-tokens'] = duration(tokens.resetS)
  }
  return headers
}

/** `retry-after` is for everybody, `retry-after-ms` for the OpenAI SDKs, which prefer it. */
export function retryHeaders (retryAfterS: number): Record<string, string> {
  const s = Math.min(MAX_RETRY_S, Math.max(0, retryAfterS))
  return { 'retry-after': String(Math.max(1, Math.ceil(s))), 'retry-after-ms': String(Math.max(1, Math.ceil(s * 1000))) }
}

function remaining ({ remaining: left }: Standing): string {
  return String(Math.max(0, Math.floor(left)))
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
