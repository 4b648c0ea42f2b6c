/** Every call ends in exactly one record and one settlement, however it ends. */
import { request as httpRequest } from 'node:http'
import { test } from 'tap'
import { ask, eventually, pilotPool, startGateway, type Running } from './harness.ts'
import { startProvider } from './provider.ts'

const yaml = (providerUrl: string) => `
backends:${pilotPool(1)}
  - { name: cloud, kind: openai, baseUrl: '${providerUrl}', locality: cloud, timeouts: { firstTokenMs: 5000 } }
models:
  - { name: pilot, targets: [{ backend: pool, model: pilot }] }
  - { name: chat, targets: [{ backend: cloud, model: big }] }
tenants: [{ name: default, limits: { requestsPerMinute: 1000, tokensPerMinute: 1000000, concurrency: 4 } }]
`

/** POSTs and leaves when told: a raw client, so that leaving means closing the socket. */
async function leave (running: Running, key: string, body: object, when: 'first byte' | 'last byte' | number | Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const call = httpRequest(`${running.url}/v1/chat/completions`, { method: 'POST', agent: false, headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' } }, response => {
    response.on('error', () => {})
    response.on('data', (bytes: Buffer) => {
      if (when === 'first byte' || (when === 'last byte' && bytes.includes('[DONE]'))) call.destroy()
    })
  })
  call.on('error', () => {})
  call.on('close', resolve)
  call.end(JSON.stringify(body))
  if (typeof when === 'number') setTimeout(() => call.destroy(), when)
  if (when instanceof Promise) void when.finally(() => { call.destroy() })
  await promise
}

test('one record, one settlement', { timeout: 60_000 }, async t => {
  const cloud = await startProvider(t)
  const running = await startGateway(t, yaml(cloud.url))
  const key = await running.key('default')
  const client = await running.client('default')
  let expected = 0
  const next = async () => (await running.records(++expected)).at(-1)!
  const slotsFree = () => eventually(() => running.gateway.pools[0]!.status().models[0]!.workers.every(({ busySlots }) => busySlots === 0))
  const long = { ...ask('Count from 1 to 40', 'pilot'), stream: true as const }

  await t.test('the caller leaves before the first token', async t => {
    cloud.behave = { do: 'hang' }
    await leave(running, key, { ...ask('Hi', 'chat'), stream: true }, 100)
    t.match(await next(), { outcome: 'cancelled', error: 'client_closed', status: 499 })
  })

  await t.test('after the first token', async t => {
    cloud.behave = { do: 'answer', words: Array.from({ length: 500 }, () => 'w '), gapMs: 5 }
    await leave(running, key, { ...ask('Hi', 'chat'), stream: true }, 'first byte')
    const record = await next()
    t.match(record, { outcome: 'cancelled' })
    t.ok((record['usage'] as { output_tokens: number }).output_tokens >= 1, 'what was made is counted')
    t.equal(record['usage_estimated'], true)
  })

  await t.test('at the last token: one end, and only one', async t => {
    await leave(running, key, { ...ask('What is the capital of France?'), stream: true }, 'last byte')
    t.match((await next()).outcome, /ok|cancelled/)
  })

  await t.test('while its body is still on the way', async t => {
    const call = httpRequest(`${running.url}/v1/chat/completions`, { method: 'POST', agent: false, headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': 1000 } })
    call.on('error', () => {})
    call.write('{"model":')
    t.ok(await eventually(async () => await running.metric('torchgate_requests_in_flight') === 1))
    call.destroy()
    t.match(await next(), { outcome: 'cancelled', error: 'client_closed', attempts: [], usage: null })
  })

  await t.test('in the queue', async t => {
    const holding = await client.chat.completions.create(long)
    const isQueued = eventually(() => running.gateway.pools[0]!.status().models[0]!.queued === 1)
    await leave(running, key, long, isQueued)
    t.ok(await isQueued, 'it waits')
    for await (const _chunk of holding) { /* to the end */ }
    const records = await running.records(expected += 2)
    t.same(records.slice(-2).map(({ outcome }) => outcome).toSorted(), ['cancelled', 'ok'])
    t.ok(await slotsFree())
  })

  await t.test('refused ones have a record too', async t => {
    await t.rejects(client.chat.completions.create({ ...ask('Hi'), temperature: 9 }), { status: 400, code: 'invalid_value' })
    t.match(await next(), { outcome: 'client_error', error: 'invalid_value', status: 400 })
    const stranger = await fetch(`${running.url}/v1/chat/completions`, { method: 'POST', headers: { authorization: 'Bearer nope', 'content-type': 'application/json' }, body: '{' })
    t.equal(stranger.status, 401)
    t.match(await next(), { outcome: 'client_error', error: 'invalid_api_key', status: 401, tenant: null })
  })

  await t.test('random leaving leaves nothing behind', async t => {
    cloud.behave = { do: 'answer', gapMs: 3 }
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 4 }, (_, index) => leave(running, key, { ...ask('Count from 1 to 20', index % 2 === 0 ? 'pilot' : 'chat'), stream: index < 3 }, Math.floor(Math.random() * 40))))
      // The place is given back a moment after the socket is gone.
      await eventually(async () => await running.metric('torchgate_requests_in_flight') === 0)
    }
    t.ok(await slotsFree())
    const answers = await Promise.all(Array.from({ length: 4 }, () => client.chat.completions.create(ask('What is the capital of France?'))))
    t.equal(answers.length, 4, 'all four places of the tenant are free again')
  })

  await t.test('usage rows and counters say the same', async t => {
    const { totals } = await running.admin<{ totals: { calls: number, input_tokens: number, output_tokens: number }[] }>('/admin/v1/usage')
    const sum = (pick: (row: { calls: number, input_tokens: number, output_tokens: number }) => number) => totals.reduce((total, row) => total + pick(row), 0)
    t.equal(sum(row => row.output_tokens), await running.metric('torchgate_output_tokens_total'))
    t.equal(sum(row => row.input_tokens), await running.metric('torchgate_input_tokens_total'))
    t.equal(sum(row => row.calls), await running.metric('torchgate_requests_total', { tenant: 'default' }))
  })
})

