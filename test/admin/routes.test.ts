import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import Fastify, { type RouteOptions } from 'fastify'
import { test, type Test } from 'tap'
import { adminRoutes, type AdminParts } from '../../src/admin/routes.ts'
import { createAdminServer } from '../../src/admin/server.ts'
import type { TenantConfig } from '../../src/config/schema.ts'
import { GatewayError } from '../../src/errors.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import type { Scope, UsageRow } from '../../src/store/store.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { createRecent } from '../../src/telemetry/recent.ts'
import { administerKeys } from '../../src/tenants/administer.ts'
import { createTenants } from '../../src/tenants/directory.ts'
import { recordOf } from '../telemetry/record.ts'

const MARKER = 'MARKER-51c0'
const TENANTS: TenantConfig[] = [{ name: 'acme', class: 'internal', boundary: 'cloud', models: ['*'], limits: {} }]

/** A listening admin server on a real store with real keys; `changes` replace parts. */
async function listening (t: Test, changes: Partial<AdminParts> = {}) {
  const { parts, adminKey, inferenceKey, store, failures } = await partsOf(t)
  const server = await createAdminServer({ ...parts, ...changes })
  t.teardown(() => server.close())
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  const call = async (path: string, { key = adminKey as string | null, ...init }: RequestInit & { key?: string | null } = {}) => {
    const headers = { ...(key === null ? {} : { authorization: `Bearer ${key}` }), ...init.headers as Record<string, string> }
    const response = await fetch(`${url}${path}`, { ...init, headers })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) as Record<string, unknown> }
  }
  const post = (path: string, body: unknown) => call(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: typeof body === 'string' ? body : JSON.stringify(body) })
  return { call, post, store, failures, inferenceKey, adminKey, server }
}

async function partsOf (t: Test) {
  const store = openSqlite(join(t.testdir(), 'store.db'))
  t.teardown(() => store.close())
  const pepper = randomBytes(32)
  const keys = administerKeys({ tenants: TENANTS, keys: store.keys, pepper })
  const keyFor = async (scope: Scope) => (await keys.create({ tenant: 'acme', name: scope, scopes: [scope], expiresAt: null })).key
  const failures: GatewayError[] = []
  const recent = createRecent()
  recent.record(Object.assign(recordOf(), { prompt: MARKER }))
  const parts: AdminParts = {
    tenants: createTenants({ tenants: TENANTS, keys: store.keys, pepper }),
    metrics: createMetrics({ tenants: ['acme'], models: ['chat'], targets: [], pools: () => [], version: '1.2.3' }),
    ready: () => ({ ready: true, checks: { gateway: 'ok' } }),
    status: () => ({ version: '1.2.3', inFlight: 0 }),
    usage: store.usage,
    flushUsage: async () => undefined,
    explain: query => ({ asked: query }),
    recent: recent.records,
    failuresPerMinute: 1000,
    onFailure: error => { failures.push(error) }
  }
  return { parts, store, failures, adminKey: await keyFor('admin'), inferenceKey: await keyFor('inference') }
}

/** Every route as it registers. */
async function routesOf (t: Test): Promise<{ method: string, url: string, permission: string | undefined }[]> {
  const routes: RouteOptions[] = []
  const server = Fastify()
  server.addHook('onRoute', route => { routes.push(route) })
  await adminRoutes(server, (await partsOf(t)).parts)
  return routes.flatMap(({ method, url, config }) => [method].flat().map(each => ({ method: each, url, permission: config?.permission })))
}

test('every route declares who may use it, and only health and metrics are public', async t => {
  const routes = await routesOf(t)
  t.ok(routes.length >= 9)
  t.same(routes.filter(({ permission }) => permission !== 'public' && permission !== 'admin'), [])
  const open = [...new Set(routes.filter(({ permission }) => permission === 'public').map(({ url }) => url))]
  t.same(open, ['/livez', '/readyz', '/metrics'])
  t.same(routes.filter(({ url, permission }) => url.startsWith('/admin/') !== (permission === 'admin')), [])
})

