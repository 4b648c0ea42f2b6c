/**
 * Every metric of the gateway, in one table. docs/metrics.md is printed from it and metrics.ts registers from it.
 * Names and bounds follow the Prometheus naming rules: base units, `_total` on counters, `_info` for constant 1.
 *
 * labels    label -> its values, or `names` where they are names of this installation: tenants, models, targets, pools, workers, GPUs
 * sets      combinations of configured names that get series of their own; one more is counted under `_other`
 * buckets   upper bounds of a histogram, in the unit; OpenTelemetry's advice, longer where local models are slower
 * otel      the OpenTelemetry name of the same thing (GenAI semantic conventions 1.41, in development), where there is one
 */
import { ERRORS, type Outcome } from '../errors.ts'
import { LOCALITIES } from '../config/schema.ts'
import { PRESSURES } from '../listener/pressure.ts'
import { REJECTION_REASONS } from '../policy/decide.ts'
import { ENDPOINTS } from '../usage/record.ts'

/** A name that is not in the configuration, or none at all: a call that was refused before it had a model. */
export const UNKNOWN = '_unknown'
/** What many values together are called once a bound is reached. */
export const OTHER = '_other'
/** Configured tenants, models and targets shown by name, in the order of the configuration. */
export const MAX_NAMES = 200
/** Value of `label` in torchgate_metrics_label_overflow_total where a metric had too many combinations. */
export const COMBINATIONS = '_combinations'

const rows = Object.values(ERRORS)
const OUTCOMES: readonly Outcome[] = ['ok', ...new Set(rows.map(row => row.outcome))]
const FALLBACK_REASONS: readonly string[] = [...new Set(rows.flatMap(row => row.reason === null ? [] : [row.reason]))]
/** Where the answering target is; `none` when no target was tried. */
const TIERS = [...LOCALITIES, 'none'] as const

/** Labels of the table below whose values can be folded. */
const FOLDED_LABELS = ['tenant', 'model', 'target', 'tier', 'endpoint', 'outcome', 'reason', 'action', 'scope', 'resource', 'state', 'priority', 'store'] as const

const DURATION = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68]
const FIRST_TOKEN = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]
const PER_TOKEN = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]
const OVERHEAD = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1]
const TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576]
const LOAD = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600]

export interface MetricRow {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly unit: 'seconds' | 'tokens' | 'bytes' | 'watts' | 'joules' | 'celsius' | '1'
  readonly labels: Readonly<Record<string, readonly string[] | 'names'>>
  readonly sets: number
  readonly buckets?: readonly number[]
  readonly help: string
  readonly otel: string | null
}

const names = 'names'
const tokenLabels = { tenant: names, model: names, target: names, tier: TIERS } as const

