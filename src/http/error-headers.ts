import type { GatewayError } from '../errors.ts'
import { rateLimitHeaders, retryHeaders } from '../limits/headers.ts'
import { RateLimited } from '../limits/leases.ts'

/**
 * Headers the SDKs read on an error. They retry 429 and 5xx by themselves, so they are told not to where every target
 * has been tried already, or where trying again cannot help.
 */
export function errorHeaders (error: GatewayError, requestId: string): Record<string, string> {
  const headers: Record<string, string> = { 'x-request-id': requestId }
  if (error instanceof RateLimited) Object.assign(headers, rateLimitHeaders(error.standing))
  if (error.retryAfterS !== null) Object.assign(headers, retryHeaders(error.retryAfterS))
  else if (error.status >= 429) headers['x-should-retry'] = 'false'
  return headers
}
