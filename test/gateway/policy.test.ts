/** Where calls go, and where they never do. */
import { test } from 'tap'
import { ask, eventually, pilotPool, readAll, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'

const grid = (providerUrl: string) => `
backends:${pilotPool()}
  - { name: cloud, kind: openai, baseUrl: '${providerUrl}', locality: cloud, apiKey: { env: CLOUD_KEY }, timeouts: { connectMs: 500, firstTokenMs: 1000, idleMs: 1000 } }
models:
  - { name: chat, targets: [{ backend: cloud, model: big }, { backend: pool, model: pilot }] }
  - { name: near, order: local_first, targets: [{ backend: cloud, model: big }, { backend: pool, model: pilot }] }
  - { name: only-cloud, targets: [{ backend: cloud, model: big }] }
tenants:
  - { name: open, class: public, models: ['*'] }
  - { name: closed, class: restricted, models: [chat, near] }
  - { name: careful, class: confidential, models: [chat, near] }
`
const env = { CLOUD_KEY: 'sk-provider-secret' }

test('two tenants, one public name, two ways', { timeout: 60_000 }, async t => {
  const cloud = await startProvider(t)
  const running = await startGateway(t, grid(cloud.url), env)
  const [open, closed] = [await running.client('open'), await running.client('closed')]

  await t.test('the open tenant reaches the cloud, with the credential of the gateway and not its own', async t => {
    const { data, response } = await open.chat.completions.create(ask('What is the capital of France?', 'chat')).withResponse()
    t.equal(data.choices[0]!.message.content, 'from the cloud')
    t.equal(response.headers.get('x-torchgate-target'), 'cloud/big')
    const { headers, body } = cloud.seen.requests[0]!
    t.equal(headers.authorization, 'Bearer sk-provider-secret')
    t.equal(body['model'], 'big')
    t.equal(headers['x-torchgate-class'], undefined)
  })

  await t.test('the restricted tenant stays here, whatever it says', async t => {
    const before = cloud.seen.bytes
    for (const claimed of [undefined, 'public', 'restricted']) {
      const { data, response } = await closed.chat.completions.create(ask('What is the capital of France?', 'chat'), claimed === undefined ? {} : { headers: { 'x-torchgate-class': claimed } }).withResponse()
      t.equal(data.choices[0]!.message.content, 'The capital of France is Paris.')
      t.equal(response.headers.get('x-torchgate-why'), 'class=restricted;boundary=local;order=listed;eligible=1/2;skip=cloud/big:data_class')
    }
    t.equal(cloud.seen.bytes, before)
  })

  await t.test('a caller may raise the class of one call', async t => {
    const before = cloud.seen.bytes
    const { data } = await open.chat.completions.create(ask('What is the capital of France?', 'chat'), { headers: { 'x-torchgate-class': 'confidential' } }).withResponse()
    t.equal(data.choices[0]!.message.content, 'The capital of France is Paris.')
    t.equal(cloud.seen.bytes, before)
    await t.rejects(open.chat.completions.create(ask('Hi', 'chat'), { headers: { 'x-torchgate-class': 'top-secret' } }), { status: 400, code: 'invalid_value' })
  })

  await t.test('nearest first', async t => {
    t.equal((await open.chat.completions.create(ask('What is the capital of France?', 'near'))).choices[0]!.message.content, 'The capital of France is Paris.')
  })

  await t.test('explain says the same, without sending anything', async t => {
    const before = cloud.seen.bytes
    const told = await running.admin<{ why: string, candidates: { target: string, verdict: string, reason: string | null }[] }>('/admin/v1/explain?tenant=closed&model=chat')
    t.same(told.candidates.map(({ target, verdict, reason }) => [target, verdict, reason]), [['pool/pilot', 'chosen', 'first by order listed'], ['cloud/big', 'rejected', 'data_class']])
    t.equal(told.why, 'class=restricted;boundary=local;order=listed;eligible=1/2;skip=cloud/big:data_class')
    const raised = await fetch(`${running.gateway.adminUrl}/admin/v1/explain`, {
      method: 'POST',
      headers: { authorization: `Bearer ${running.adminKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ tenant: 'open', class: 'confidential', request: ask('Hello', 'chat') })
    })
    t.match(await raised.json(), { class: { floor: 'public', claimed: 'confidential', effective: 'confidential' }, boundary: { effective: 'domain' } })
    t.equal(cloud.seen.bytes, before)
  })

  await t.test('the provider dies in the middle of the run: the local model answers, and metrics tell', async t => {
    cloud.kill()
    for (let call = 0; call < 8; call++) {
      const { data, response } = await open.chat.completions.create(ask('What is the capital of France?', 'chat')).withResponse()
      t.equal(data.choices[0]!.message.content, 'The capital of France is Paris.')
      t.equal(response.headers.get('x-torchgate-target'), 'pool/pilot')
    }
    t.ok(await running.metric('torchgate_fallbacks_total', { from: 'cloud/big', to: 'pool/pilot' }) >= 1)
    await t.rejects(open.chat.completions.create(ask('Hi', 'only-cloud')), { status: 503, code: 'backend_unavailable' })
  })
})

test('fallback before the first content is unseen, after it is an error', { timeout: 60_000 }, async t => {
  const cloud = await startProvider(t)
  const running = await startGateway(t, grid(cloud.url), env)
  const open = await running.client('open')
  const stream = async () => readAll(await open.chat.completions.create({ ...ask('What is the capital of France?', 'chat'), stream: true }))
  // The rest after a failure may still be on.
  const isReady = () => eventually(async () => (await running.admin<{ candidates: { state: string }[] }>('/admin/v1/explain?tenant=open&model=only-cloud')).candidates[0]!.state === 'ready', 10_000)

  for (const behave of [{ do: 'status', status: 500 }, { do: 'status', status: 429 }, { do: 'hang' }, { do: 'break', after: 0 }] as const) {
    t.ok(await isReady(), 'it is asked again')
    cloud.behave = behave
    t.same(await stream(), { text: 'The capital of France is Paris.', finish: 'stop' }, JSON.stringify(behave))
  }
  cloud.behave = { do: 'break', after: 2 }
  t.ok(await isReady())
  await t.rejects(stream(), { code: 'backend_interrupted' })
  cloud.behave = { do: 'status', status: 400, body: { error: { message: 'Bad max_tokens.', type: 'invalid_request_error', code: 'bad_max', param: 'max_tokens' } } }
  await t.rejects(stream(), { status: 400, code: 'bad_max', param: 'max_tokens' }, 'the fault of the caller is not tried elsewhere')
  // Last, because the provider then rests for a minute.
  cloud.behave = { do: 'status', status: 401 }
  t.same(await stream(), { text: 'The capital of France is Paris.', finish: 'stop' }, 'a dead key')
})

test('a restricted tenant with the pool down: 503, and not one byte to the cloud', { timeout: 60_000 }, async t => {
  const cloud = await startProvider(t)
  const running = await startGateway(t, grid(cloud.url).replace('restart: { backoffMs: 20 }', 'restart: { backoffMs: 20, quarantineAfter: 1 }'), env)
  const [closed, careful, open] = [await running.client('closed'), await running.client('careful'), await running.client('open')]
  for (const pool of running.gateway.pools) for (const { workers } of pool.status().models) for (const { pid } of workers) process.kill(pid!, 'SIGKILL')
  t.ok(await eventually(() => running.gateway.pools[0]!.status().models[0]!.workers[0]!.state === 'quarantined'))

  for (const client of [closed, careful]) {
    for (const model of ['chat', 'near']) {
      await t.rejects(client.chat.completions.create(ask('My secret', model)), { status: 503, code: 'no_eligible_target' })
      await t.rejects(client.chat.completions.create({ ...ask('My secret', model), stream: true }), { status: 503, code: 'no_eligible_target' })
    }
  }
  t.same([cloud.seen.connections, cloud.seen.bytes], [0, 0])
  t.equal((await open.chat.completions.create(ask('Hi', 'near'))).choices[0]!.message.content, 'from the cloud', 'the open tenant overflows to the cloud')
})
