/** The OpenAI-compatible listener: what holds for every route, before and around the routes themselves. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import rateLimit from '@fastify/rate-limit'
import type { Config } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import { credentialOf } from '../listener/headers.ts'
import { createListener } from '../listener/listener.ts'
import type { Call } from '../pipeline/call.ts'
import type { Scope } from '../store/store.ts'
import type { Principal, Tenants } from '../tenants/tenants.ts'
import { decisionHeaders } from './decision.ts'
import { Heartbeats } from './heartbeats.ts'

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
export async function createServer ({ config, tenants, onFailure }: ServerParts): Promise<{ server: FastifyInstance, heartbeats: Heartbeats, drain (): void }> {
  let draining = false
  const server = createListener({
    ...config.server,
    maxHeaderBytes: 32_768,
    closes: 'idle',
    hint: 'The API stands under /v1.',
    onFailure,
    onError: async (error, request) => {
      const shown = isStranger(request) && error.status < 500 ? await floodChecked(error, request, countFailure) : error
      if (shown.code === 'too_many_failures' && request.call) request.call.record.limit = { scope: 'ip', resource: 'requests' }
      request.call?.end(shown)
      return shown
    },
    errorHeadersOf: ({ call }) => call === null || call === undefined ? {} : decisionHeaders(call)
  })
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
  server.addHook('onRequest', (_request, _reply, done) => {
    done(draining ? new GatewayError('draining', 'The gateway is shutting down.', { retryAfterS: 5 }) : undefined)
  })
  return { server, heartbeats: new Heartbeats(config.server.heartbeatMs), drain: () => { draining = true } }
}

/** Before the body is read, so that a stranger cannot make the gateway buffer one. */
async function authenticate (tenants: Tenants, request: FastifyRequest, scope: Scope): Promise<Principal> {
  const principal = await tenants.authenticate(credentialOf(request.raw))
  if (!principal.scopes.includes(scope)) {
    throw new GatewayError('permission_denied', `This key lacks the scope ${scope}.`)
  }
  return principal
}

/** Bodies stay bytes: they are scanned before anything parses them (wire/parse.ts). What is refused here is never read. */
function acceptJsonOnly (server: FastifyInstance): void {
  server.removeAllContentTypeParsers()
  server.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => { done(null, body) })
  server.addHook('preParsing', ({ headers }, _reply, payload, done) => {
    const charset = /charset\s*=\s*"?([^\s;"]+)/i.exec(headers['content-type'] ?? '')?.[1] ?? 'utf-8'
    if (!/^utf-?8$/i.test(charset)) done(unsupported('another charset'))
    else if (!/^identity$/i.test(headers['content-encoding'] ?? 'identity')) done(unsupported('a compressed body'))
    else done(null, payload)
  })
}

function unsupported (what: string): GatewayError {
  return new GatewayError('unsupported_media_type', `Expected application/json in UTF-8, uncompressed; got ${what}.`)
}

/** Nobody whose key was found good. Null, or not there at all where the path could not even be read. */
function isStranger ({ principal }: FastifyRequest): boolean {
  return (principal ?? null) === null
}

type Counter = ReturnType<FastifyInstance['createRateLimit']>

/** Strangers and scanners are counted by address; a caller with a good key never is. */
async function floodChecked (error: GatewayError, request: FastifyRequest, count: Counter): Promise<GatewayError> {
  const counted = await count(request)
  if (counted.isAllowed || !counted.isExceeded) return error
  return new GatewayError('too_many_failures', 'Too many failed requests from this address.', { retryAfterS: counted.ttlInSeconds })
}
