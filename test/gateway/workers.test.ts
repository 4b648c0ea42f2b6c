/** Workers die; callers are told the truth. */
import type OpenAI from 'openai'
import { test } from 'tap'
import { ask, eventually, pilotPool, readAll, startGateway } from './harness.ts'

test('a worker is killed under 20 streams', { timeout: 60_000 }, async t => {
  const running = await startGateway(t, `
backends:${pilotPool(4, 2)}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: default }]
`)
  const client = await running.client('default')
  const whole = (await client.chat.completions.create(ask('Count from 1 to 40'))).choices[0]!.message.content
  const before = await running.metric('torchgate_output_tokens_total')
  const status = () => running.gateway.pools[0]!.status().models[0]!
  const victim = status().workers[0]!.pid!

  let begun = 0
  const streams = Array.from({ length: 20 }, async () => {
    const stream = await client.chat.completions.create({ ...ask('Count from 1 to 40'), stream: true })
    if (++begun === 4) process.kill(victim, 'SIGKILL')
    return readAll(stream)
  })
  const ends = await Promise.allSettled(streams)
  t.ok(begun >= 4, 'the worker was killed in the middle')
  t.same(ends, ends.map(() => ({ status: 'fulfilled', value: { text: whole, finish: 'stop' } })), 'every stream is whole, those of the dead worker too')

  t.ok(await eventually(() => status().workers.every(({ state, busySlots }) => state === 'ready' && busySlots === 0)), 'restarted, and no slot is lost')
  t.ok(status().workers[0]!.pid !== victim)
  t.equal(await running.metric('torchgate_worker_restarts_total'), 1)
  t.ok(await running.metric('torchgate_output_tokens_total') >= before, 'no counter fell')
  t.equal((await client.chat.completions.create(ask('What is the capital of France?'))).choices[0]!.message.content, 'The capital of France is Paris.')
})

test('a worker that dies before the first content costs the caller nothing', { timeout: 60_000 }, async t => {
  const running = await startGateway(t, `
backends:${pilotPool(1, 1)}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: default }]
`)
  const client = await running.client('default')
  process.kill(running.gateway.pools[0]!.status().models[0]!.workers[0]!.pid!, 'SIGKILL')
  const { data, response } = await client.chat.completions.create(ask('What is the capital of France?')).withResponse()
  t.equal(data.choices[0]!.message.content, 'The capital of France is Paris.')
  t.equal(response.status, 200)
})

test('a stream goes on at another worker, once; the record tells of both', { timeout: 60_000 }, async t => {
  const running = await startGateway(t, `
backends:${pilotPool(1, 2)}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: default }]
`)
  const client = await running.client('default')
  const question = { ...ask('Count from 1 to 40'), stream: true as const, stream_options: { include_usage: true } }
  const workers = () => running.gateway.pools[0]!.status().models[0]!.workers
  const killBusy = () => { process.kill(workers().find(({ busySlots }) => busySlots > 0)!.pid!, 'SIGKILL') }
  const collect = async (deaths: number) => {
    const chunks: OpenAI.Chat.ChatCompletionChunk[] = []
    for await (const chunk of await client.chat.completions.create(question)) {
      chunks.push(chunk)
      if (deaths > 0 && chunks.length % 15 === 10) {
        deaths--
        killBusy()
      }
    }
    return chunks
  }
  const textOf = (chunks: OpenAI.Chat.ChatCompletionChunk[]) => chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')
  const undisturbed = await collect(0)
  const disturbed = await collect(1)
  t.equal(textOf(disturbed), textOf(undisturbed))
  t.equal(new Set(disturbed.map(({ id, created }) => `${id} ${created}`)).size, 1, 'it stays one answer')
  t.equal(disturbed.filter(({ choices }) => choices[0]?.delta.role !== undefined).length, 1, 'with one role')
  t.match(disturbed.at(-1)!.usage, { prompt_tokens: undisturbed.at(-1)!.usage!.prompt_tokens, completion_tokens: undisturbed.at(-1)!.usage!.completion_tokens })
  t.notOk(JSON.stringify(disturbed).includes('torchgate'), 'marks stay inside')
  t.match((await running.records(2)).at(-1), { outcome: 'ok', attempts: [{ error: 'worker_crashed' }, { error: null }] })
  t.equal(await running.metric('torchgate_midstream_failures_total', { action: 'continued' }), 1)

  t.ok(await eventually(() => workers().every(({ state }) => state === 'ready'), 20_000))
  await t.rejects(collect(2), { code: 'worker_crashed', message: /It is the second worker/ })
  t.match((await running.records(3)).at(-1), { error: 'worker_crashed', attempts: [{ error: 'worker_crashed' }, { error: 'worker_crashed' }] })
  t.equal(await running.metric('torchgate_midstream_failures_total', { action: 'surfaced' }), 1)
  t.ok(await eventually(() => workers().every(({ busySlots }) => busySlots === 0)))
})

test('a stream of a raw prompt goes on at another worker too', { timeout: 60_000 }, async t => {
  const running = await startGateway(t, `
backends:${pilotPool(1, 2)}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: default }]
`)
  const client = await running.client('default')
  const question = { model: 'pilot', prompt: 'Count from 1 to 40', max_tokens: 40, temperature: 0, stream: true as const }
  const collect = async (death: boolean): Promise<{ text: string, ids: number }> => {
    const chunks: OpenAI.Completion[] = []
    for await (const chunk of await client.completions.create(question)) {
      if (chunks.push(chunk) === 10 && death) process.kill(running.gateway.pools[0]!.status().models[0]!.workers.find(({ busySlots }) => busySlots > 0)!.pid!, 'SIGKILL')
    }
    return { text: chunks.map(({ choices }) => choices[0]?.text ?? '').join(''), ids: new Set(chunks.map(({ id }) => id)).size }
  }
  const undisturbed = await collect(false)
  t.same(await collect(true), undisturbed)
  t.equal(undisturbed.ids, 1)
  t.match((await running.records(2)).at(-1), { outcome: 'ok', attempts: [{ error: 'worker_crashed' }, { error: null }] })
})
