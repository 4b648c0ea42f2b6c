/** Counts calls, from their records. The only file that imports prom-client. */
import { Registry, collectDefaultMetrics, type Metric } from 'prom-client'
import type { Device } from '../backends/pool/devices.ts'
import type { PoolObserver, PoolStatus } from '../backends/pool/status.ts'
import type { Locality } from '../config/schema.ts'
import { ERRORS, type ErrorCode } from '../errors.ts'
import type { PressureReason } from '../listener/pressure.ts'
import type { Attempt, CallRecord, Recorder } from '../usage/record.ts'
import { MAX_NAMES, METRICS, OTHER, UNKNOWN, type LabelsOf, type MetricName, type MetricRow } from './catalogue.ts'
import { LabelSets } from './sets.ts'
import { Distribution, Value } from './values.ts'

export { METRICS } from './catalogue.ts'

/** What label values may be: names from the configuration, in its order. */
export interface MetricFacts {
  readonly tenants: readonly string[]
  /** Public names; a wildcard as it is configured. */
  readonly models: readonly string[]
  readonly targets: readonly TargetFacts[]
  /** Read at every scrape. */
  readonly pools: () => readonly PoolStatus[]
  /** Read at every scrape; left out where none are watched. */
  readonly gpus?: () => readonly Device[]
  readonly version: string
}

export interface TargetFacts {
  /** `backend/model` as configured. */
  readonly target: string
  readonly locality: Locality
  /** Can it take calls now? Read at every scrape; without it the target has no torchgate_target_up. */
  readonly up?: () => boolean
}

/** Counters live here, in the gateway, so that no worker's death lets one fall. Build once per process. */
export interface Metrics {
  readonly record: Recorder
  readonly observer: PoolObserver
  callStarted (): void
  callEnded (): void
  /** A request was turned away by `server.shed`. */
  shed (reason: PressureReason): void
  /** The shared state went away or came back. */
  stateChanged (up: boolean): void
  isDegraded (): boolean
  inFlight (): number
  /** Prometheus text format 0.0.4. */
  text (): Promise<string>
  readonly contentType: string
}

export function createMetrics (facts: MetricFacts): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const families = register(registry)
  let inFlight = 0
  let degraded = false
  families.torchgate_build_info.at({ version: facts.version, node: process.versions.node }).set(1)
  return {
    record: recorderOn(families, facts),
    observer: observerOn(families),
    callStarted: () => { inFlight++ },
    callEnded: () => { inFlight-- },
    shed: reason => { families.torchgate_shed_requests_total.at({ reason }).add(1) },
    stateChanged: up => { degraded = !up },
    isDegraded: () => degraded,
    inFlight: () => inFlight,
    async text () {
      families.torchgate_requests_in_flight.at({}).set(inFlight)
      families.torchgate_store_degraded.at({ store: 'state' }).set(Number(degraded))
      readTargets(families, facts.targets)
      readPools(families, facts.pools())
      readGpus(families, facts.gpus?.() ?? [])
      return await registry.metrics()
    },
    contentType: registry.contentType
  }
}

type Families = { readonly [Name in MetricName]: Family<Name> }

interface Family<Name extends MetricName> {
  at (labels: LabelsOf<Name>): (typeof METRICS)[Name]['type'] extends 'histogram' ? Distribution : Value
  /** Forgets every series; for gauges that are read anew at each scrape. */
  clear (): void
}

function register (registry: Registry): Families {
  const folds = (label: string): void => families.torchgate_metrics_label_overflow_total.at({ label }).add(1)
  const families = Object.fromEntries(Object.entries(METRICS).map(([name, row]) => [name, family(name, row, registry, folds)])) as unknown as Families
  return families
}

/**
 * The numbers are kept here and handed to the client at each scrape: its own inc() and observe() look their labels up
 * again every time, which made one call cost 9 us or more instead of 4.
 */
function family (name: string, row: MetricRow, registry: Registry, folds: (label: string) => void) {
  const { buckets } = row
  const create = (): Value | Distribution => buckets === undefined ? new Value() : new Distribution(buckets)
  const sets = new LabelSets(row, create, folds)
  const metric = { name, help: row.help, type: row.type, aggregator: 'sum' as const }
  const source = { ...metric, get: async () => ({ ...metric, values: [...sets.entries()].flatMap(({ labels, child }) => child.samples(name, labels)) }) }
  registry.registerMetric(source as unknown as Metric)
  return sets
}

