/** Workers that are killed, aborted and stopped under load, again and again; and what has to hold all the while. */
import { setTimeout as wait } from 'node:timers/promises'
import type OpenAI from 'openai'
import type { Test } from 'tap'
import { ask, eventually, pilotPool, readAll, startGateway, type Running } from './harness.ts'

const SIGNALS = ['SIGKILL', 'SIGABRT', 'SIGKILL', 'SIGABRT', 'SIGSTOP'] as const
const PARALLEL = 6

/** Two workers of three slots that are started anew at once, and found out soon when they stop. */
export function startChaos (t: Test): Promise<Running> {
  const pool = pilotPool(3, 2).replace('restart: { backoffMs: 20 }', 'restart: { backoffMs: 20, maxBackoffMs: 50, quarantineAfter: 100 }\n    watchdog: { silentMs: 2000 }')
  return startGateway(t, `
backends:${pool}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: default }]
`)
}

/** What callers ask. The last one cannot go on at another worker. */
const QUESTIONS = [
  ask('Count from 1 to 40'),
  { ...ask('Count from 1 to 30'), temperature: 1, seed: 5 },
  { ...ask('Count from 1 to 30'), logprobs: true }
]

export interface Tally { whole: number, broken: number, wrong: number, lostSlots: number, fallen: number, hung: number }

/** @returns how the calls ended; `wrong`, `lostSlots` and `fallen` (counters) have to stay 0 */
export async function chaos (running: Running, rounds: number, random: () => number): Promise<Tally> {
  const client = await running.client('default')
  const expected = await Promise.all(QUESTIONS.map(async question => (await readAll(await stream(client, question))).text))
  const tally: Tally = { whole: 0, broken: 0, wrong: 0, lostSlots: 0, fallen: 0, hung: 0 }
  const workers = () => running.gateway.pools[0]!.status().models[0]!.workers
  let counted = 0
  for (let round = 0; round < rounds; round++) {
    const calls = Array.from({ length: PARALLEL }, (_, at) => outcomeOf(client, at % QUESTIONS.length, expected))
    await wait(random() * 150)
    const victims = workers().filter(({ state, pid }) => state === 'ready' && pid !== null)
    const victim = victims[Math.floor(random() * victims.length)]
    if (victim !== undefined) process.kill(victim.pid!, SIGNALS[round % SIGNALS.length]!)
    for (const outcome of await Promise.all(calls)) tally[outcome]++
    if (!await eventually(() => workers().every(({ busySlots }) => busySlots === 0))) tally.lostSlots++
    const now = await running.metric('torchgate_output_tokens_total') + await running.metric('torchgate_requests_total')
    if (now < counted) tally.fallen++
    counted = now
  }
  if (!await eventually(() => workers().every(({ state, busySlots }) => state === 'ready' && busySlots === 0), 20_000)) tally.lostSlots++
  tally.hung = await running.metric('torchgate_worker_restarts_total', { reason: 'hung' })
  return tally
}

type Question = (typeof QUESTIONS)[number]

const stream = (client: OpenAI, question: Question) => client.chat.completions.create({ ...question, stream: true })

async function outcomeOf (client: OpenAI, at: number, expected: readonly string[]): Promise<'whole' | 'broken' | 'wrong'> {
  const whole = expected[at]!
  let text = ''
  try {
    let finish: string | null = null
    for await (const { choices } of await stream(client, QUESTIONS[at]!)) {
      text += choices[0]?.delta.content ?? ''
      finish = choices[0]?.finish_reason ?? finish
    }
    return text === whole && finish !== null ? 'whole' : 'wrong'
  } catch (thrown) {
    const said = (thrown as { code?: unknown }).code === 'worker_crashed'
    return said && whole.startsWith(text) ? 'broken' : 'wrong'
  }
}
