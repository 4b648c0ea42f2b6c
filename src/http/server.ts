/** The OpenAI-compatible listener: what holds for every route, before and around the routes themselves. */
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import rateLimit from '@fastify/rate-limit'
import type { Config } from '../config/schema.ts'
import { GatewayError, toGatewayError } from '../errors.ts'
import type { Call } from '../pipeline/call.ts'
import type { Scope } from '../store/store.ts'
import type { Principal, Tenants } from '../tenants/tenants.ts'
import { errorHeaders } from './error-headers.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a key must be allowed to do here. A route without it does not register. */
    scope?: Scope | 'public'
  }
  interface FastifyRequest {
    principal: Principal | null
    /** The open call of a route that answers calls; whatever fails, the error handler ends it. */
    call: Call | null
  }
}

export interface ServerParts {
  readonly config: Pick<Config, 'server' | 'limits'>
  readonly tenants: Tenants
  /** Told of every failure that is the gateway's own. */
  readonly onFailure: (error: GatewayError, requestId: string) => void
}

/** Builds the listener without its routes. `draining` refuses new calls from then on. */
export async function createServer ({ config, tenants, onFailure }: ServerParts): Promise<{ server: FastifyInstance, drain (): void }> {
  let draining = false
  const { server: limits } = config
  const server = Fastify({
    logger: false,
    bodyLimit: limits.bodyLimitBytes,
    requestTimeout: limits.requestTimeoutMs,
    http: { headersTimeout: limits.headersTimeoutMs, maxHeaderSize: 32_768 },
    keepAliveTimeout: 72_000,
    maxRequestsPerSocket: 100_000,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    requestIdHeader: false,
    genReqId: requestId,
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) => { void sendError(fromFramework(error), request, reply as FastifyReply, onFailure) }
  })
  server.server.maxConnections = limits.maxConnections
  server.decorateRequest('principal', null)
  server.decorateRequest('call', null)
  acceptJsonOnly(server)
  await server.register(rateLimit, { global: false })
  const countFailure = server.createRateLimit({ max: config.limits.failuresPerMinute, timeWindow: 60_000 })

  server.addHook('onRoute', route => {
    const scope = route.config?.scope
    if (scope === undefined) throw new TypeError(`${String(route.method)} ${route.url} declares no scope.`)
    if (scope === 'public') return
    const check = async (request: FastifyRequest) => { request.principal = await authenticate(tenants, request, scope) }
    // After the route's own hooks, which open the call, and before the body is read.
    route.onRequest = [route.onRequest ?? [], check].flat()
  })
  server.addHook('onRequest', async (_request, reply) => {
    if (!draining) return
    reply.header('connection', 'close')
    throw new GatewayError('draining', 'The gateway is shutting down.', { retryAfterS: 5 })
  })
  server.setNotFoundHandler(request => { throw notFound(server, request) })
  server.setErrorHandler(async (thrown, request, reply) => {
    let error = fromFramework(thrown as FastifyError)
    if (error.status === 401 || error.status === 404) error = await floodChecked(error, request, countFailure)
    return await sendError(error, request, reply, onFailure)
  })
  return { server, drain: () => { draining = true } }
}

/** Before the body is read, so that a stranger cannot make the gateway buffer one. */
async function authenticate (tenants: Tenants, request: FastifyRequest, scope: Scope): Promise<Principal> {
  const principal = await tenants.authenticate(bearer(request))
  if (!principal.scopes.includes(scope)) {
    throw new GatewayError('permission_denied', `This key lacks the scope ${scope}.`)
  }
  return principal
}

function bearer (request: FastifyRequest): string | undefined {
  const header = request.headers.authorization
  if (header === undefined) return undefined
  const [scheme = '', token] = header.split(' ', 2)
  return scheme.toLowerCase() === 'bearer' ? token : header
}

function requestId (): string {
  return `req_${randomBytes(12).toString('hex')}`
}