type Fold = (name: string | null) => string

/** The first MAX_NAMES names as they are; later ones `_other`, foreign ones `_unknown`, both counted. Null is no name at all. */
function foldTo (names: readonly string[], folded: () => void): Fold {
  const shown = new Set(names.slice(0, MAX_NAMES))
  const known = new Set(names)
  return name => {
    if (name === null) return UNKNOWN
    if (shown.has(name)) return name
    folded()
    return known.has(name) ? OTHER : UNKNOWN
  }
}

interface Names { readonly tenant: Fold, readonly model: Fold, readonly target: Fold }

function recorderOn (families: Families, facts: MetricFacts): Recorder {
  const folded = (label: 'tenant' | 'model' | 'target') => () => families.torchgate_metrics_label_overflow_total.at({ label }).add(1)
  const names: Names = {
    tenant: foldTo(facts.tenants, folded('tenant')),
    model: foldTo(facts.models, folded('model')),
    target: foldTo(facts.targets.map(({ target }) => target), folded('target'))
  }
  return record => {
    const last = record.attempts.at(-1)
    const call: Labelled = {
      tenant: names.tenant(record.tenant),
      model: names.model(record.model),
      target: names.target(last?.target ?? null),
      tier: last?.locality ?? 'none'
    }
    countCall(families, record, call)
    countTokens(families, record, call)
    countAttempts(families, record, names)
    for (const { target, reason } of record.rejected) families.torchgate_routing_exclusions_total.at({ target: names.target(target), reason }).add(1)
  }
}

interface Labelled { readonly tenant: string, readonly model: string, readonly target: string, readonly tier: string }

function countCall (families: Families, record: CallRecord, { tenant, model, target, tier }: Labelled): void {
  const { endpoint, firstTokenMs, durationMs, usage, limit } = record
  families.torchgate_requests_total.at({ tenant, model, tier, endpoint, outcome: record.outcome ?? 'internal_error' }).add(1)
  if (limit !== null) families.torchgate_rate_limit_rejections_total.at({ tenant, scope: limit.scope, resource: limit.resource }).add(1)
  if (durationMs === null) return
  families.torchgate_request_duration_seconds.at({ model, tier, endpoint }).add(durationMs / 1000)
  families.torchgate_gateway_overhead_seconds.at({ endpoint }).add((durationMs - (record.receivedMs ?? 0) - attemptMs(record.attempts, durationMs)) / 1000)
  if (!record.stream || firstTokenMs === null) return
  families.torchgate_time_to_first_token_seconds.at({ model, target }).add(firstTokenMs / 1000)
  if (record.outcome === 'ok' && usage !== null && usage.output > 1) {
    families.torchgate_time_per_output_token_seconds.at({ model, target }).add((durationMs - firstTokenMs) / (usage.output - 1) / 1000)
  }
}

/** Attempts follow one another, so their times add up. */
function attemptMs (attempts: readonly Attempt[], durationMs: number): number {
  let sum = 0
  for (const { startMs, endMs } of attempts) sum += (endMs ?? durationMs) - startMs
  return sum
}

function countTokens (families: Families, { usage, usageEstimated }: CallRecord, labels: Labelled): void {
  if (usage === null) return
  const { model, target } = labels
  families.torchgate_input_tokens_total.at(labels).add(usage.input)
  families.torchgate_output_tokens_total.at(labels).add(usage.output)
  if (usage.cachedInput > 0) families.torchgate_cache_read_input_tokens_total.at(labels).add(usage.cachedInput)
  if (usage.reasoning > 0) families.torchgate_reasoning_output_tokens_total.at(labels).add(usage.reasoning)
  families.torchgate_request_input_tokens.at({ model }).add(usage.input)
  families.torchgate_request_output_tokens.at({ model }).add(usage.output)
  if (usageEstimated) families.torchgate_usage_estimated_requests_total.at({ target }).add(1)
}

