/**
 * Every way the gateway can refuse or fail a call, in one table. docs/errors.md is printed from it.
 * Source of the wire shape: OpenAI API reference, "Error codes"; openai SDK `APIError.generate`, read 2026-11-22.
 *
 * status    HTTP status when nothing has been sent yet
 * type      OpenAI's `error.type`
 * outcome   value of the `outcome` label of torchgate_requests_total
 * fallback  may the next target be tried? Never overrides policy
 * reason    value of the `reason` label of torchgate_fallbacks_total, where a fallback is possible
 * says      one sentence for docs/errors.md
 */
export const ERRORS = {
  malformed_request: { status: 400, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The request is not valid HTTP/1.1, or has no Host header or several.' },
  invalid_json: { status: 400, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The body is not valid JSON, or not a JSON object.' },
  json_too_deep: { status: 400, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The body is nested deeper than the limit.' },
  json_too_complex: { status: 400, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The body has more objects, arrays and members than the limit.' },
  invalid_type: { status: 400, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'A parameter has the wrong type.' },
  invalid_value: { status: 400, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'A parameter is out of range or not one of the allowed values.' },
  missing_required_parameter: { status: 400, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'A required parameter is missing.' },
  unsupported_parameter: { status: 400, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'A parameter that this gateway or every permitted target refuses by name.' },
  unsupported_value: { status: 400, type: 'invalid_request_error', outcome: 'client_error', fallback: true, reason: 'capability', says: 'A value that the chosen model cannot honour; another target may.' },
  context_length_exceeded: { status: 400, type: 'invalid_request_error', outcome: 'client_error', fallback: true, reason: 'context_length', says: 'The prompt does not fit the context of the model; nothing is ever cut off silently.' },
  rejected_by_backend: { status: 400, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The backend answered that the request itself is wrong; its own code and param are passed on.' },
  missing_api_key: { status: 401, type: 'authentication_error', outcome: 'client_error', fallback: false, reason: null, says: 'No API key was sent.' },
  invalid_api_key: { status: 401, type: 'authentication_error', outcome: 'client_error', fallback: false, reason: null, says: 'The API key is malformed, unknown, expired or revoked.' },
  permission_denied: { status: 403, type: 'permission_error', outcome: 'policy_denied', fallback: false, reason: null, says: 'The key lacks the scope that this route needs.' },
  model_not_allowed: { status: 403, type: 'permission_error', outcome: 'policy_denied', fallback: false, reason: null, says: 'The tenant may not call this model.' },
  egress_forbidden: { status: 403, type: 'permission_error', outcome: 'policy_denied', fallback: true, reason: 'data_class', says: 'The destination lies outside the boundary of the call; nothing was sent to it.' },
  previous_response_not_found: { status: 400, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The response that `previous_response_id` names, or one before it, is not kept: storing is off for the tenant, or it expired or was deleted.' },
  response_not_found: { status: 404, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'No response of this id is kept for the tenant.' },
  files_not_kept: { status: 403, type: 'permission_error', outcome: 'policy_denied', fallback: false, reason: null, says: 'The policy of the tenant keeps no files (`tenants[].storeFiles`), so there are no files and no batches.' },
  file_not_found: { status: 404, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'No file of this id is kept for the tenant.' },
  batch_not_found: { status: 404, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The tenant has no batch of this id.' },
  model_not_found: { status: 404, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'No model of this name is configured.' },
  not_served: { status: 404, type: 'invalid_request_error', outcome: 'client_error', fallback: true, reason: 'capability', says: 'No target of the model serves this route.' },
  unknown_route: { status: 404, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'No such route.' },
  method_not_allowed: { status: 405, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The route exists, but not for this method; the Allow header says for which.' },
  request_timeout: { status: 408, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The request did not arrive whole in time.' },
  file_in_use: { status: 409, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'A batch that has not ended reads the file.' },
  batch_not_cancellable: { status: 409, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The batch has ended, or is about to.' },
  file_too_large: { status: 413, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The file is larger than files.maxBytes.' },
  storage_full: { status: 413, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The tenant would keep more files than files.perTenant, or more than files.perTenantBytes.' },
  idempotency_key_in_use: { status: 409, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'A call with this Idempotency-Key is being answered; ask again when it has ended.' },
  idempotency_answer_too_large: { status: 409, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The call of this Idempotency-Key was answered, with more than is kept (idempotency.maxBytes).' },
  request_too_large: { status: 413, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The body is larger than server.bodyLimitBytes.' },
  unsupported_media_type: { status: 415, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'The body is not of the type that the route reads (application/json in UTF-8; multipart/form-data for files), or is compressed.' },
  idempotency_key_reused: { status: 422, type: 'invalid_request_error', outcome: 'client_error', fallback: false, reason: null, says: 'This Idempotency-Key came before with another request.' },
  rate_limit_exceeded: { status: 429, type: 'rate_limit_error', outcome: 'rate_limited', fallback: false, reason: null, says: 'A limit of the tenant is used up; Retry-After says when it suffices again.' },
  too_many_batches: { status: 429, type: 'rate_limit_error', outcome: 'rate_limited', fallback: false, reason: null, says: 'So many batches of the tenant have not ended as batches.perTenant allows.' },
  too_many_waiting: { status: 429, type: 'rate_limit_error', outcome: 'client_error', fallback: false, reason: null, says: 'More messages came on one WebSocket than may wait behind the response that is being made.' },
  too_many_failures: { status: 429, type: 'rate_limit_error', outcome: 'rate_limited', fallback: false, reason: null, says: 'Too many unauthenticated or misdirected requests from this address.' },
  client_closed: { status: 499, type: 'invalid_request_error', outcome: 'cancelled', fallback: false, reason: null, says: 'The client left before the answer was complete; only ever seen in records.' },
  internal_error: { status: 500, type: 'server_error', outcome: 'internal_error', fallback: false, reason: null, says: 'The gateway failed; the log has the cause under the request id.' },
  backend_failed: { status: 502, type: 'server_error', outcome: 'upstream_error', fallback: true, reason: 'http_5xx', says: 'The backend answered with a server error.' },
  backend_unreachable: { status: 502, type: 'server_error', outcome: 'upstream_error', fallback: true, reason: 'connect', says: 'No connection to the backend: name, route, TLS or refusal.' },
  backend_auth_failed: { status: 502, type: 'server_error', outcome: 'upstream_error', fallback: true, reason: 'auth', says: 'The backend refused the credential of the gateway (401, 402 or 403).' },
  backend_invalid_answer: { status: 502, type: 'server_error', outcome: 'upstream_error', fallback: true, reason: 'invalid_output', says: 'The backend answered 200 with something that is no chat completion, or redirected.' },
  backend_interrupted: { status: 502, type: 'server_error', outcome: 'upstream_error', fallback: true, reason: 'midstream', says: 'The backend broke off in the middle of its answer.' },
  worker_crashed: { status: 502, type: 'server_error', outcome: 'upstream_error', fallback: true, reason: 'worker_lost', says: 'The local worker ended while it had the call.' },
  backend_rate_limited: { status: 429, type: 'rate_limit_error', outcome: 'upstream_error', fallback: true, reason: 'http_429', says: 'The backend answered 429 and no other target took the call.' },
  no_eligible_target: { status: 503, type: 'server_error', outcome: 'policy_denied', fallback: false, reason: null, says: 'Policy and health left no target for this call; x-torchgate-why says why.' },
  backend_overloaded: { status: 503, type: 'server_error', outcome: 'overloaded', fallback: true, reason: 'overloaded', says: 'The queue of the local pool is full, or the wait in it was too long.' },
  backend_unavailable: { status: 503, type: 'server_error', outcome: 'upstream_error', fallback: true, reason: 'unhealthy', says: 'The backend has no running worker for the model.' },
  gateway_overloaded: { status: 503, type: 'server_error', outcome: 'overloaded', fallback: false, reason: null, says: 'The event loop or the heap of the gateway is over its bound (server.shed); the body was not read.' },
  draining: { status: 503, type: 'server_error', outcome: 'overloaded', fallback: false, reason: null, says: 'The gateway is shutting down and takes no new calls.' },
  state_unavailable: { status: 503, type: 'server_error', outcome: 'overloaded', fallback: false, reason: null, says: 'Limits are kept in Redis, it does not answer, and limits.onStateLoss is refuse.' },
  backend_timeout: { status: 504, type: 'server_error', outcome: 'timeout', fallback: true, reason: 'timeout', says: 'The backend did not connect, start, continue or finish in time.' },
  loop_detected: { status: 508, type: 'server_error', outcome: 'policy_denied', fallback: false, reason: null, says: 'The call came through more gateways like this one than server.maxHops allows: a backend probably leads back here.' }
} as const satisfies Record<string, ErrorRow>

interface ErrorRow { status: number, type: string, outcome: string, fallback: boolean, reason: string | null, says: string }

export type ErrorCode = keyof typeof ERRORS
export type Outcome = 'ok' | (typeof ERRORS)[ErrorCode]['outcome']

export interface ErrorOptions {
  /** Request field at fault, in OpenAI path form: `messages[2].content`. */
  param?: string | null
  /** Seconds until a retry may succeed; becomes Retry-After. */
  retryAfterS?: number | null
  /** What a backend said about the client's own request; replaces `code` and `status` on the wire, kept within 4xx. */
  upstream?: { status: number, code: string | null } | null
  cause?: unknown
}

/** The body an OpenAI SDK expects. */
export interface ErrorBody { error: { message: string, type: string, param: string | null, code: string | null } }

/** The only error class that crosses a folder boundary. The message never holds prompt text or a key. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  readonly code: ErrorCode
  readonly param: string | null
  readonly retryAfterS: number | null
  readonly upstream: { status: number, code: string | null } | null

  constructor (code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.param = options.param ?? null
    this.retryAfterS = options.retryAfterS ?? null
    this.upstream = options.upstream ?? null
  }

  get status (): number { return this.upstream?.status ?? ERRORS[this.code].status }
  get fallback (): boolean { return ERRORS[this.code].fallback }
  get outcome (): Outcome { return ERRORS[this.code].outcome }

  toBody (): ErrorBody {
    const code = this.upstream === null ? this.code : this.upstream.code
    return { error: { message: this.message, type: ERRORS[this.code].type, param: this.param, code } }
  }
}

/** Anything thrown becomes a GatewayError; an unknown value becomes `internal_error` with the original as cause. */
export function toGatewayError (thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  return new GatewayError('internal_error', 'The gateway failed unexpectedly.', { cause: thrown })
}
