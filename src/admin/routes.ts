/** Health, metrics, and what an operator asks about calls, usage and routing. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { GatewayError } from '../errors.ts'
import { credentialOf } from '../listener/headers.ts'
import type { UsageStore, UsageTotals } from '../store/store.ts'
import type { Tenants } from '../tenants/tenants.ts'
import type { CallRecord } from '../usage/record.ts'
import { parseBody } from '../wire/parse.ts'
import { explainQuery, explainQueryOfBody, usageQuery, type ExplainQuery } from './queries.ts'
import { showCall } from './show.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may use a route of the operator's listener: anyone who reaches it, or a key with the scope `admin`. */
    permission?: 'public' | 'admin'
  }
  interface FastifyRequest {
    /** Its key was found good. */
    isOperator: boolean
  }
}

export interface AdminParts {
  readonly tenants: Tenants
  readonly metrics: { text (): Promise<string>, readonly contentType: string }
  ready (): { readonly ready: boolean, readonly checks: Readonly<Record<string, string>> }
  /** Whatever is JSON. */
  status (): unknown
  readonly usage: Pick<UsageStore, 'totals'>
  /** Writes rows that are still waiting, so that totals are complete. */
  flushUsage (): Promise<void>
  /** @throws GatewayError when there is no such tenant or model */
  explain (query: ExplainQuery): unknown
  /** Newest first. */
  recent (): readonly CallRecord[]
  /** Failures of strangers per address and minute; then 429. */
  readonly failuresPerMinute: number
  /** Told of every failure that is the gateway's own. */
  readonly onFailure: (error: GatewayError, requestId: string) => void
}

/** Adds the routes and their permissions; a route added after without a permission does not register. */
export async function adminRoutes (server: FastifyInstance, parts: AdminParts): Promise<void> {
  requirePermissions(server, parts.tenants)
  server.removeAllContentTypeParsers()
  server.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => { done(null, body) })
  healthRoutes(server, parts)
  operatorRoutes(server, parts)
}

function requirePermissions (server: FastifyInstance, tenants: Tenants): void {
  server.decorateRequest('isOperator', false)
  server.addHook('onRoute', ({ method, url, config }) => {
    if (config?.permission === undefined) throw new TypeError(`${String(method)} ${url} declares no permission; expected public or admin.`)
  })
  server.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    reply.header('x-content-type-options', 'nosniff')
    if (request.is404 || request.routeOptions.config.permission === 'public') return
    const { scopes } = await tenants.authenticate(credentialOf(request.raw))
    if (!scopes.includes('admin')) throw new GatewayError('permission_denied', 'This key lacks the scope admin.')
    request.isOperator = true
  })
}

function healthRoutes (server: FastifyInstance, { metrics, ready }: AdminParts): void {
  const config = { permission: 'public' } as const
  server.get('/livez', { config }, () => ({ status: 'ok' }))
  server.get('/readyz', { config }, (_request, reply) => {
    const { ready: isReady, checks } = ready()
    return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'ready' : 'not_ready', checks })
  })
  server.get('/metrics', { config }, async (_request, reply: FastifyReply) => {
    const text = await metrics.text()
    return reply.type(metrics.contentType).send(text)
  })
}

function operatorRoutes (server: FastifyInstance, parts: AdminParts): void {
  const config = { permission: 'admin' } as const
  server.get('/admin/v1/status', { config }, async () => await parts.status())
  server.get('/admin/v1/usage', { config }, async ({ query }) => {
    const wanted = usageQuery(query, new Date())
    await parts.flushUsage()
    const totals = await parts.usage.totals(wanted)
    return { object: 'usage', from: wanted.from, until: wanted.until, tenant: wanted.tenant ?? null, totals: totals.map(showTotals) }
  })
  server.get('/admin/v1/explain', { config }, async ({ query }) => await parts.explain(explainQuery(query)))
  server.post('/admin/v1/explain', { config }, async ({ body }) => {
    if (body === undefined) throw new GatewayError('invalid_json', 'The body is empty; expected a JSON object.')
    return await parts.explain(explainQueryOfBody(parseBody(body as Buffer)))
  })
  server.get('/admin/v1/calls/recent', { config }, async () => ({ object: 'list', data: parts.recent().map(showCall) }))
}

function showTotals ({ tenant, model, target, calls, inputTokens, outputTokens }: UsageTotals) {
  return { tenant, model, target, calls, input_tokens: inputTokens, output_tokens: outputTokens }
}
