/** Callers that leave at every phase of a call, while two models take turns in a memory that has room for one. */
import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { ask, eventually, startGateway, type Running, type Surroundings } from '../gateway/harness.ts'
import { answerOf, callersOf, type Answer, type Caller } from './callers.ts'
import { Counters, sumOf } from './counters.ts'

export const PHASES = ['load', 'queue', 'prompt', 'answer'] as const
export type Phase = (typeof PHASES)[number]

const MODELS = ['a', 'b'] as const
/** Each caller is a tenant of its own, so that the status tells where its call is. */
const TENANTS = Array.from({ length: 12 }, (_, at) => `t${at}`)
/** More of them at once than a tenant has calls here, and few enough for a lost place to be missed. */
const MOST_CALLS = 4
const ROOM_FOR_ONE = 320_000_000
/** Calls to the model that is in memory. */
const HERE = 0.8
/** A call that does not come to the phase in which it is to be left is left anyway. */
const PATIENCE_MS = 3000

/** Two models, each of one worker with two slots. Streams that wait say so soon, so that calls are left after their head, too. */
export function startCancels (t: Surroundings): Promise<Running> {
  const models = MODELS.map(name => `{ name: ${name}, path: ${BUILTIN_MODEL.path}, contextTokens: 2048, slots: 2, gpu: false, load: demand }`)
  return startGateway(t, `
backends:
  - { name: pool, kind: pool, memoryBytes: ${ROOM_FOR_ONE}, models: [${models.join(', ')}], swap: { afterCalls: 8, afterMs: 1500 } }
models: [${MODELS.map(name => `{ name: ${name}, targets: [{ backend: pool, model: ${name} }] }`).join(', ')}]
tenants: [${TENANTS.map(name => `{ name: ${name}, limits: { concurrency: ${MOST_CALLS} } }`).join(', ')}]
`, {}, 'drainTimeoutMs: 3000, heartbeatMs: 200')
}

export interface CancelTally {
  /** Calls that were left, by where they were. */
  readonly left: Record<Phase, number>
  /** Calls that were over before they could be left: their answers right, or not. */
  whole: number
  wrong: number
  readonly lost: string[]
  readonly fallen: readonly string[]
  unloads: number
}

export async function cancel (running: Running, cancels: number, random: () => number): Promise<CancelTally> {
  const counters = new Counters(running)
  const tally: CancelTally = { left: { load: 0, queue: 0, prompt: 0, answer: 0 }, whole: 0, wrong: 0, lost: [], fallen: counters.fallen, unloads: 0 }
  const callers = await Promise.all(TENANTS.map(async (tenant, at) => {
    const of = await Promise.all(MODELS.map(model => callersOf(running, tenant, model)))
    return { tenant, own: of.flatMap((list, which) => list.map(caller => ({ caller, model: MODELS[which]! }))), at }
  }))
  const wholes = new Map<string, Answer>()
  for (const { caller } of callers[0]!.own.slice(0, callers[0]!.own.length / MODELS.length)) wholes.set(caller.name, await answerOf(caller))
  let calls = wholes.size
  let toGo = cancels
  await Promise.all(callers.map(async ({ tenant, own }) => {
    while (toGo > 0) {
      // Mostly of the model that is there, or most callers would leave during loads.
      const there = running.gateway.pools[0]!.status().models.find(({ state }) => state === 'ready')?.model
      const open = random() < HERE ? own.filter(({ model }) => model === there) : []
      const { caller, model } = pick(open.length > 0 ? open : own, random)
      calls++
      toGo--
      const phase = await leave(running, { caller, tenant, model, goal: pick(PHASES, random), moreMs: random() * 30 })
      if (typeof phase === 'string') { tally.left[phase]++; continue }
      toGo++
      if (JSON.stringify(phase) === JSON.stringify(wholes.get(caller.name))) tally.whole++
      else tally.wrong++
      await counters.look()
    }
  }))
  await atRest(running, counters, tally, calls)
  return tally
}

function pick<T> (items: readonly T[], random: () => number): T { return items[Math.floor(random() * items.length)]! }

interface Leaving { readonly caller: Caller, readonly tenant: string, readonly model: string, readonly goal: Phase, readonly moreMs: number }

