/** Composition root: the one place that knows every folder. A configuration goes in, running parts come out. */
import { join } from 'node:path'
import { readiness } from './admin/readiness.ts'
import type { Backend } from './backends/backend.ts'
import type { KeyState } from './backends/keys.ts'
import { Batches } from './batches/batches.ts'
import { BatchRunner } from './batches/runner.ts'
import { createAnthropicBackend } from './backends/anthropic.ts'
import { createAzureBackend } from './backends/azure.ts'
import { createGeminiBackend } from './backends/gemini.ts'
import { createOpenAIBackend } from './backends/openai.ts'
import { watchDevices, type DeviceStatus } from './backends/pool/devices.ts'
import { createPool, type Pool } from './backends/pool/pool.ts'
import { modelRoutes, patternAllows } from './config/resolve.ts'
import type { BackendConfig, Config, Locality } from './config/schema.ts'
import { resolveSecret } from './config/secrets.ts'
import type { GatewayError } from './errors.ts'
import { createEgress } from './egress/dialer.ts'
import type { Egress } from './egress/egress.ts'
import { Files } from './files/files.ts'
import { limitsOn } from './limits/leases.ts'
import { Pressure } from './listener/pressure.ts'
import { closeGently, closeNow, listen } from './listener/serving.ts'
import type { Services } from './pipeline/chat.ts'
import { tryTargets } from './pipeline/dispatch.ts'
import { scorersOf } from './pipeline/complexity.ts'
import { explain } from './pipeline/explain.ts'
import { FallbackState } from './state/fallback.ts'
import { MemoryState } from './state/memory.ts'
import type { SharedState } from './state/state.ts'
import { Opened } from './opened.ts'
import { openSqlite } from './store/sqlite.ts'
import { createLog, type Log } from './telemetry/log.ts'
import { createMetrics, type Metrics } from './telemetry/metrics.ts'
import { createRecent } from './telemetry/recent.ts'
import { createTurns } from './usage/turns.ts'
import { bootstrap, type FirstKeys } from './tenants/administer.ts'
import { createTenants } from './tenants/directory.ts'
import { loadPepper } from './tenants/pepper.ts'
import { createSeal } from './tenants/seal.ts'
import { createLatency } from './usage/latency.ts'
import { createLedger } from './usage/ledger.ts'
import { VERSION } from './version.ts'

export interface Gateway {
  /** Where the API listens: `http://127.0.0.1:8080`. */
  readonly url: string
  readonly adminUrl: string
  /** Shown once, when the store held no key at all. */
  readonly firstKeys: FirstKeys | null
  readonly pools: readonly Pool[]
  /** Resolves when every pool has a worker for each of its models; rejects naming what could not be loaded. */
  whenReady (signal: AbortSignal): Promise<void>
  /**
   * Takes no new calls, lets running ones finish for `server.drainTimeoutMs` or until `signal` aborts, ends the rest
   * with an error event, writes what has to be written, and leaves no process or socket behind.
   */
  close (signal?: AbortSignal): Promise<void>
}

export interface Surroundings { readonly env: NodeJS.ProcessEnv, readonly revision: string }

/**
 * Builds every part, listens, and starts the workers; calls are taken at once and wait for a worker where they need one.
 * @throws Error naming the address when a port is in use; GatewayError or ConfigError for what else cannot be started
 */
export async function openGateway (config: Config, { env, revision }: Surroundings): Promise<Gateway> {
  const opened = new Opened()
  try {
    return await build(config, env, revision, opened)
  } catch (error) {
    await opened.close()
    throw error
  }
}

