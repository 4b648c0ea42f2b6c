/** What a listener says when a request gets no answer. Errors have the shape of OpenAI's, unless the route speaks another dialect. */
import type { FastifyError, FastifyInstance, FastifyRequest } from 'fastify'
import { GatewayError, toGatewayError } from '../errors.ts'
import { rateLimitHeaders, retryHeaders } from '../limits/headers.ts'
import { RateLimited } from '../limits/leases.ts'

export type Thrown = FastifyError | GatewayError

/** How a route tells what went wrong. */
export interface ErrorDialect {
  status (error: GatewayError): number
  body (error: GatewayError, requestId: string): object
  /** On answers too: the id under names of its own. */
  headers (requestId: string): Readonly<Record<string, string>>
}

/** Where a route says nothing else. */
export const OPENAI_ERRORS: ErrorDialect = {
  status: error => error.status,
  body: error => error.toBody(),
  headers: () => ({})
}

declare module 'fastify' {
  interface FastifyContextConfig { errors?: ErrorDialect }
}

const FRAMEWORK: Readonly<Record<string, () => GatewayError>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: () => new GatewayError('request_too_large', 'The body is larger than this listener accepts.'),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () => new GatewayError('unsupported_media_type', 'Expected application/json in UTF-8, uncompressed; got another content type.'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () => new GatewayError('invalid_json', 'The body is not as long as Content-Length says.'),
  FST_ERR_BAD_URL: () => new GatewayError('unknown_route', 'The path is not a valid URL path.'),
  FST_ERR_MAX_PARAM_LENGTH: () => new GatewayError('unknown_route', 'The path is too long.')
}

export function fromFramework (thrown: Thrown): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  return FRAMEWORK[thrown.code]?.() ?? toGatewayError(thrown)
}

const METHODS = ['GET', 'HEAD', 'POST', 'DELETE', 'PUT', 'PATCH'] as const

/** The route does not exist, or not for this method. */
export function notFound (server: FastifyInstance, request: FastifyRequest, hint: string): GatewayError {
  const path = request.url.split('?', 1)[0]!
  const allowed = METHODS.filter(method => server.findRoute({ method, url: path }) !== null)
  if (allowed.length > 0) return new MethodNotAllowed(request.method, allowed)
  return new GatewayError('unknown_route', `No route ${request.method} ${path.slice(0, 100).replace(/[^\x20-\x7e]/g, '?')}. ${hint}`)
}

/** Carries what the Allow header has to say. */
class MethodNotAllowed extends GatewayError {
  readonly allowed: readonly string[]

  constructor (method: string, allowed: readonly string[]) {
    super('method_not_allowed', `${method} is not allowed here; ${allowed.join(', ')} is.`)
    this.allowed = allowed
  }
}

/**
 * Headers the SDKs read on an error. They retry 429 and 5xx by themselves, so they are told not to where every target
 * has been tried already, or where trying again cannot help.
 */
export function errorHeaders (error: GatewayError, requestId: string): Record<string, string> {
  const headers: Record<string, string> = { 'x-request-id': requestId }
  if (error instanceof RateLimited) Object.assign(headers, rateLimitHeaders(error.standing))
  if (error.retryAfterS !== null) Object.assign(headers, retryHeaders(error.retryAfterS))
  else if (error.status === 408 || error.status === 409 || error.status >= 429) headers['x-should-retry'] = 'false'
  if (error.status === 401) headers['www-authenticate'] = 'Bearer'
  if (error instanceof MethodNotAllowed) headers['allow'] = error.allowed.join(', ')
  return headers
}