test('a route without a permission does not register', async t => {
  const server = Fastify()
  await adminRoutes(server, (await partsOf(t)).parts)
  t.throws(() => server.get('/admin/v1/preview', async () => 'x'), { message: 'GET /admin/v1/preview declares no permission; expected public or admin.' })
  t.throws(() => server.post('/admin/v1/reload', { config: {} }, async () => 'x'), TypeError)
})

test('a key for inference gets 403 on every admin route, no key and a wrong key 401', async t => {
  const { call, inferenceKey } = await listening(t)
  const routes = (await routesOf(t)).filter(({ permission, method }) => permission === 'admin' && method !== 'HEAD')
  t.ok(routes.length >= 5)
  for (const { method, url } of routes) {
    const refused = await call(url, { method, key: inferenceKey })
    t.equal(refused.status, 403, `${method} ${url}`)
    t.match(refused.json(), { error: { type: 'permission_error', code: 'permission_denied', param: null } })
    for (const key of [null, 'tg_live_nonsense', `${inferenceKey}x`]) {
      const unknown = await call(url, { method, key })
      t.equal(unknown.status, 401, `${method} ${url}`)
      t.equal(unknown.headers.get('www-authenticate'), 'Bearer')
      t.notOk(key !== null && unknown.text.includes(key), 'the key is not repeated')
    }
  }
})

test('a key counts only as a bearer token', async t => {
  const { call, adminKey } = await listening(t)
  const status = async (authorization: string) => (await call('/admin/v1/status', { key: null, headers: { authorization } })).status
  t.equal(await status(`bearer ${adminKey}`), 200, 'the scheme has no case')
  t.equal(await status(`Basic ${adminKey}`), 401)
  t.equal((await call(`/admin/v1/status?key=${adminKey}`, { key: null })).status, 401)
})

test('health answers anyone, and tells neither version nor configuration', async t => {
  let ready = true
  const { call } = await listening(t, { ready: () => ({ ready, checks: { gateway: ready ? 'ok' : 'draining' } }) })
  const live = await call('/livez', { key: null })
  t.equal(live.status, 200)
  t.same(live.json(), { status: 'ok' })
  const good = await call('/readyz', { key: null })
  t.equal(good.status, 200)
  t.same(good.json(), { status: 'ready', checks: { gateway: 'ok' } })
  t.equal(good.headers.get('cache-control'), 'no-store')
  ready = false
  const bad = await call('/readyz', { key: null })
  t.equal(bad.status, 503)
  t.same(bad.json(), { status: 'not_ready', checks: { gateway: 'draining' } })
})

test('metrics are Prometheus text', async t => {
  const { call } = await listening(t)
  const { status, headers, text } = await call('/metrics', { key: null })
  t.equal(status, 200)
  t.match(headers.get('content-type'), /^text\/plain; version=0\.0\.4/)
  t.match(text, '\ntorchgate_requests_in_flight 0\n')
})

test('status is what the gateway says of itself', async t => {
  const { call } = await listening(t)
  t.same((await call('/admin/v1/status')).json(), { version: '1.2.3', inFlight: 0 })
})

test('usage counts calls that were still waiting to be written', async t => {
  const { store } = await partsOf(t)
  const { call } = await listening(t, { usage: store.usage, flushUsage: () => store.usage.append([rowOf('a', '2026-11-02T00:00:00Z'), rowOf('b', '2026-11-03T00:00:00Z')]) })
  const { status, json } = await call('/admin/v1/usage?from=2026-11-01&until=2026-11-03&tenant=acme')
  t.equal(status, 200)
  t.same(json(), {
    object: 'usage',
    from: '2026-11-01T00:00:00.000Z',
    until: '2026-11-03T00:00:00.000Z',
    tenant: 'acme',
    totals: [{ tenant: 'acme', model: 'chat', target: 'gpu/qwen', calls: 1, input_tokens: 10, output_tokens: 5 }]
  })
  t.same((await call('/admin/v1/usage?from=2026-11-01&until=2026-12-01&tenant=globex')).json()['totals'], [])
  t.match((await call('/admin/v1/usage?from=2026-11-01T00:00:00Z&until=2026-12-01')).json(), { tenant: null, totals: [{ calls: 2 }] })
})