async function build (config: Config, env: NodeJS.ProcessEnv, revision: string, opened: Opened): Promise<Gateway> {
  const startedAt = new Date()
  const log = opened.own(createLog({ level: config.log.level }))
  const pools: Pool[] = []
  const backends = new Map<string, Backend>()
  const devices = opened.own(devicesOf(config, env, log))
  const metrics = metricsOf(config, backends, { pools: () => pools.map(pool => pool.status()), devices: () => devices.status() })
  // Workers first: they load while the rest is built.
  const egress = opened.own(egressOf(config))
  const pictures = opened.own(pictureEgressOf(config))
  for (const [index, backendConfig] of config.backends.entries()) {
    const backend = backendOf(backendConfig, `backends[${index}]`, env, { egress, metrics, log, weightOf: weightsOf(config) })
    opened.own({ close: () => backend.close(AbortSignal.abort()) })
    backends.set(backend.name, backend)
    if (isPool(backend)) pools.push(backend)
  }
  const store = opened.own(openSqlite(join(config.dataDir, 'torchgate.db')))
  const pepper = loadPepper(config.dataDir)
  const tenants = createTenants({ tenants: config.tenants, keys: store.keys, pepper })
  const ledger = opened.own(createLedger(store.usage, {
    spool: join(config.dataDir, 'usage-spool.jsonl'),
    onError: error => log.logger.error({ err: error }, 'usage rows wait for the store')
  }))
  const state = opened.own(await stateOf(config, env, metrics, log))
  const limits = opened.own(limitsOn(state, { onError: error => log.logger.error({ err: error }, 'a lease could not be settled') }))
  const recent = createRecent()
  const latency = createLatency()
  const services: Services = {
    config,
    routes: modelRoutes(config),
    allows: (tenant, model) => patternAllows(tenant.models, model),
    backends,
    scorers: scorersOf(config),
    latency,
    limits,
    images: { limits: config.images, dial: (origin, boundary) => pictures.dial(origin, boundary) },
    dispatch: tryTargets(backends)
  }
  const onFailure = (error: GatewayError, requestId: string) => { log.logger.error({ id: requestId, err: error.cause ?? error }, 'internal error') }
  const pressure = opened.own(new Pressure(config.server.shed))
  const {
    createServer, callRoutes, plainRoutes, forwardRoutes, responseRoutes, fileRoutes, batchRoutes, modelsRoute, createAdminServer
  } = await listeners()
  const { server, heartbeats, answers, refusal, drain } = await createServer({
    config,
    tenants,
    pressure: () => pressure.reason,
    onShed: metrics.shed,
    answers: {
      ...config.idempotency,
      store: store.answers,
      onError: error => log.logger.error({ err: error }, 'answers of idempotent calls could not be kept or deleted')
    },
    onFailure
  })
  const records = opened.own(createTurns([metrics.record, metrics.callEnded, ledger.record, log.access, recent.record, latency.record]))
  const calls = { services, heartbeats, answers, recorders: [records.record], onStart: metrics.callStarted }
  await server.register(callRoutes, calls)
  await server.register(plainRoutes, calls)
  await server.register(forwardRoutes, { ...calls, bodyLimitBytes: config.server.bodyLimitBytes, folder: config.dataDir })
  await server.register(responseRoutes, {
    ...calls,
    keeping: {
      ...config.responses,
      store: store.responses,
      mostCharacters: config.server.bodyLimitBytes,
      onError: error => log.logger.error({ err: error }, 'kept responses could not be written or deleted')
    },
    seal: createSeal(pepper, 'compaction'),
    sockets: { tenants, refusal, onFailure, limits: config.server }
  })
  const files = opened.own(new Files({
    ...config.files,
    store: store.files,
    folder: join(config.dataDir, 'files'),
    onError: error => log.logger.error({ err: error }, 'expired files could not be deleted')
  }))
  await server.register(fileRoutes, { files })
  const runner = new BatchRunner({
    config: config.batches,
    services,
    tenants,
    store: store.batches,
    files,
    recorders: [records.record],
    onStart: metrics.callStarted,
    maxLineBytes: config.server.bodyLimitBytes,
    retentionHours: config.files.retentionHours,
    onStatus: facts => log.logger.info(facts, 'batch'),
    onError: error => log.logger.error({ err: error }, 'a step of a batch failed and is tried again')
  })
  opened.own({ close: () => runner.close(AbortSignal.abort()) })
  const batches = new Batches({ store: store.batches, files, perTenant: config.batches.perTenant, onChange: () => { runner.wake() } })
  await server.register(batchRoutes, { batches, retentionHours: config.files.retentionHours })
  await server.register(modelsRoute, { services, models: config.models, createdS: Math.floor(startedAt.getTime() / 1000) })

  let draining = false
  const admin = await createAdminServer({
    tenants,
    metrics,
    ready: () => readiness(draining ? 'draining' : pressure.reason, pools, backends),
    status: () => ({
      version: VERSION,
      revision,
      startedAt: startedAt.toISOString(),
      uptimeS: Math.round((Date.now() - startedAt.getTime()) / 1000),
      draining,
      inFlight: metrics.inFlight(),
      state: config.state.redis === undefined ? 'memory' : metrics.isDegraded() ? 'redis (away, counting here)' : 'redis',
      pools: pools.map(pool => pool.status()),
      devices: devices.status(),
      backends: healthOf(config, backends)
    }),
    usage: store.usage,
    flushUsage: () => ledger.flush(),
    explain: question => explain(services, name => tenants.byName(name), question),
    recent: () => recent.records(),
    failuresPerMinute: config.limits.failuresPerMinute,
    onFailure
  })
  opened.own(admin)
  const adminUrl = await listen(admin, config.admin, 'admin')
  opened.own({ close: () => closeNow(server) })
  const url = await listen(server, config.server, 'server')
  pressure.begin()
  // Last: keys are shown once, and a start that fails shows none.
  const firstKeys = await bootstrap(store.keys, pepper, config.tenants[0]!.name)
  log.logger.info({ url, adminUrl, revision, version: VERSION }, 'listening')

  return {
    url,
    adminUrl,
    firstKeys,
    pools,
    whenReady: async signal => { await Promise.all(pools.map(pool => pool.whenReady(signal))) },
    async close (signal = AbortSignal.timeout(config.server.drainTimeoutMs)) {
      draining = true
      drain()
      const patience = AbortSignal.any([signal, AbortSignal.timeout(config.server.drainTimeoutMs)])
      const cutOff = () => Promise.all([...backends.values()].map(backend => backend.close(AbortSignal.abort())))
      await Promise.all([closeGently(server, patience, cutOff), runner.close(patience)])
      await opened.close()
    }
  }
}

