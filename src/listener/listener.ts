/** One HTTP/1.1 listener, hardened the same way for callers and for operators. It has no routes and knows no keys. */
import { randomBytes } from 'node:crypto'
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import Fastify, { type FastifyContextConfig, type FastifyInstance, type FastifyReply, type FastifyRequest, type preParsingHookHandler } from 'fastify'
import type { GatewayError } from '../errors.ts'
import { Connections } from './connections.ts'
import { grantOrigins, type Cors } from './cors.ts'
import { errorHeaders, fromFramework, notFound, OPENAI_ERRORS, type ErrorDialect, type Thrown } from './errors.ts'
import { faultOfHost } from './headers.ts'

export interface ListenerOptions {
  readonly bodyLimitBytes: number
  readonly headersTimeoutMs: number
  readonly requestTimeoutMs: number
  /** A caller that reads nothing for this long, while there is something to read, is cut off. */
  readonly writeStallMs: number
  readonly maxConnections: number
  readonly maxHeaderBytes: number
  /** What `close()` cuts off: every connection, or those on which no answer is under way. */
  readonly closes: 'all' | 'idle'
  readonly cors?: Cors
  /** Ends the sentence about a route that does not exist. */
  readonly hint: string
  /** Told of every failure that is the gateway's own. */
  readonly onFailure: (error: GatewayError, requestId: string) => void
  /** Sees every error before it is answered, and may answer another one. */
  readonly onError?: (error: GatewayError, request: FastifyRequest) => Promise<GatewayError>
  /** What else is known about a request that failed. */
  readonly errorHeadersOf?: (request: FastifyRequest) => Readonly<Record<string, string>>
}

/** Idle connections of load balancers live for up to 60 s; ours have to live longer, or calls race with the end. */
const KEEP_ALIVE_MS = 72_000
const MAX_REQUESTS_PER_CONNECTION = 100_000

/** No route has a schema for Fastify: bodies are checked in wire/. Left to itself it loads Ajv all the same, a tenth of every start. */
const WITHOUT_SCHEMAS = { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } }

function noSchemas (): never { throw new TypeError('A route has a schema, which nothing here compiles; check its body in wire/.') }

/** The caller adds hooks and routes, listens and closes. */
export function createListener (options: ListenerOptions): FastifyInstance {
  const connections = new Connections()
  const dialects = new Map<string, ErrorDialect>()
  const answer = (thrown: Thrown, request: FastifyRequest, reply: FastifyReply) => answerError(thrown, request, reply, options, dialects)
  const server = Fastify({
    logger: false,
    bodyLimit: options.bodyLimitBytes,
    requestTimeout: options.requestTimeoutMs,
    connectionTimeout: options.writeStallMs,
    http: timesOf(options),
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxRequestsPerSocket: MAX_REQUESTS_PER_CONNECTION,
    exposeHeadRoutes: true,
    return503OnClosing: false,
    forceCloseConnections: options.closes === 'all' ? true : 'idle',
    requestIdHeader: false,
    schemaController: WITHOUT_SCHEMAS,
    genReqId: requestIds(),
    clientErrorHandler: (error, socket) => { connections.refuse(error, socket) },
    frameworkErrors: (error, request, reply) => { void answer(error, request, reply as FastifyReply) }
  })
  server.server.maxConnections = options.maxConnections
  // Node drops the headers beyond a number without a word; their bytes are bounded anyway.
  server.server.maxHeadersCount = 0
  server.setErrorHandler((thrown, request, reply) => answer(thrown as Thrown, request, reply))
  server.addHook('onRoute', ({ url, config }) => {
    if (config?.errors !== undefined) dialects.set(url, config.errors)
  })
  if (options.cors !== undefined) grantOrigins(server, options.cors)
  server.server.on('timeout', (socket: Socket) => { connections.quiet(socket) })
  server.addHook('onRequest', (request, reply, done) => {
    connections.add(reply.raw)
    reply.header('x-request-id', request.id)
    const fault = faultOfHost(request.raw)
    // Unknown routes here, because their handler runs only when the body has been read; and a turn later, because what came
    // with the head may still turn out to be no HTTP.
    if (fault === undefined && request.is404) setImmediate(() => { done(notFound(server, request, options.hint)) })
    else done(fault)
  })
  continueLate(server, options.bodyLimitBytes)
  return server
}

/** Node looks for late requests only now and then: often enough here for a deadline to be missed by a fifth at most. */
function timesOf ({ headersTimeoutMs, requestTimeoutMs, maxHeaderBytes }: ListenerOptions) {
  const headersTimeout = Math.min(headersTimeoutMs, requestTimeoutMs)
  return {
    headersTimeout,
    requestTimeout: requestTimeoutMs,
    connectionsCheckingInterval: Math.ceil(headersTimeout / 5),
    maxHeaderSize: maxHeaderBytes,
    // Ours says so in the shape of every other error.
    requireHostHeader: false
  }
}

/** `100 Continue` only to a request that is accepted, so that no refused body travels. Other expectations mean nothing here. */
function continueLate (server: FastifyInstance, bodyLimitBytes: number): void {
  const http: Server = server.server
  http.on('checkContinue', server.routing)
  http.on('checkExpectation', server.routing)
  const proceed: preParsingHookHandler = ({ headers: { expect, 'content-length': length = '0' } }, reply, payload, done) => {
    if (expect !== undefined && /\b100-continue\b/i.test(expect) && Number(length) <= bodyLimitBytes) reply.raw.writeContinue()
    done(null, payload)
  }
  // Of the route itself: those of the listener come before, and any of them may still refuse.
  server.addHook('onRoute', route => { route.preParsing = [route.preParsing ?? [], proceed].flat() })
}

type Dialects = ReadonlyMap<string, ErrorDialect>

async function answerError (thrown: Thrown, request: FastifyRequest, reply: FastifyReply, options: ListenerOptions, dialects: Dialects): Promise<FastifyReply> {
  const { onError, onFailure, errorHeadersOf } = options
  const known = fromFramework(thrown)
  const error = onError === undefined ? known : await onError(known, request)
  if (error.code === 'internal_error') onFailure(error, request.id)
  // No route is known yet where the path cannot even be read.
  const told = (request.routeOptions?.config as FastifyContextConfig | undefined)?.errors ?? dialectOf(request.url, dialects)
  const headers = { ...errorHeadersOf?.(request), ...errorHeaders(error, request.id), ...told.headers(request.id) }
  return await reply.code(told.status(error)).headers(headers).send(told.body(error, request.id))
}

/** Of a path that is no route, or not for this method: that of the route it begins with. */
function dialectOf (url: string, dialects: Dialects): ErrorDialect {
  for (let path = url.split('?', 1)[0]!.slice(0, MAX_PATH); path !== ''; path = path.slice(0, path.lastIndexOf('/'))) {
    const dialect = dialects.get(path)
    if (dialect !== undefined) return dialect
  }
  return OPENAI_ERRORS
}

/** Longer than any route. */
const MAX_PATH = 256
const ID_BYTES = 12
const IDS_AT_ONCE = 256

/** Random, so that an id says nothing about other calls; drawn many at a time, because each draw costs as much as parsing a body. */
function requestIds (): () => string {
  let drawn = Buffer.alloc(0)
  let at = 0
  return () => {
    if (at === drawn.length) {
      drawn = randomBytes(ID_BYTES * IDS_AT_ONCE)
      at = 0
    }
    at += ID_BYTES
    return `req_${drawn.toString('hex', at - ID_BYTES, at)}`
  }
}