test('limits are exact and settled', { timeout: 60_000 }, async t => {
  const running = await startGateway(t, `
backends:${pilotPool()}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants:
  - { name: few, limits: { requestsPerMinute: 5 } }
  - { name: small, limits: { tokensPerMinute: 1000 } }
  - { name: one, limits: { concurrency: 1 } }
`)
  const [few, small, one] = [await running.client('few'), await running.client('small'), await running.client('one')]
  const settled = await Promise.allSettled(Array.from({ length: 20 }, () => few.chat.completions.create(ask('Hello'))))
  t.equal(settled.filter(({ status }) => status === 'fulfilled').length, 5)
  const refused = settled.find(result => result.status === 'rejected')!.reason
  t.match(refused, { status: 429, code: 'rate_limit_exceeded' })
  t.match(refused.headers.get('retry-after'), /^\d+$/)
  t.equal(refused.headers.get('x-ratelimit-limit-requests'), '5')
  t.equal(await running.metric('torchgate_rate_limit_rejections_total', { tenant: 'few', resource: 'requests' }), 15)

  // 512 output tokens are assumed for each; were they not given back, the second call would not fit.
  for (let call = 0; call < 4; call++) {
    const { response } = await small.chat.completions.create(ask('What is the capital of France?')).withResponse()
    t.ok(Number(response.headers.get('x-ratelimit-remaining-tokens')) < 1000)
  }

  const running1 = await Promise.allSettled(Array.from({ length: 6 }, () => one.chat.completions.create(ask('Count from 1 to 30'))))
  t.equal(running1.filter(({ status }) => status === 'fulfilled').length, 1)
  t.equal((await one.chat.completions.create(ask('Hello'))).object, 'chat.completion')
})