/** Loaded while the workers start: on a small machine this takes as long as their models. */
async function listeners () {
  const [
    { createServer }, { callRoutes }, { plainRoutes }, { forwardRoutes }, { responseRoutes }, { fileRoutes }, { batchRoutes },
    { modelsRoute }, { createAdminServer }
  ] = await Promise.all([
    import('./http/server.ts'), import('./http/calls.ts'), import('./http/plain.ts'), import('./http/forward.ts'), import('./http/responses.ts'),
    import('./http/files.ts'), import('./http/batches.ts'), import('./http/models.ts'), import('./admin/server.ts')
  ])
  return { createServer, callRoutes, plainRoutes, forwardRoutes, responseRoutes, fileRoutes, batchRoutes, modelsRoute, createAdminServer }
}

function isPool (backend: Backend): backend is Pool {
  return 'status' in backend
}

interface BackendParts { readonly egress: Egress, readonly metrics: Metrics, readonly log: Log, readonly weightOf: (tenant: string) => number }

function weightsOf ({ tenants }: Config): (tenant: string) => number {
  const weights = new Map(tenants.map(({ name, weight = 1 }) => [name, weight]))
  return tenant => weights.get(tenant) ?? 1
}

function backendOf (config: BackendConfig, path: string, env: NodeJS.ProcessEnv, parts: BackendParts): Backend {
  const { egress, metrics, log, weightOf } = parts
  if (config.kind === 'pool') {
    return createPool(config, { observer: metrics.observer, weightOf, log: ({ level, msg, ...facts }) => { log.logger[level](facts, msg) } })
  }
  const apiKey = config.apiKey === undefined ? null : resolveSecret(config.apiKey, { path: `${path}.apiKey`, env })
  const options = {
    dial: (origin: string, boundary: Locality) => egress.dial(origin, boundary),
    apiKey,
    ...config.apiKeys !== undefined && {
      apiKeys: config.apiKeys.map(({ name, key, weight }, at) => ({ name, weight, secret: resolveSecret(key, { path: `${path}.apiKeys[${at}].key`, env }) })),
      resting: ({ name: key, reason, retryAfterS }: KeyState) => { log.logger.warn({ backend: config.name, key, reason, retryAfterS }, 'A key rests') }
    }
  }
  if (config.kind === 'anthropic') return createAnthropicBackend(config, options)
  if (config.kind === 'gemini') return createGeminiBackend(config, options)
  return config.kind === 'azure' ? createAzureBackend(config, options) : createOpenAIBackend(config, options)
}