/** Bodies stay bytes: they are scanned before anything parses them (wire/parse.ts). */
function acceptJsonOnly (server: FastifyInstance): void {
  server.removeAllContentTypeParsers()
  server.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const charset = /charset="?([\w-]+)/i.exec(request.headers['content-type'] ?? '')?.[1]?.toLowerCase()
    const encoding = request.headers['content-encoding'] ?? 'identity'
    if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8') done(unsupported(`charset ${charset}`))
    else if (encoding !== 'identity') done(unsupported('a compressed body'))
    else done(null, body)
  })
}

function unsupported (what: string): GatewayError {
  return new GatewayError('unsupported_media_type', `Expected application/json in UTF-8, uncompressed; got ${what}.`)
}

type Counter = ReturnType<FastifyInstance['createRateLimit']>

/** Strangers and scanners are counted by address; a caller with a good key on a good route never is. */
async function floodChecked (error: GatewayError, request: FastifyRequest, count: Counter): Promise<GatewayError> {
  const counted = await count(request)
  if (counted.isAllowed || !counted.isExceeded) return error
  return new GatewayError('too_many_failures', 'Too many failed requests from this address.', { retryAfterS: counted.ttlInSeconds })
}

const METHODS = ['GET', 'POST', 'DELETE', 'PUT', 'PATCH'] as const

function notFound (server: FastifyInstance, request: FastifyRequest): GatewayError {
  const path = request.url.split('?', 1)[0]!
  const allowed = METHODS.filter(method => server.findRoute({ method, url: path }) !== null)
  if (allowed.length === 0) {
    return new GatewayError('unknown_route', `No route ${request.method} ${path.slice(0, 100).replace(/[^\x20-\x7e]/g, '?')}. The API stands under /v1.`)
  }
  return new MethodNotAllowed(request.method, allowed)
}

/** Carries what the Allow header has to say. */
export class MethodNotAllowed extends GatewayError {
  readonly allowed: readonly string[]

  constructor (method: string, allowed: readonly string[]) {
    super('method_not_allowed', `${method} is not allowed here; ${allowed.join(', ')} is.`)
    this.allowed = allowed
  }
}

const FRAMEWORK: Readonly<Record<string, (message: string) => GatewayError>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: () => new GatewayError('request_too_large', 'The body is larger than this server accepts.'),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () => unsupported('another content type'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () => new GatewayError('invalid_json', 'The body is not as long as Content-Length says.'),
  FST_ERR_CTP_EMPTY_JSON_BODY: () => new GatewayError('invalid_json', 'The body is empty; expected a JSON object.'),
  FST_ERR_BAD_URL: () => new GatewayError('unknown_route', 'The path is not a valid URL path.'),
  FST_ERR_MAX_PARAM_LENGTH: () => new GatewayError('unknown_route', 'The path is too long.')
}

function fromFramework (thrown: FastifyError | GatewayError): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  const known = FRAMEWORK[thrown.code]
  return known === undefined ? toGatewayError(thrown) : known(thrown.message)
}

async function sendError (error: GatewayError, request: FastifyRequest, reply: FastifyReply, onFailure: ServerParts['onFailure']): Promise<FastifyReply> {
  request.call?.end(error, error.status)
  if (error.code === 'internal_error') onFailure(error, request.id)
  for (const [name, value] of Object.entries(errorHeaders(error, request.id))) reply.header(name, value)
  if (error instanceof MethodNotAllowed) reply.header('allow', error.allowed.join(', '))
  return await reply.code(error.status).send(error.toBody())
}

const BROKEN: Readonly<Record<string, readonly [number, string, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout', 'request_timeout'],
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large', 'request_too_large']
}

/** What is no HTTP at all gets the same error shape, and the connection is closed. */
function answerBrokenRequest (error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) { socket.destroy(); return }
  const [status, text, code] = BROKEN[error.code ?? ''] ?? [400, 'Bad Request', 'invalid_json']
  const body = JSON.stringify({ error: { message: `${text}.`, type: 'invalid_request_error', param: null, code } })
  socket.end(`HTTP/1.1 ${status} ${text}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}
