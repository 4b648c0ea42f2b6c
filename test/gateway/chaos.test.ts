/** Longer by hand: `CHAOS_ROUNDS=100 npx tap --timeout=900 test/gateway/chaos.test.ts`. */
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'tap'
import { seeded } from '../seeded.ts'
import { chaos, startChaos } from './chaos.ts'
import { ask, eventually, pilotPool, startGateway } from './harness.ts'

const ROUNDS = Number(process.env['CHAOS_ROUNDS'] ?? 5)

test(`workers are killed, aborted and stopped ${ROUNDS} times under load`, { timeout: 60_000 + ROUNDS * 8000 }, async t => {
  const running = await startChaos(t)
  const tally = await chaos(running, ROUNDS, seeded(20261122))
  t.comment(JSON.stringify(tally))
  t.match(tally, { wrong: 0, lostSlots: 0, fallen: 0 }, 'no wrong answer, no lost slot, no counter that falls')
  t.equal(tally.whole + tally.broken, ROUNDS * 6, 'every stream went on or ended with an error event')
  t.ok(tally.whole >= ROUNDS * 4, 'all go on but those that cannot')
  t.equal(tally.hung, Math.floor(ROUNDS / 5), 'each worker that was stopped was found out')
  t.equal(await running.metric('torchgate_requests_in_flight'), 0)
})

test('three hundred calls cancelled in the queue, in the prompt and in the answer leave every slot free', { timeout: 60_000 }, async t => {
  const running = await startGateway(t, `
backends:${pilotPool(4, 1)}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: default }]
`)
  const client = await running.client('default')
  const random = seeded(7)
  const prompt = `${'Tell me more. '.repeat(100)} Count from 1 to 40`
  const cancelled = await Promise.all(Array.from({ length: 300 }, async (_, at) => {
    await wait(at * 8)
    const controller = new AbortController()
    setTimeout(() => { controller.abort() }, random() * 60)
    try {
      const stream = await client.chat.completions.create({ ...ask(at % 2 === 0 ? prompt : 'Count from 1 to 40'), stream: true }, { signal: controller.signal })
      for await (const _chunk of stream) { /* until it is left */ }
    } catch { /* left before the first content */ }
    return controller.signal.aborted
  }))
  t.ok(cancelled.filter(Boolean).length > 250)
  const model = () => running.gateway.pools[0]!.status().models[0]!
  t.ok(await eventually(() => model().queued === 0 && model().workers.every(({ busySlots }) => busySlots === 0), 20_000), 'no slot is held, nobody waits')
  t.ok(await eventually(async () => await running.metric('torchgate_requests_in_flight') === 0, 20_000))
  t.equal(model().workers[0]!.restarts, 0)
  const answers = await Promise.all(Array.from({ length: 4 }, () => client.chat.completions.create(ask('What is the capital of France?'))))
  t.ok(answers.every(({ choices }) => choices[0]!.message.content === 'The capital of France is Paris.'))
})