test('usage that could not be written is an error, not a smaller sum', async t => {
  const cause = new Error(`disk full ${MARKER}`)
  const { call, failures } = await listening(t, { flushUsage: async () => { throw cause } })
  const { status, text, headers } = await call('/admin/v1/usage')
  t.equal(status, 500)
  t.notMatch(text, MARKER)
  t.equal(failures[0]?.cause, cause, 'the log gets the cause')
  t.match(headers.get('x-request-id'), /^req_[0-9a-f]{24}$/)
})

test('a period that means nothing is refused by name', async t => {
  const { call } = await listening(t)
  const refused: [string, string, string][] = [
    ['from=yesterday', 'invalid_value', 'from'],
    ['from=2026-02-30', 'invalid_value', 'from'],
    ['from=2026-13-01', 'invalid_value', 'from'],
    ['until=2026-11-01T08:00', 'invalid_value', 'until'],
    ['until=1793520000000', 'invalid_value', 'until'],
    ['from=2026-11-02&until=2026-11-02', 'invalid_value', 'from'],
    ['from=2026-11-01&from=2026-11-02', 'invalid_type', 'from'],
    ['form=2026-11-01', 'unsupported_parameter', 'form'],
    ['tenant=', 'invalid_value', 'tenant'],
    [`tenant=${'x'.repeat(300)}`, 'invalid_value', 'tenant']
  ]
  for (const [query, code, param] of refused) {
    const { status, json } = await call(`/admin/v1/usage?${query}`)
    t.equal(status, 400, query)
    t.match(json(), { error: { type: 'invalid_request_error', code, param } }, query)
  }
  t.equal((await call('/admin/v1/usage')).status, 200, 'the last 30 days by default')
})

test('explain takes a question in the address or a whole request in the body', async t => {
  const { call, post } = await listening(t)
  t.same((await call('/admin/v1/explain?tenant=acme&model=chat&class=restricted')).json(), { asked: { tenant: 'acme', model: 'chat', class: 'restricted' } })
  const request = { model: 'chat', messages: [{ role: 'user', content: 'hi' }] }
  t.same((await post('/admin/v1/explain', { tenant: 'acme', request })).json(), { asked: { tenant: 'acme', model: 'chat', request } })
})

test('a question that cannot be asked is refused by name, without its text', async t => {
  const { call, post } = await listening(t)
  const queries: [string, string, string][] = [
    ['model=chat', 'missing_required_parameter', 'tenant'],
    ['tenant=acme', 'missing_required_parameter', 'model'],
    ['tenant=acme&model=chat&class=secret', 'invalid_value', 'class'],
    ['tenant=acme&model=chat&klass=public', 'unsupported_parameter', 'klass']
  ]
  for (const [query, code, param] of queries) {
    t.match((await call(`/admin/v1/explain?${query}`)).json(), { error: { code, param } }, query)
  }
  const bodies: [unknown, string, string | null][] = [
    ['', 'invalid_json', null],
    [`{"tenant": ${MARKER}`, 'invalid_json', null],
    [`[["${MARKER}"]]`, 'invalid_json', null],
    ['['.repeat(100_000), 'json_too_deep', null],
    [{ tenant: 'acme', request: MARKER }, 'invalid_value', 'request'],
    [{ tenant: 'acme', request: { messages: [MARKER] } }, 'missing_required_parameter', 'request.model'],
    [{ tenant: 'acme', request: { model: [MARKER] } }, 'invalid_type', 'request.model'],
    [{ tenant: 'acme', model: 'chat', request: { model: 'chat' } }, 'unsupported_parameter', 'model']
  ]
  for (const [body, code, param] of bodies) {
    const { status, json, text } = await post('/admin/v1/explain', body)
    t.equal(status, 400)
    t.match(json(), { error: { code, param } })
    t.notMatch(text, MARKER)
  }
  const { status } = await post('/admin/v1/explain', { tenant: 'acme', request: { model: 'chat', pad: 'x'.repeat(1_100_000) } })
  t.equal(status, 413)
})

