/** The OpenAI-compatible listener: what holds for every route, before and around the routes themselves. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Config } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import { floodCheck } from '../listener/flood.ts'
import { credentialOf, hopsOf } from '../listener/headers.ts'
import { createListener } from '../listener/listener.ts'
import type { PressureReason } from '../listener/pressure.ts'
import type { Call } from '../pipeline/call.ts'
import type { Scope } from '../store/store.ts'
import type { Principal, Tenants } from '../tenants/tenants.ts'
import { Answers, type AnswersParts } from './answers.ts'
import { decisionHeaders } from './decision.ts'
import { Heartbeats } from './heartbeats.ts'
import { describeRoutes } from './openapi/openapi.ts'

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
  /** Why no further call can be taken now; null while there is no reason. */
  readonly pressure: () => PressureReason | null
  readonly onShed: (reason: PressureReason) => void
  readonly answers: AnswersParts
  /** Told of every failure that is the gateway's own. */
  readonly onFailure: (error: GatewayError, requestId: string) => void
}

export interface ApiServer {
  readonly server: FastifyInstance
  readonly heartbeats: Heartbeats
  readonly answers: Answers
  /** Why no further call can be taken now, for calls that come on an open connection; null while there is no reason. */
  refusal (): GatewayError | null
  /** Refuses new calls from then on. */
  drain (): void
}

/** Builds the listener without its routes. */
export async function createServer ({ config, tenants, pressure, onShed, answers: parts, onFailure }: ServerParts): Promise<ApiServer> {
  let draining = false
  const server = createListener({
    ...config.server,
    maxHeaderBytes: 32_768,
    closes: 'idle',
    hint: 'The API stands under /v1.',
    onFailure,
    onError: async (error, request) => {
      const shown = isStranger(request) && error.status < 500 ? await checkFlood(error, request) : error
      if (shown.code === 'too_many_failures' && request.call) request.call.record.limit = { scope: 'ip', resource: 'requests' }
      request.call?.end(shown)
      return shown
    },
    errorHeadersOf: ({ call }) => call === null || call === undefined ? {} : decisionHeaders(call)
  })
  server.decorateRequest('principal', null)
  server.decorateRequest('call', null)
  acceptJsonOnly(server)
  const checkFlood = await floodCheck(server, config.limits.failuresPerMinute)

  server.addHook('onRoute', route => {
    const scope = route.config?.scope
    if (scope === undefined) throw new TypeError(`${String(route.method)} ${route.url} declares no scope.`)
    if (scope === 'public') return
    const check = async (request: FastifyRequest) => {
      request.principal = await authenticate(tenants, request, scope)
      const hops = hopsOf(request.raw, config.server.maxHops)
      if (request.call !== null) request.call.hops = hops
    }
    // After the route's own hooks, which open the call, and before the body is read.
    route.onRequest = [route.onRequest ?? [], check].flat()
  })
  const refusal = (): GatewayError | null => {
    if (draining) return new GatewayError('draining', 'The gateway is shutting down.', { retryAfterS: 5 })
    const reason = pressure()
    if (reason === null) return null
    onShed(reason)
    return new GatewayError('gateway_overloaded', SHED[reason], { retryAfterS: 1 })
  }
  server.addHook('onRequest', (_request, _reply, done) => { done(refusal() ?? undefined) })
  describeRoutes(server)
  const answers = new Answers(parts)
  server.addHook('onClose', async () => { answers.close() })
  return { server, heartbeats: new Heartbeats(config.server.heartbeatMs), answers, refusal, drain: () => { draining = true } }
}

const SHED: Readonly<Record<PressureReason, string>> = {
  event_loop: 'The gateway is too busy to take another call (server.shed.eventLoopDelayMs).',
  heap: 'The gateway has no memory for another call (server.shed.heapPercent).'
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