export const METRICS = {
  // Usage
  torchgate_requests_total: { type: 'counter', unit: '1', labels: { tenant: names, model: names, tier: TIERS, endpoint: ENDPOINTS, outcome: OUTCOMES }, sets: 400, help: 'Calls ended, by their final outcome.', otel: null },
  torchgate_input_tokens_total: { type: 'counter', unit: 'tokens', labels: tokenLabels, sets: 320, help: 'Input tokens, cached ones included.', otel: 'gen_ai.client.token.usage' },
  torchgate_output_tokens_total: { type: 'counter', unit: 'tokens', labels: tokenLabels, sets: 320, help: 'Output tokens, reasoning included.', otel: 'gen_ai.client.token.usage' },
  torchgate_cache_read_input_tokens_total: { type: 'counter', unit: 'tokens', labels: tokenLabels, sets: 250, help: 'The part of the input tokens that came from a prompt cache.', otel: null },
  torchgate_reasoning_output_tokens_total: { type: 'counter', unit: 'tokens', labels: tokenLabels, sets: 250, help: 'The part of the output tokens that was reasoning.', otel: null },
  torchgate_usage_estimated_requests_total: { type: 'counter', unit: '1', labels: { target: names }, sets: 100, help: 'Calls whose usage the gateway counted because the backend gave none.', otel: null },
  torchgate_request_input_tokens: { type: 'histogram', unit: 'tokens', labels: { model: names }, sets: 32, buckets: TOKENS, help: 'Input tokens per call.', otel: null },
  torchgate_request_output_tokens: { type: 'histogram', unit: 'tokens', labels: { model: names }, sets: 32, buckets: TOKENS, help: 'Output tokens per call.', otel: null },
  // Time
  torchgate_request_duration_seconds: { type: 'histogram', unit: 'seconds', labels: { model: names, tier: TIERS, endpoint: ENDPOINTS }, sets: 16, buckets: DURATION, help: 'A call as its caller sees it, to the last byte.', otel: 'gen_ai.server.request.duration' },
  torchgate_time_to_first_token_seconds: { type: 'histogram', unit: 'seconds', labels: { model: names, target: names }, sets: 32, buckets: FIRST_TOKEN, help: 'From the call to its first content, of streamed calls.', otel: 'gen_ai.server.time_to_first_token' },
  torchgate_time_per_output_token_seconds: { type: 'histogram', unit: 'seconds', labels: { model: names, target: names }, sets: 32, buckets: PER_TOKEN, help: 'Mean time per output token after the first, of streamed calls that ended well.', otel: 'gen_ai.server.time_per_output_token' },
  torchgate_queue_duration_seconds: { type: 'histogram', unit: 'seconds', labels: { pool: names }, sets: 16, buckets: FIRST_TOKEN, help: 'Wait for a slot, however it ended.', otel: null },
  torchgate_gateway_overhead_seconds: { type: 'histogram', unit: 'seconds', labels: { endpoint: ENDPOINTS }, sets: 0, buckets: OVERHEAD, help: 'The part of a call that was spent in no attempt.', otel: null },
  torchgate_upstream_request_duration_seconds: { type: 'histogram', unit: 'seconds', labels: { target: names, outcome: OUTCOMES }, sets: 48, buckets: DURATION, help: 'One attempt at one target.', otel: 'gen_ai.client.operation.duration' },
  torchgate_requests_in_flight: { type: 'gauge', unit: '1', labels: {}, sets: 0, help: 'Calls being served.', otel: 'http.server.active_requests' },
  // Routing
  torchgate_routing_exclusions_total: { type: 'counter', unit: '1', labels: { target: names, reason: REJECTION_REASONS }, sets: 250, help: 'Targets left out before the choice.', otel: null },
  torchgate_fallbacks_total: { type: 'counter', unit: '1', labels: { from: names, to: names, reason: FALLBACK_REASONS, outcome: OUTCOMES }, sets: 200, help: 'Hops from one target to the next; outcome is that of the second attempt.', otel: null },
  torchgate_midstream_failures_total: { type: 'counter', unit: '1', labels: { target: names, action: ['continued', 'surfaced'] }, sets: 100, help: 'Streams that broke after their first content: another local worker went on, or the caller saw it.', otel: null },
  torchgate_target_up: { type: 'gauge', unit: '1', labels: { target: names }, sets: 200, help: '1 while the target can take calls, 0 while it is down.', otel: null },
  // Protection
  torchgate_rate_limit_rejections_total: { type: 'counter', unit: '1', labels: { tenant: names, scope: ['key', 'tenant', 'model', 'ip'], resource: ['requests', 'tokens', 'concurrency'] }, sets: 200, help: 'Calls refused by a limit, by the limit.', otel: null },
  torchgate_shed_requests_total: { type: 'counter', unit: '1', labels: { reason: PRESSURES }, sets: 0, help: 'Requests refused because the gateway itself was over a bound; they are no calls yet.', otel: null },
  torchgate_admission_rejections_total: { type: 'counter', unit: '1', labels: { pool: names, reason: ['queue_full', 'queue_wait', 'queue_timeout', 'draining'] }, sets: 48, help: 'Calls that a pool turned away.', otel: null },
  // Local workers. `worker` is the place (w0, w1, ...) among those of the model, `model` its name inside the pool.
  torchgate_worker_up: { type: 'gauge', unit: '1', labels: { pool: names, worker: names, model: names }, sets: 128, help: '1 while the worker is ready.', otel: null },
  torchgate_worker_restarts_total: { type: 'counter', unit: '1', labels: { pool: names, worker: names, model: names, reason: ['crash', 'load_failed', 'hung'] }, sets: 200, help: 'Worker processes that ended unasked.', otel: null },
  torchgate_worker_slots: { type: 'gauge', unit: '1', labels: { pool: names, worker: names, model: names, state: ['busy', 'idle'] }, sets: 256, help: 'Slots of ready workers, by what they do.', otel: null },
  torchgate_queue_depth: { type: 'gauge', unit: '1', labels: { pool: names, priority: ['interactive'] }, sets: 64, help: 'Calls waiting for a slot.', otel: null },
  torchgate_model_info: { type: 'gauge', unit: '1', labels: { pool: names, worker: names, model: names }, sets: 128, help: '1 for each loaded model.', otel: null },
  torchgate_model_load_duration_seconds: { type: 'histogram', unit: 'seconds', labels: { model: names }, sets: 16, buckets: LOAD, help: 'Start of a worker until its model answers.', otel: null },
  torchgate_model_load_ratio: { type: 'gauge', unit: '1', labels: { pool: names, model: names }, sets: 12, help: 'How far a load is, 0 to 1, while a model loads.', otel: null },
  torchgate_model_unloads_total: { type: 'counter', unit: '1', labels: { pool: names, model: names, reason: ['idle', 'evicted'] }, sets: 12, help: 'Models that left memory: nobody called them, or another one needed the room.', otel: null },
  // GPUs of this host, as nvidia-smi tells. `gpu` is its number there.
  torchgate_gpu_memory_used_bytes: { type: 'gauge', unit: 'bytes', labels: { gpu: names }, sets: 16, help: 'Memory of the GPU in use, by whomever.', otel: 'hw.gpu.memory.usage' },
  torchgate_gpu_memory_total_bytes: { type: 'gauge', unit: 'bytes', labels: { gpu: names }, sets: 16, help: 'Memory of the GPU.', otel: 'hw.gpu.memory.limit' },
  torchgate_gpu_utilization_ratio: { type: 'gauge', unit: '1', labels: { gpu: names }, sets: 16, help: 'Share of the last moment in which the GPU computed, 0 to 1.', otel: 'hw.gpu.utilization' },
  torchgate_gpu_power_watts: { type: 'gauge', unit: 'watts', labels: { gpu: names }, sets: 16, help: 'Power that the GPU draws.', otel: 'hw.power' },
  torchgate_gpu_energy_joules_total: { type: 'counter', unit: 'joules', labels: { gpu: names }, sets: 16, help: 'Energy that the GPU has used since the gateway started: its power over time.', otel: 'hw.energy' },
  torchgate_gpu_temperature_celsius: { type: 'gauge', unit: 'celsius', labels: { gpu: names }, sets: 16, help: 'Temperature of the GPU.', otel: 'hw.temperature' },
  torchgate_gpu_info: { type: 'gauge', unit: '1', labels: { gpu: names, name: names, uuid: names, driver: names }, sets: 16, help: '1 for each GPU.', otel: null },
  // The gateway itself
  torchgate_store_degraded: { type: 'gauge', unit: '1', labels: { store: ['state'] }, sets: 0, help: '1 while the shared store is away and this process counts alone.', otel: null },
  torchgate_metrics_label_overflow_total: { type: 'counter', unit: '1', labels: { label: [...FOLDED_LABELS, COMBINATIONS] }, sets: 0, help: `Times a label value was folded into ${OTHER} or ${UNKNOWN}, by label; \`${COMBINATIONS}\` where a metric had too many of them.`, otel: null },
  torchgate_build_info: { type: 'gauge', unit: '1', labels: { version: names, node: names }, sets: 1, help: 'Always 1.', otel: null }
} as const satisfies Record<string, MetricRow>

export type MetricName = keyof typeof METRICS
export type LabelsOf<Name extends MetricName> = Readonly<Record<keyof (typeof METRICS)[Name]['labels'], string>>

/**
 * Series that a metric can have at most: its sets, and one for each combination of the values that are not names, where
 * everything beyond goes. A histogram has one series per bucket, and `+Inf`, `_sum` and `_count`.
 */
export function maxSeries (row: MetricRow): number {
  const folded = Object.values(row.labels).reduce((product, values) => product * (values === 'names' ? 1 : values.length + 1), 1)
  return (row.sets + folded) * (row.buckets === undefined ? 1 : row.buckets.length + 3)
}
