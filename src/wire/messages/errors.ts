/** Errors in Anthropic's shape. Source: Claude API reference, "Errors"; ErrorType of @anthropic-ai/sdk 1.12.0; read 2026-11-22. */
import type { GatewayError } from '../../errors.ts'

const OVERLOADED = 529

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
  [OVERLOADED]: 'overloaded_error'
}

/** Anthropic's clients know 529 as "too busy now"; other 503s stay what they are. */
export function errorStatus (error: GatewayError): number {
  return error.code === 'backend_overloaded' || error.code === 'gateway_overloaded' ? OVERLOADED : error.status
}

export interface MessagesError { type: 'error', error: { type: string, message: string }, request_id: string }

export function errorBody (error: GatewayError, requestId: string): MessagesError {
  const status = errorStatus(error)
  const type = TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error')
  return { type: 'error', error: { type, message: withPlace(error) }, request_id: requestId }
}

/** There is no member of its own for the parameter at fault. */
function withPlace ({ message, param }: GatewayError): string {
  return param === null || message.includes(param) ? message : `${param}: ${message}`
}