test('what explain throws reaches the operator as it is', async t => {
  const { call, failures } = await listening(t, {
    explain: ({ model }) => { throw new GatewayError('model_not_found', `No ${model}.`, { param: 'model' }) }
  })
  const { status, json } = await call('/admin/v1/explain?tenant=acme&model=nope')
  t.equal(status, 404)
  t.match(json(), { error: { code: 'model_not_found', message: 'No nope.' } })
  t.same(failures, [])
})

test('recent calls show what is known of them and nothing that is merely there', async t => {
  const { call } = await listening(t)
  const { json, text } = await call('/admin/v1/calls/recent')
  t.match(json(), { object: 'list', data: [{ id: 'req_1', tenant: 'acme', outcome: 'ok', attempts: [{ target: 'gpu/qwen', error: null }], usage: { input_tokens: 100 } }] })
  t.notMatch(text, MARKER)
})

test('unknown paths and methods have errors of the same shape', async t => {
  const { call } = await listening(t)
  const nowhere = await call('/v1/chat/completions', { key: null })
  t.equal(nowhere.status, 404)
  t.match(nowhere.json(), { error: { code: 'unknown_route' } })
  const wrong = await call('/admin/v1/status', { method: 'DELETE' })
  t.equal(wrong.status, 405)
  t.equal(wrong.headers.get('allow'), 'GET, HEAD')
  t.match(wrong.json(), { error: { code: 'method_not_allowed' } })
  t.equal((await call('/admin/v1/explain', { method: 'PUT' })).headers.get('allow'), 'GET, HEAD, POST')
  t.equal((await call('/%E0%A4%A', { key: null })).status, 404)
  const text = await call('/admin/v1/explain', { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'x' })
  t.equal(text.status, 415)
})

function rowOf (callId: string, startedAt: string): UsageRow {
  return {
    callId,
    startedAt: new Date(startedAt),
    tenant: 'acme',
    keyId: 'k',
    model: 'chat',
    target: 'gpu/qwen',
    locality: 'local',
    dataClass: 'internal',
    outcome: 'ok',
    errorCode: null,
    attempts: 1,
    inputTokens: 10,
    outputTokens: 5,
    cachedInputTokens: 0,
    reasoningTokens: 0,
    estimated: false,
    firstTokenMs: 1,
    durationMs: 2
  }
}

test('a flood of strangers is stopped by its address; operators and probes go on', async t => {
  const { call, inferenceKey } = await listening(t, { failuresPerMinute: 10 })
  const statuses: number[] = []
  for (const [path, key] of Array.from({ length: 8 }, () => [['/admin/v1/status', null], ['/nowhere', null], ['/admin/v1/status', inferenceKey]] as const).flat()) {
    statuses.push((await call(path, { key })).status)
  }
  t.same(new Set(statuses.slice(0, 10)), new Set([401, 404, 403]))
  t.same(new Set(statuses.slice(10)), new Set([429]))
  const refused = await call('/admin/v1/status', { key: null })
  t.match(refused.text, '"code":"too_many_failures"')
  t.match(refused.headers.get('retry-after'), /^\d+$/)
  t.equal((await call('/admin/v1/status')).status, 200)
  t.equal((await call('/admin/v1/nowhere')).status, 429, 'before a route is known nobody has shown a key')
  t.equal((await call('/livez', { key: null })).status, 200)
  t.equal((await call('/metrics', { key: null })).status, 200)
})