/** @returns where the call was when it was left; or its answer, when it was over before */
async function leave (running: Running, { caller, tenant, model, goal, moreMs }: Leaving): Promise<Phase | Answer> {
  const controller = new AbortController()
  const over = new AbortController()
  let text = ''
  const startedMs = performance.now()
  const phase = (): Phase => {
    const { waiting, state } = running.gateway.pools[0]!.status().models.find(each => each.model === model)!
    if (waiting.some(each => each.tenant === tenant)) return state === 'ready' ? 'queue' : 'load'
    return text === '' ? 'prompt' : 'answer'
  }
  const answer = caller.call(piece => { text += piece }, controller.signal)
    .then(end => ({ text, ...end }), (error: unknown) => error)
    .finally(() => { over.abort() })
  // Until it has come to the pool.
  await wait(10)
  while (!over.signal.aborted && phase() !== goal && performance.now() - startedMs < PATIENCE_MS) await wait(3)
  await wait(moreMs)
  if (over.signal.aborted) return await answer as Answer
  const left = phase()
  controller.abort()
  await answer
  return left
}

async function atRest (running: Running, counters: Counters, tally: CancelTally, calls: number): Promise<void> {
  const isFree = () => running.gateway.pools[0]!.status().models.every(({ queued, workers }) => queued === 0 && workers.every(({ busySlots }) => busySlots === 0))
  if (!await eventually(isFree, 2000)) tally.lost.push('a slot or a place in a queue')
  if (!await eventually(async () => sumOf(await counters.look(), 'torchgate_requests_in_flight') === 0)) tally.lost.push('calls in flight')
  for (const tenant of TENANTS) {
    const client = await running.client(tenant)
    const full = await Promise.allSettled(Array.from({ length: MOST_CALLS }, () => client.chat.completions.create({ ...ask('What is the capital of France?', 'a') })))
    calls += MOST_CALLS
    for (const result of full) {
      if (result.status === 'rejected') tally.lost.push(`a lease of ${tenant}: ${String(result.reason)}`)
      else if (result.value.choices[0]!.message.content !== 'The capital of France is Paris.') tally.wrong++
    }
  }
  const text = await counters.look()
  const recorded = sumOf(text, 'torchgate_requests_total')
  if (recorded !== calls) tally.lost.push(`records: ${recorded} of ${calls} calls`)
  if (sumOf(text, 'torchgate_worker_restarts_total') > 0) tally.lost.push('a worker')
  tally.unloads = sumOf(text, 'torchgate_model_unloads_total')
}

/** Milliseconds from the moment a caller leaves until its place is free, by where its call was. */
export async function freeing (running: Running, times: number): Promise<Record<Phase, number[]>> {
  const client = await running.client(TENANTS[0]!)
  const status = (model: string) => running.gateway.pools[0]!.status().models.find(each => each.model === model)!
  const busy = (model: string) => status(model).workers.reduce((sum, { busySlots }) => sum + busySlots, 0)
  const long = `${'Tell me more. '.repeat(120)} Count from 1 to 40`
  const open = (content: string, model: string) => {
    const controller = new AbortController()
    let begun = false
    const read = async () => {
      const stream = await client.chat.completions.create({ ...ask(content, model), stream: true }, { signal: controller.signal })
      for await (const { choices } of stream) begun ||= (choices[0]?.delta.content ?? '') !== ''
    }
    // Left, it throws.
    return { over: read().catch(() => undefined), hasBegun: () => begun, leave: () => { controller.abort() } }
  }
  const measure = async (call: { leave: () => void, over: Promise<unknown> }, isFree: () => boolean) => {
    const leftMs = performance.now()
    call.leave()
    while (!isFree() && performance.now() - leftMs < 5000) await turn()
    const tookMs = performance.now() - leftMs
    await call.over
    return tookMs
  }
  const found: Record<Phase, number[]> = { load: [], queue: [], prompt: [], answer: [] }
  for (let time = 0; time < times; time++) {
    const model = MODELS[time % 2]!
    const loading = open('Hello', model)
    await eventually(() => status(model).state === 'loading' && status(model).queued === 1)
    found.load.push(await measure(loading, () => status(model).queued === 0))
    await client.chat.completions.create(ask('Hello', model))
    const holders = [open('Count from 1 to 40', model), open('Count from 1 to 40', model)]
    await eventually(() => busy(model) === 2)
    const queued = open('Hello', model)
    await eventually(() => status(model).queued === 1)
    found.queue.push(await measure(queued, () => status(model).queued === 0))
    for (const holder of holders) {
      holder.leave()
      await holder.over
    }
    await eventually(() => busy(model) === 0)
    const reading = open(`${time} ${long}`, model)
    await eventually(() => busy(model) === 1)
    found.prompt.push(await measure(reading, () => busy(model) === 0))
    const answering = open('Count from 1 to 40', model)
    await eventually(() => answering.hasBegun())
    found.answer.push(await measure(answering, () => busy(model) === 0))
  }
  return found
}
