/** Workers that are killed, aborted and stopped under load, again and again; and what has to hold all the while. */
import { setTimeout as wait } from 'node:timers/promises'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { eventually, pilotPool, startGateway, type Running, type Surroundings } from '../gateway/harness.ts'
import { answerOf, callersOf, endingOf, type Ending } from './callers.ts'
import { Counters, sumOf } from './counters.ts'

const SIGNALS = ['SIGKILL', 'SIGABRT', 'SIGKILL', 'SIGABRT', 'SIGSTOP'] as const
export type Signal = (typeof SIGNALS)[number]

/** Calls at once; a place that is not given back is missed soon. */
const MOST_CALLS = 12
/** Of the rounds, those in which both workers get the signal. */
const BOTH = 0.2

/** Workers are started anew at once, and found out soon when they stop. */
const RULES = 'restart: { backoffMs: 20, maxBackoffMs: 50, quarantineAfter: 100 }\n    watchdog: { silentMs: 2000 }'
const TENANTS = `tenants: [{ name: default, limits: { concurrency: ${MOST_CALLS} } }]`

/** One model, two workers of three slots. */
export function startKills (t: Surroundings): Promise<Running> {
  return startGateway(t, `
backends:${pilotPool(3, 2).replace('restart: { backoffMs: 20 }', RULES)}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
${TENANTS}
`)
}

/** Two models, of one worker each, that take turns in a memory for one. */
export function startSwaps (t: Surroundings): Promise<Running> {
  const models = ['a', 'b'].map(name => `{ name: ${name}, path: ${BUILTIN_MODEL.path}, contextTokens: 1024, slots: 3, gpu: false, load: demand }`)
  return startGateway(t, `
backends:
  - name: pool
    kind: pool
    memoryBytes: 320000000
    models: [${models.join(', ')}]
    swap: { afterCalls: 4, afterMs: 1000 }
    ${RULES}
models: [{ name: a, targets: [{ backend: pool, model: a }] }, { name: b, targets: [{ backend: pool, model: b }] }]
${TENANTS}
`)
}

export interface KillTally {
  /** How calls ended, by what was done to a worker meanwhile. */
  readonly endings: Record<Signal, Record<Ending, number>>
  readonly signals: Record<Signal, number>
  /** Who was told of an error, how often. */
  readonly told: Map<string, number>
  /** Slots, places in queues and leases that did not come back; calls without their record. */
  readonly lost: string[]
  readonly fallen: readonly string[]
  counters: number
  /** As the pool counts the ends of its workers. */
  crashes: number
  hung: number
  continued: number
}

const none = (): Record<Ending, number> => ({ whole: 0, broken: 0, stopped: 0, wrong: 0 })

export async function kill (running: Running, rounds: number, random: () => number): Promise<KillTally> {
  const models = running.gateway.pools[0]!.status().models.map(({ model }) => model)
  const callers = await Promise.all(models.map(model => callersOf(running, 'default', model)))
  const wholes = await Promise.all(callers[0]!.map(caller => answerOf(caller)))
  const counters = new Counters(running)
  const tally: KillTally = {
    endings: { SIGKILL: none(), SIGABRT: none(), SIGSTOP: none() }, signals: { SIGKILL: 0, SIGABRT: 0, SIGSTOP: 0 }, told: new Map(), lost: [], fallen: counters.fallen, counters: 0, crashes: 0, hung: 0, continued: 0
  }
  const now = () => running.gateway.pools[0]!.status().models
  for (let round = 0; round < rounds; round++) {
    const signal = SIGNALS[round % SIGNALS.length]!
    const calls = wholes.map(async (whole, at) => {
      const caller = callers[Math.floor(random() * models.length)]![at]!
      await wait(random() * 60)
      const ending = await endingOf(caller, whole)
      if (ending === 'broken') tally.told.set(caller.name, (tally.told.get(caller.name) ?? 0) + 1)
      return ending
    })
    await wait(random() * 300)
    // A worker that loads has no watchdog yet, but a deadline of its own.
    const victims = now().flatMap(({ workers }) => workers).filter(({ state, pid }) => pid !== null && (state === 'ready' || (state === 'starting' && signal !== 'SIGSTOP')))
    const first = Math.floor(random() * victims.length)
    const chosen = random() < BOTH ? victims : victims.slice(first, first + 1)
    for (const { pid } of chosen) {
      process.kill(pid!, signal)
      tally.signals[signal]++
    }
    for (const ending of await Promise.all(calls)) tally.endings[signal][ending]++
    if (!await eventually(() => now().every(({ queued, workers }) => queued === 0 && workers.every(({ busySlots }) => busySlots === 0)))) tally.lost.push(`round ${round}: a slot`)
    await counters.look()
  }
  await atRest(running, counters, tally, wholes.length * (rounds + 1))
  return tally
}

async function atRest (running: Running, counters: Counters, tally: KillTally, calls: number): Promise<void> {
  const workers = () => running.gateway.pools[0]!.status().models.flatMap(each => each.workers)
  const isReady = () => workers().every(({ state, busySlots }) => (state === 'ready' || state === 'stopped') && busySlots === 0)
  if (!await eventually(isReady, 20_000)) tally.lost.push(`workers: ${workers().map(({ state }) => state).join(', ')}`)
  const { model } = running.gateway.pools[0]!.status().models[0]!
  const client = await running.client('default')
  const full = await Promise.allSettled(Array.from({ length: MOST_CALLS }, () => client.chat.completions.create({ model, messages: [{ role: 'user', content: 'Hello' }], max_completion_tokens: 5 })))
  for (const result of full) if (result.status === 'rejected') tally.lost.push(`a lease: ${String(result.reason)}`)
  if (!await eventually(async () => sumOf(await counters.look(), 'torchgate_requests_in_flight') === 0)) tally.lost.push('calls in flight')
  const text = await counters.look()
  const recorded = sumOf(text, 'torchgate_requests_total')
  if (recorded !== calls + MOST_CALLS) tally.lost.push(`records: ${recorded} of ${calls + MOST_CALLS} calls`)
  tally.counters = counters.size
  tally.hung = sumOf(text, 'torchgate_worker_restarts_total', { reason: 'hung' })
  tally.crashes = sumOf(text, 'torchgate_worker_restarts_total') - tally.hung
  tally.continued = sumOf(text, 'torchgate_midstream_failures_total', { action: 'continued' })
}