function countAttempts (families: Families, { attempts, durationMs, stream }: CallRecord, names: Names): void {
  let previous: { name: string, target: string, error: ErrorCode | null } | null = null
  for (const [at, { target: name, startMs, endMs, firstTokenMs, error }] of attempts.entries()) {
    const target = names.target(name)
    const outcome = error === null ? 'ok' : ERRORS[error].outcome
    families.torchgate_upstream_request_duration_seconds.at({ target, outcome }).add(((endMs ?? durationMs ?? startMs) - startMs) / 1000)
    // Another worker of the same target is no hop.
    if (previous !== null && previous.name !== name) {
      const reason = previous.error === null ? OTHER : ERRORS[previous.error].reason ?? OTHER
      families.torchgate_fallbacks_total.at({ from: previous.target, to: target, reason, outcome }).add(1)
    }
    if (stream && firstTokenMs !== null && error !== null && outcome !== 'cancelled') {
      families.torchgate_midstream_failures_total.at({ target, action: at < attempts.length - 1 ? 'continued' : 'surfaced' }).add(1)
    }
    previous = { name, target, error }
  }
}

function observerOn (families: Families): PoolObserver {
  return {
    workerLost: ({ pool, model, worker, reason }) => families.torchgate_worker_restarts_total.at({ pool, worker, model, reason }).add(1),
    workerReady: ({ model, loadMs }) => families.torchgate_model_load_duration_seconds.at({ model }).add(loadMs / 1000),
    queueLeft: ({ pool, waitedMs }) => families.torchgate_queue_duration_seconds.at({ pool }).add(waitedMs / 1000),
    admissionRejected: ({ pool, reason }) => families.torchgate_admission_rejections_total.at({ pool, reason }).add(1),
    modelUnloaded: ({ pool, model, reason }) => families.torchgate_model_unloads_total.at({ pool, model, reason }).add(1)
  }
}

function readTargets (families: Families, targets: readonly TargetFacts[]): void {
  families.torchgate_target_up.clear()
  for (const { target, up } of targets.slice(0, MAX_NAMES)) {
    if (up !== undefined) families.torchgate_target_up.at({ target }).set(Number(up()))
  }
}

/** Workers come and go with the configuration, so their gauges are read anew. Adding lets several share `_other`. */
function readPools (families: Families, pools: readonly PoolStatus[]): void {
  const { torchgate_worker_up: up, torchgate_worker_slots: slots, torchgate_queue_depth: queued } = families
  const { torchgate_model_info: info, torchgate_model_load_ratio: load } = families
  for (const gauge of [up, slots, queued, info, load]) gauge.clear()
  for (const { pool, models } of pools) {
    for (const { model, queued: waiting, loadFraction, workers } of models) {
      if (loadFraction !== null) load.at({ pool, model }).set(loadFraction)
      queued.at({ pool, priority: 'interactive' }).add(waiting)
      for (const { worker, state, slots: all, busySlots } of workers) {
        const ready = state === 'ready'
        up.at({ pool, worker, model }).add(Number(ready))
        slots.at({ pool, worker, model, state: 'busy' }).add(ready ? busySlots : 0)
        slots.at({ pool, worker, model, state: 'idle' }).add(ready ? all - busySlots : 0)
        if (ready) info.at({ pool, worker, model }).add(1)
      }
    }
  }
}

/** Gauges of a GPU that is not told of any more vanish; what it has used stays. */
function readGpus (families: Families, gpus: readonly Device[]): void {
  const { torchgate_gpu_memory_used_bytes: used, torchgate_gpu_memory_total_bytes: total, torchgate_gpu_utilization_ratio: utilization } = families
  const { torchgate_gpu_power_watts: power, torchgate_gpu_temperature_celsius: temperature, torchgate_gpu_info: info } = families
  for (const gauge of [used, total, utilization, power, temperature, info]) gauge.clear()
  for (const device of gpus) {
    const gpu = String(device.gpu)
    const told = [
      [used, device.memoryUsedBytes],
      [total, device.memoryTotalBytes],
      [utilization, device.utilization],
      [power, device.powerWatts],
      [temperature, device.temperatureCelsius]
    ] as const
    for (const [gauge, value] of told) if (value !== null) gauge.at({ gpu }).set(value)
    info.at({ gpu, name: device.name, uuid: device.uuid, driver: device.driver }).set(1)
    if (device.powerWatts !== null) families.torchgate_gpu_energy_joules_total.at({ gpu }).set(device.energyJoules)
  }
}
