/** Structured output as the official client asks for it, from a local model and from a provider, through a whole gateway. */
import OpenAI from 'openai'
import { test } from 'tap'
import { ask, pilotPool, readAll, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

const schema = {
  type: 'object',
  properties: {
    city: { type: 'string', description: 'Its name.', maxLength: 10 },
    size: { enum: ['small', 'large', null] },
    note: { const: null, default: null },
    near: { type: 'array', items: { $ref: '#/$defs/place' }, maxItems: 1 }
  },
  required: ['city', 'size', 'note', 'near'],
  additionalProperties: false,
  $defs: { place: { type: 'object', properties: { km: { type: 'integer', minimum: 0, maximum: 99 } }, required: ['km'], additionalProperties: false } }
}
const format = { type: 'json_schema', json_schema: { name: 'place', description: 'A place.', strict: true, schema } } as const

function isPlace (value: unknown): boolean {
  const { city, size, note, near, ...rest } = value as Record<string, unknown>
  return typeof city === 'string' && city.length <= 10 && ['small', 'large', null].includes(size as string | null) && note === null && Object.keys(rest).length === 0 &&
    Array.isArray(near) && near.every((one: { km: number }) => Number.isInteger(one.km) && one.km >= 0 && one.km <= 99)
}

test('structured output', { timeout: 60_000 }, async t => {
  const provider = await startProvider(t)
  const running = await startGateway(t, `
backends:${pilotPool()}
  - { name: cloud, kind: openai, baseUrl: '${provider.url}', locality: cloud, apiKey: { env: KEY } }
models:
  - { name: pilot, targets: [{ backend: pool, model: pilot }] }
  - { name: either, targets: [{ backend: pool, model: pilot }, { backend: cloud, model: gpt }] }
tenants: [{ name: default }]
`, { KEY: 'sk-test' })
  const client = await running.client('default')

  await t.test('the client parses what a local model answers, whole and streamed, for every choice', async t => {
    const body = { ...ask('Where are you?'), temperature: 1.3, max_tokens: 300, response_format: format }
    const { choices } = await client.chat.completions.parse({ ...body, n: 3, seed: 1 })
    t.equal(choices.length, 3)
    for (const { message, finish_reason: reason } of choices) {
      t.equal(reason, 'stop')
      t.ok(isPlace(message.parsed ?? JSON.parse(message.content!)), message.content!)
    }
    const { text, finish } = await readAll(await client.chat.completions.create({ ...body, seed: 2, stream: true }))
    t.equal(finish, 'stop')
    t.ok(isPlace(JSON.parse(text)), text)
    t.equal(text, (await client.chat.completions.create({ ...body, seed: 2 })).choices[0]!.message.content)
  })

  await t.test('json_object and text are honoured as well', async t => {
    const object = await client.chat.completions.create({ ...ask('JSON please'), response_format: { type: 'json_object' }, max_tokens: 30 })
    t.match(object.choices[0]!.message.content, /^\{/)
    const words = await client.chat.completions.create({ ...ask('What is the capital of France?'), response_format: { type: 'text' } })
    t.equal(words.choices[0]!.message.content, 'The capital of France is Paris.')
  })

  await t.test('an answer that is cut off says so, and the client knows', async t => {
    const body = { ...ask('Where are you?'), max_tokens: 5, response_format: format }
    t.equal((await client.chat.completions.create(body)).choices[0]!.finish_reason, 'length')
    await t.rejects(client.chat.completions.parse(body), /length limit/)
  })

  const odd = { type: 'json_schema' as const, json_schema: { name: 'odd', schema: { type: 'object', properties: { a: { not: { const: null } } } } } }

  await t.test('what a local model cannot be held to is refused where it stands', async t => {
    const refusal = await client.chat.completions.create({ ...ask('Hi'), response_format: odd }).catch((thrown: unknown) => thrown)
    t.match(refusal, { status: 400, code: 'unsupported_value', param: 'response_format.json_schema.schema.properties.a.not', type: 'invalid_request_error' })
    t.ok(refusal instanceof OpenAI.BadRequestError)
  })

  await t.test('another target that may know how gets it as it was written', async t => {
    const { data, response } = await client.chat.completions.create({ ...ask('Hi', 'either'), response_format: odd }).withResponse()
    t.equal(data.choices[0]!.message.content, 'from the cloud')
    t.equal(response.headers.get('x-torchgate-target'), 'cloud/gpt')
    t.strictSame(provider.seen.requests.at(-1)!.body['response_format'], odd)
  })
})

test('a worker that is killed in the middle of an answer costs it nothing of its form', { timeout: 60_000 }, async t => {
  const running = await startGateway(t, `
backends:${pilotPool(1, 2)}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: default }]
`)
  const client = await running.client('default')
  const colours = { type: 'array', items: { enum: ['red', 'green', 'blue'] }, minItems: 25, maxItems: 25 }
  const body = { ...ask('Colours'), temperature: 1, seed: 4, response_format: { type: 'json_schema' as const, json_schema: { name: 'colours', schema: colours } } }
  const whole = (await client.chat.completions.create(body)).choices[0]!.message.content
  const { workers } = running.gateway.pools[0]!.status().models[0]!
  t.equal(workers.length, 2)

  let text = ''
  for await (const { choices } of await client.chat.completions.create({ ...body, stream: true })) {
    const isFirst = text === ''
    text += choices[0]?.delta.content ?? ''
    if (!isFirst || text === '') continue
    const victim = running.gateway.pools[0]!.status().models[0]!.workers.find(({ busySlots }) => busySlots > 0)
    process.kill(victim!.pid!, 'SIGKILL')
  }
  t.equal(text, whole)
  t.equal((JSON.parse(text) as string[]).length, 25)
  t.equal(await running.metric('torchgate_worker_restarts_total'), 1)
})