function egressOf (config: Config): Egress {
  const destinations = config.backends.flatMap(backend => backend.kind === 'pool'
    ? []
    : [{ origin: new URL(backend.baseUrl).origin, locality: backend.locality, connections: backend.connections, connectMs: backend.timeouts.connectMs }])
  return createEgress({ destinations, domainNetworks: config.egress.domainNetworks })
}

/** Hosts of images are no backends: what may go to one of these never goes to one of those. */
function pictureEgressOf ({ images: { hosts, timeoutMs }, egress: { domainNetworks } }: Config): Egress {
  const destinations = hosts.map(host => ({ origin: `https://${host}`, locality: 'cloud' as const, isPublic: true, connections: PICTURE_CONNECTIONS, connectMs: timeoutMs }))
  return createEgress({ destinations, domainNetworks })
}

/** To one host of images. */
const PICTURE_CONNECTIONS = 8

async function stateOf (config: Config, env: NodeJS.ProcessEnv, metrics: Metrics, log: Log): Promise<SharedState> {
  const { redis } = config.state
  if (redis === undefined) return new MemoryState()
  const { RedisState } = await import('./state/redis.ts')
  const primary = new RedisState({
    url: resolveSecret(redis.url, { path: 'state.redis.url', env }),
    timeoutMs: redis.timeoutMs,
    onChange: (up, why) => {
      metrics.stateChanged(up)
      log.logger[up ? 'info' : 'warn']({ up, why }, up ? 'Redis answers' : 'Redis is away')
    }
  })
  // Otherwise the calls of the first moment would be counted here, though Redis is there.
  await primary.opened
  return new FallbackState(primary, new MemoryState(), { onLoss: config.limits.onStateLoss })
}

/** Without local models the GPUs of this host are none of the gateway's business. */
function devicesOf ({ backends, devices }: Config, env: NodeJS.ProcessEnv, log: Log) {
  if (backends.every(({ kind }) => kind !== 'pool')) return { status: (): DeviceStatus => ({ gpus: [], problem: null }), close: () => {} }
  return watchDevices({ ...devices, env, log: ({ level, msg, ...facts }) => { log.logger[level](facts, msg) } })
}

interface Watched { readonly pools: () => ReturnType<Pool['status']>[], readonly devices: () => DeviceStatus }

/** @param backends filled in after this; read at each scrape */
function metricsOf (config: Config, backends: ReadonlyMap<string, Backend>, { pools, devices }: Watched): Metrics {
  const localities = new Map(config.backends.map(backend => [backend.name, backend.kind === 'pool' ? 'local' as const : backend.locality]))
  const targets = new Map(config.models.flatMap(({ targets: listed }) => listed.map(target => [`${target.backend}/${target.model}`, target] as const)))
  return createMetrics({
    tenants: config.tenants.map(({ name }) => name),
    models: config.models.map(({ name }) => name),
    targets: [...targets].map(([target, { backend, model }]) => ({
      target,
      locality: localities.get(backend)!,
      up: () => backends.get(backend)?.availability(model).state !== 'down'
    })),
    pools,
    gpus: () => devices().gpus,
    version: VERSION
  })
}

function healthOf (config: Config, backends: ReadonlyMap<string, Backend>) {
  return config.backends.map(({ name, kind }) => {
    const backend = backends.get(name)!
    const { locality } = backend
    const models = new Set(config.models.flatMap(({ targets }) => targets.filter(target => target.backend === name).map(({ model }) => model)))
    return { name, kind, locality, models: [...models].map(model => ({ model, ...backend.availability(model), ...keysOf(backend, model) })) }
  })
}

function keysOf (backend: Backend, model: string) {
  const keys = backend.keys?.(model) ?? []
  return keys.length > 0 && { keys }
}
