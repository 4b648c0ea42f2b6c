import { test } from 'tap'
import type { ModelStatus, PoolStatus, WorkerState, WorkerStatus } from '../../src/backends/pool/status.ts'
import { COMBINATIONS, MAX_NAMES, maxSeries, OTHER, UNKNOWN, type MetricRow } from '../../src/telemetry/catalogue.ts'
import { createMetrics, METRICS, type MetricFacts } from '../../src/telemetry/metrics.ts'
import { attemptOf, recordOf } from './record.ts'

const FACTS: MetricFacts = {
  tenants: ['acme', 'globex'],
  models: ['chat', 'gpt-*'],
  targets: [{ target: 'gpu/qwen', locality: 'local' }, { target: 'openai/gpt-4o', locality: 'cloud' }, { target: 'openai/*', locality: 'cloud' }],
  pools: () => [],
  version: '1.2.3'
}
const TABLE: Readonly<Record<string, MetricRow>> = METRICS
const SERIES_BUDGET = 10_000

/** Series -> value, of the gateway's own metrics unless `all`. */
async function scrape (metrics: { text (): Promise<string> }, all = false): Promise<Map<string, number>> {
  const series = new Map<string, number>()
  for (const line of (await metrics.text()).split('\n')) {
    const [, name, value] = /^([^#].*) (\S+)$/.exec(line) ?? []
    if (name === undefined || (!all && !name.startsWith('torchgate_'))) continue
    if (series.has(name)) throw new Error(`${name} stands there twice`)
    series.set(name, Number(value))
  }
  return series
}

function sum (series: ReadonlyMap<string, number>, start: string): number {
  return [...series].filter(([name]) => name.startsWith(start)).reduce((total, [, value]) => total + value, 0)
}

test('names follow the Prometheus rules: base units, _total on counters only, no reserved label', async t => {
  t.same(Object.entries(TABLE).flatMap(([name, row]) => complaints(name, row).map(complaint => `${name}: ${complaint}`)), [])
  const bad: MetricRow = { type: 'gauge', unit: 'seconds', labels: { le: 'names' }, sets: 1, help: 'no', otel: null }
  t.equal(complaints('torchgate_wait_ms_total', bad).length, 5, 'the rules can be broken')
})

/** What `promtool check metrics` would say, and our own rules. */
function complaints (name: string, row: MetricRow): string[] {
  const labels = Object.keys(row.labels)
  const broken: [boolean, string][] = [
    [!/^torchgate_[a-z]+(_[a-z]+)*$/.test(name), 'expected snake case'],
    [name.endsWith('_total') !== (row.type === 'counter'), 'expected _total on counters and nothing else'],
    [/_(ms|milliseconds|minutes|kilobytes|percent|count|sum|bucket|counter|gauge)(_|$)/.test(name), 'expected base units and no reserved ending'],
    [row.unit !== '1' && !new RegExp(`_${row.unit}(_total)?$`).test(name), `expected the unit ${row.unit} at the end`],
    [name.endsWith('_info') && row.type !== 'gauge', 'expected a gauge'],
    [(row.type === 'histogram') !== (row.buckets !== undefined), 'expected buckets on histograms and nothing else'],
    [(row.buckets ?? []).some((bound, at, all) => at > 0 && bound <= all[at - 1]!), 'expected rising buckets'],
    [!/^[A-Z0-9].*\.$/.test(row.help), 'expected a sentence'],
    [labels.some(label => !/^[a-z]+$/.test(label) || ['le', 'quantile', 'job', 'instance'].includes(label)), 'expected a label of its own']
  ]
  return broken.filter(([isBroken]) => isBroken).map(([, complaint]) => complaint)
}

test('the text is well formed: each metric is described once, buckets are cumulative and end in the count', async t => {
  const metrics = createMetrics(FACTS)
  metrics.record(recordOf())
  metrics.record(recordOf({ firstTokenMs: 90_000, durationMs: 500_000 }))
  const text = await metrics.text()
  t.match(metrics.contentType, /^text\/plain; version=0\.0\.4/)
  t.same(Object.entries(TABLE).filter(([name, row]) => text.split(`# TYPE ${name} ${row.type}\n`).length !== 2), [], 'each has its type once')
  const all = await scrape(metrics)
  const name = 'torchgate_time_to_first_token_seconds'
  const buckets = [...all].filter(([series]) => series.startsWith(`${name}_bucket`))
  t.equal(buckets.length, METRICS[name].buckets.length + 1)
  t.same(buckets.map(([, value]) => value), buckets.map(([, value]) => value).toSorted((a, b) => a - b))
  t.equal(all.get(`${name}_bucket{model="chat",target="gpu/qwen",le="0.04"}`), 0)
  t.equal(all.get(`${name}_bucket{model="chat",target="gpu/qwen",le="0.06"}`), 1)
  t.equal(all.get(`${name}_bucket{model="chat",target="gpu/qwen",le="80"}`), 1)
  t.equal(all.get(`${name}_bucket{model="chat",target="gpu/qwen",le="+Inf"}`), 2)
  t.equal(all.get(`${name}_count{model="chat",target="gpu/qwen"}`), 2)
  t.equal(all.get(`${name}_sum{model="chat",target="gpu/qwen"}`), 90.045)
  t.ok(text.includes('\nprocess_cpu_seconds_total '), 'the process is measured too')
})

test('a good streamed call is counted with its tokens and its times', async t => {
  const metrics = createMetrics(FACTS)
  metrics.record(recordOf())
  const all = await scrape(metrics)
  const labels = '{tenant="acme",model="chat",target="gpu/qwen",tier="local"}'
  t.equal(all.get('torchgate_requests_total{tenant="acme",model="chat",tier="local",endpoint="chat_completions",outcome="ok"}'), 1)
  t.equal(all.get(`torchgate_input_tokens_total${labels}`), 100)
  t.equal(all.get(`torchgate_output_tokens_total${labels}`), 51)
  t.equal(all.get(`torchgate_cache_read_input_tokens_total${labels}`), 30)
  t.equal(all.get(`torchgate_reasoning_output_tokens_total${labels}`), 7)
  t.equal(all.get('torchgate_request_input_tokens_sum{model="chat"}'), 100)
  t.equal(all.get('torchgate_request_output_tokens_sum{model="chat"}'), 51)
  t.equal(all.get('torchgate_request_duration_seconds_sum{model="chat",tier="local",endpoint="chat_completions"}'), 1.045)
  t.equal(all.get('torchgate_time_per_output_token_seconds_sum{model="chat",target="gpu/qwen"}'), 0.02)
  t.equal(all.get('torchgate_gateway_overhead_seconds_sum{endpoint="chat_completions"}'), 0.005, 'duration minus the attempt')
  t.equal(all.get('torchgate_upstream_request_duration_seconds_sum{target="gpu/qwen",outcome="ok"}'), 1.04)
  t.equal(sum(all, 'torchgate_usage_estimated_requests_total'), 0)
  t.equal(all.get(`torchgate_build_info{version="1.2.3",node="${process.versions.node}"}`), 1)
})

test('a call that was not streamed has no first token, and a broken one no time per token', async t => {
  const metrics = createMetrics(FACTS)
  metrics.record(recordOf({ stream: false }))
  metrics.record(recordOf({ outcome: 'upstream_error', errorCode: 'backend_interrupted', usageEstimated: true }))
  const all = await scrape(metrics)
  t.equal(sum(all, 'torchgate_time_to_first_token_seconds_count'), 1)
  t.equal(sum(all, 'torchgate_time_per_output_token_seconds_count'), 0)
  t.equal(all.get('torchgate_usage_estimated_requests_total{target="gpu/qwen"}'), 1)
})

test('each hop to another target is a fallback, with why and how it went', async t => {
  const metrics = createMetrics(FACTS)
  const failed = attemptOf({ firstTokenMs: null, endMs: 11, error: 'worker_crashed' })
  const cloud = attemptOf({ target: 'openai/gpt-4o', backend: 'openai', locality: 'cloud', startMs: 12 })
  metrics.record(recordOf({ attempts: [failed, cloud] }))
  metrics.record(recordOf({ attempts: [failed, { ...cloud, error: 'backend_timeout', firstTokenMs: null }], outcome: 'timeout', usage: null }))
  const all = await scrape(metrics)
  t.equal(all.get('torchgate_fallbacks_total{from="gpu/qwen",to="openai/gpt-4o",reason="worker_lost",outcome="ok"}'), 1)
  t.equal(all.get('torchgate_fallbacks_total{from="gpu/qwen",to="openai/gpt-4o",reason="worker_lost",outcome="timeout"}'), 1)
  t.equal(all.get('torchgate_requests_total{tenant="acme",model="chat",tier="cloud",endpoint="chat_completions",outcome="ok"}'), 1, 'the tier is that of the last target')
  t.equal(all.get('torchgate_upstream_request_duration_seconds_count{target="gpu/qwen",outcome="upstream_error"}'), 2)
  t.equal(sum(all, 'torchgate_midstream_failures_total'), 0)
})

test('a stream that breaks after its first content is a midstream failure, one whose caller leaves is not', async t => {
  const metrics = createMetrics(FACTS)
  metrics.record(recordOf({ attempts: [attemptOf({ error: 'backend_interrupted' })], outcome: 'upstream_error' }))
  metrics.record(recordOf({ attempts: [attemptOf({ error: 'client_closed' })], outcome: 'cancelled' }))
  t.equal((await scrape(metrics)).get('torchgate_midstream_failures_total{target="gpu/qwen",action="surfaced"}'), 1)
})

test('a call refused before any target has tier none, and what refused it is counted', async t => {
  const metrics = createMetrics(FACTS)
  const refused = { attempts: [], usage: null, firstTokenMs: null, durationMs: 2 }
  metrics.record(recordOf({ ...refused, outcome: 'rate_limited', limit: { scope: 'tenant', resource: 'tokens' } }))
  metrics.record(recordOf({ ...refused, outcome: 'policy_denied', rejected: [{ target: 'openai/gpt-4o', reason: 'data_class' }] }))
  metrics.record(recordOf({ ...refused, outcome: 'client_error', tenant: null, model: null }))
  const all = await scrape(metrics)
  t.equal(all.get('torchgate_requests_total{tenant="acme",model="chat",tier="none",endpoint="chat_completions",outcome="rate_limited"}'), 1)
  t.equal(all.get('torchgate_rate_limit_rejections_total{tenant="acme",scope="tenant",resource="tokens"}'), 1)
  t.equal(all.get('torchgate_routing_exclusions_total{target="openai/gpt-4o",reason="data_class"}'), 1)
  t.equal(all.get(`torchgate_requests_total{tenant="${UNKNOWN}",model="${UNKNOWN}",tier="none",endpoint="chat_completions",outcome="client_error"}`), 1)
  t.equal(sum(all, 'torchgate_metrics_label_overflow_total'), 0, 'no name at all is not a folded one')
})

test('10,000 junk models, tenants, targets and reasons add no series after the first', async t => {
  const metrics = createMetrics(FACTS)
  metrics.record(junk(0))
  const before = (await scrape(metrics, true)).size
  for (let n = 1; n < 10_000; n++) metrics.record(junk(n))
  const after = await scrape(metrics, true)
  t.ok(after.size <= before + 5, `${before} series, then ${after.size}`)
  t.equal(sum(after, 'torchgate_requests_total'), 10_000, 'none is lost')
  t.equal(after.get('torchgate_metrics_label_overflow_total{label="model"}'), 10_000)
  t.equal(after.get('torchgate_metrics_label_overflow_total{label="reason"}'), 10_000)
  t.notMatch(await metrics.text(), /junk-/)
})

test('tenants beyond the first 200 count together', async t => {
  const tenants = Array.from({ length: MAX_NAMES + 5 }, (_, n) => `tenant-${n}`)
  const metrics = createMetrics({ ...FACTS, tenants })
  for (const tenant of tenants) metrics.record(recordOf({ tenant }))
  const all = await scrape(metrics)
  t.equal(sum(all, `torchgate_requests_total{tenant="${OTHER}"`), 5)
  t.equal(sum(all, 'torchgate_requests_total{tenant="tenant-199"'), 1)
})

test('no installation, however large, has more than 10,000 series', async t => {
  const possible = Object.values(TABLE).reduce((total, row) => total + maxSeries(row), 0)
  t.ok(possible <= SERIES_BUDGET - 250, `the table allows ${possible}`)

  const facts = { ...FACTS, tenants: many('t', 10_000), models: many('m', 10_000), targets: many('b/', 8000).map(target => ({ target, locality: 'local' as const, up: () => true })) }
  const metrics = createMetrics({ ...facts, pools: () => many('p', 64).map(pool => poolOf(pool, many('m', 8).map(model => modelOf(model, many('w', 8).map(name => worker(name, 'ready')))))) })
  const outcomes = ['ok', 'timeout', 'upstream_error', 'cancelled', 'rate_limited'] as const
  for (let n = 0; n < 20_000; n++) {
    const target = (k: number) => facts.targets[(n * k) % 190]!.target
    const attempts = [attemptOf({ target: target(3), error: n % 2 === 0 ? 'backend_failed' : 'backend_timeout' }), attemptOf({ target: target(7) })]
    metrics.record(recordOf({
      tenant: facts.tenants[n % 197]!,
      model: facts.models[n % 193]!,
      attempts,
      outcome: outcomes[n % 5]!,
      usageEstimated: true,
      rejected: [{ target: target(11), reason: 'unhealthy' }],
      limit: { scope: 'tenant', resource: 'tokens' }
    }))
    const event = { pool: `p${n % 300}`, model: `m${n % 300}`, worker: `w${n % 64}` }
    metrics.observer.workerLost({ ...event, reason: 'crash' })
    metrics.observer.workerReady({ ...event, loadMs: n })
    metrics.observer.queueLeft({ ...event, waitedMs: n })
    metrics.observer.admissionRejected({ ...event, reason: 'queue_full' })
  }
  const all = await scrape(metrics, true)
  t.ok(all.size > 5000 && all.size <= SERIES_BUDGET, `${all.size} series`)
  t.equal(sum(all, 'torchgate_requests_total'), 20_000, 'what is folded is still counted')
  t.equal(sum(all, 'torchgate_input_tokens_total'), 2_000_000)
  t.equal(sum(all, 'torchgate_worker_up'), 64 * 8 * 8)
  t.ok(all.get(`torchgate_metrics_label_overflow_total{label="${COMBINATIONS}"}`)! > 0)
  t.ok(all.has(`torchgate_requests_total{tenant="${OTHER}",model="${OTHER}",tier="local",endpoint="chat_completions",outcome="timeout"}`), 'the outcome stays readable')
})

test('every label that can be folded is a value of the metric that counts folds', async t => {
  const known: readonly string[] = METRICS.torchgate_metrics_label_overflow_total.labels.label
  const enumerated = Object.values(TABLE).flatMap(({ labels }) => Object.entries(labels).filter(([, values]) => values !== 'names').map(([label]) => label))
  t.same(enumerated.filter(label => label !== 'label' && !known.includes(label)), [])
})

test('when a worker dies, no counter falls', async t => {
  let workers = [worker('w0', 'ready'), worker('w1', 'ready')]
  const metrics = createMetrics({ ...FACTS, pools: () => [poolOf('gpu', [modelOf('qwen', workers, 2)])] })
  metrics.observer.workerReady({ pool: 'gpu', model: 'qwen', worker: 'w0', loadMs: 1500 })
  metrics.record(recordOf())
  const before = await scrape(metrics)
  t.equal(before.get('torchgate_worker_up{pool="gpu",worker="w1",model="qwen"}'), 1)
  t.equal(before.get('torchgate_worker_slots{pool="gpu",worker="w1",model="qwen",state="idle"}'), 3)
  t.equal(before.get('torchgate_queue_depth{pool="gpu",priority="interactive"}'), 2)

  workers = [worker('w0', 'ready'), worker('w1', 'backoff')]
  metrics.observer.workerLost({ pool: 'gpu', model: 'qwen', worker: 'w1', reason: 'crash' })
  const after = await scrape(metrics)
  t.equal(after.get('torchgate_worker_up{pool="gpu",worker="w1",model="qwen"}'), 0)
  t.equal(after.get('torchgate_worker_slots{pool="gpu",worker="w1",model="qwen",state="idle"}'), 0)
  t.equal(after.get('torchgate_worker_restarts_total{pool="gpu",worker="w1",model="qwen",reason="crash"}'), 1)
  t.notOk(after.has('torchgate_model_info{pool="gpu",worker="w1",model="qwen"}'))
  const counters = [...before].filter(([name]) => /_(total|count|sum|bucket)(\{|$)/.test(name))
  t.ok(counters.length > 100)
  t.same(counters.filter(([name, value]) => (after.get(name) ?? 0) < value), [])

  workers = []
  t.notOk((await scrape(metrics)).has('torchgate_worker_up{pool="gpu",worker="w0",model="qwen"}'), 'a removed worker leaves no series')
})

test('a usage that is no number, or a clock that ran backwards, neither throws nor lets a counter fall', async t => {
  const metrics = createMetrics(FACTS)
  metrics.record(recordOf())
  metrics.record(recordOf({ usage: { input: -50, output: Number.NaN, cachedInput: Infinity, reasoning: -1 }, durationMs: -3, firstTokenMs: Number.NaN }))
  const all = await scrape(metrics)
  t.equal(sum(all, 'torchgate_input_tokens_total'), 100)
  t.equal(sum(all, 'torchgate_output_tokens_total'), 51)
  t.notOk([...all.values()].some(value => Number.isNaN(value)))
})

test('calls in flight, the shared state and the health of targets are as they are now', async t => {
  let up = true
  const metrics = createMetrics({ ...FACTS, targets: [{ target: 'gpu/qwen', locality: 'local', up: () => up }, { target: 'openai/*', locality: 'cloud' }] })
  metrics.callStarted()
  metrics.callStarted()
  metrics.callEnded()
  metrics.stateChanged(false)
  let all = await scrape(metrics)
  t.equal(all.get('torchgate_requests_in_flight'), 1)
  t.equal(metrics.inFlight(), 1)
  t.equal(all.get('torchgate_store_degraded{store="state"}'), 1)
  t.ok(metrics.isDegraded())
  t.equal(all.get('torchgate_target_up{target="gpu/qwen"}'), 1)
  up = false
  metrics.stateChanged(true)
  all = await scrape(metrics)
  t.equal(all.get('torchgate_target_up{target="gpu/qwen"}'), 0)
  t.notOk(all.has('torchgate_target_up{target="openai/*"}'), 'what nobody knows is not claimed')
  t.equal(all.get('torchgate_store_degraded{store="state"}'), 0)
})

test('quotes and newlines in a configured name do not break the text', async t => {
  const odd = 'odd"\\\nname'
  const metrics = createMetrics({ ...FACTS, models: [odd] })
  metrics.record(recordOf({ model: odd }))
  t.ok((await metrics.text()).includes('model="odd\\"\\\\\\nname"'))
})

function worker (name: string, state: WorkerState) {
  return { worker: name, state, pid: 1, slots: 4, busySlots: 1, restarts: 0, lastExit: null }
}

function modelOf (model: string, workers: WorkerStatus[], queued = 1): ModelStatus {
  return { model, state: 'ready', loadFraction: null, memoryBytes: null, isMeasured: false, unloadsInMs: null, contextTokens: 4096, queued, waiting: [], workers }
}

function poolOf (pool: string, models: readonly ModelStatus[]): PoolStatus {
  return { pool, isolation: { wanted: 'off', permissions: false, networkNamespace: false, reason: null }, memoryBytes: null, usedBytes: 0, models }
}

function junk (n: number) {
  return recordOf({ model: `junk-${n}`, tenant: `t${n}`, attempts: [attemptOf({ target: `x/${n}` })], rejected: [{ target: `y/${n}`, reason: `r${n}` }] })
}

function many (name: string, count: number): string[] {
  return Array.from({ length: count }, (_, n) => `${name}${n}`)
}
