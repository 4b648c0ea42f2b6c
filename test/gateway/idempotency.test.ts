/** Calls with an Idempotency-Key: one that was answered is not made again. */
import { randomUUID } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import type { ErrorBody } from '../../src/errors.ts'
import { openGateway } from '../../src/gateway.ts'
import { ask, eventually, startGateway, type Running } from './harness.ts'
import { startProvider } from './provider.ts'
import { converse } from './script.ts'

const yaml = (providerUrl: string, more = '') => `
${more}
backends: [{ name: cloud, kind: openai, baseUrl: '${providerUrl}', locality: cloud }]
models: [{ name: chat, targets: [{ backend: cloud, model: big }] }]
tenants: [{ name: keeps, idempotency: true, storeFiles: true }, { name: other, idempotency: true }, { name: plain }]
`
const MARKER = 'MARKER-9f3e'

async function start (t: Test, more?: string) {
  const cloud = await startProvider(t)
  const running = await startGateway(t, yaml(cloud.url, more))
  return { cloud, running, keeps: caller(running, await running.key('keeps')) }
}

function caller (running: Running, key: string) {
  return async (body: object, idempotencyKey: string | null, { path = '/v1/chat/completions', ...more }: Record<string, string> = {}) => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...idempotencyKey !== null && { 'idempotency-key': idempotencyKey }, ...more }
    const response = await fetch(running.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, error: () => (JSON.parse(text) as ErrorBody).error }
  }
}

test('the same key and request give the same answer, streamed and not, in every dialect, and ask no model twice', async t => {
  const { cloud, running, keeps } = await start(t)
  const stream = { ...ask('Hi', 'chat'), stream: true }
  const cases: [string, object][] = [
    ['/v1/chat/completions', ask('Hi', 'chat')], ['/v1/chat/completions', stream], ['/v1/messages', { ...stream, max_tokens: 9 }],
    ['/v1/responses', { model: 'chat', input: 'Hi' }]
  ]
  for (const [path, body] of cases) {
    const key = randomUUID()
    const before = cloud.seen.requests.length
    const first = await keeps(body, key, { path })
    const again = await keeps(body, key, { path })
    t.same([first.status, again.status], [200, 200], first.text)
    t.equal(again.text, first.text, path)
    t.equal(again.headers.get('content-type'), first.headers.get('content-type'))
    t.same([first.headers.get('idempotent-replayed'), again.headers.get('idempotent-replayed')], [null, 'true'])
    t.equal(again.headers.get('x-torchgate-original-request-id'), first.headers.get('x-request-id'))
    t.not(again.headers.get('x-request-id'), first.headers.get('x-request-id'))
    t.equal(cloud.seen.requests.length, before + 1)
  }
  const records = await running.records(2 * cases.length)
  t.ok(records.every(({ outcome }) => outcome === 'ok'), 'each is a call with a record')
  t.same(records.map(({ attempts, usage }) => [(attempts as unknown[]).length, usage === null]), cases.flatMap(() => [[1, false], [0, true]]))
})

test('a key belongs to one request of one tenant', async t => {
  const { cloud, running, keeps } = await start(t)
  const other = caller(running, await running.key('other'))
  await keeps(ask('Hi', 'chat'), 'k1')
  for (const [body, more] of [[ask('Ho', 'chat'), {}], [ask('Hi', 'chat'), { 'x-torchgate-class': 'internal' }], [{ ...ask('Hi', 'chat'), prompt: 'Hi' }, { path: '/v1/completions' }]] as const) {
    const { status, error, headers } = await keeps(body, 'k1', more)
    t.same([status, error().code], [422, 'idempotency_key_reused'])
    t.equal(headers.get('x-should-retry'), null)
  }
  t.equal(cloud.seen.requests.length, 1)
  const theirs = await other(ask('Hi', 'chat'), 'k1')
  t.same([theirs.status, theirs.headers.get('idempotent-replayed')], [200, null])
  t.equal(cloud.seen.requests.length, 2)
  for (const key of ['', 'a b', 'a'.repeat(256), 'é']) t.match((await keeps(ask('Hi', 'chat'), key)).error(), { code: 'invalid_value', param: 'Idempotency-Key' }, key)
})

test('where nothing is given again a key is refused, and nothing is done', async t => {
  const { running, cloud } = await start(t)
  const key = await running.key('keeps')
  const headers = { authorization: `Bearer ${key}`, 'idempotency-key': 'k1' }
  const form = new FormData()
  form.set('purpose', 'batch')
  form.set('file', new Blob(['{}']), 'a.jsonl')
  const refusals = [
    await fetch(`${running.url}/v1/files`, { method: 'POST', headers, body: form }),
    await fetch(`${running.url}/v1/batches`, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body: '{}' })
  ]
  for (const refused of refusals) t.match({ status: refused.status, body: await refused.json() }, { status: 400, body: { error: { code: 'unsupported_parameter', param: 'Idempotency-Key' } } })
  await t.rejects(converse(t, running.url, key, { 'idempotency-key': 'k1' }), { status: 400, message: /not supported for WebSockets/ })
  t.equal(cloud.seen.requests.length, 0)
})

test('while it is answered the key is in use; of parallel calls one is made', async t => {
  const { cloud, keeps } = await start(t)
  cloud.behave = { do: 'answer', words: ['a ', 'b ', 'c'], gapMs: 150 }
  const body = { ...ask('Hi', 'chat'), stream: true }
  const all = await Promise.all(Array.from({ length: 10 }, () => keeps(body, 'k')))
  t.same(all.map(({ status }) => status).toSorted(), [200, ...Array.from({ length: 9 }, () => 409)])
  const refused = all.find(({ status }) => status === 409)!
  t.equal(refused.error().code, 'idempotency_key_in_use')
  t.equal(refused.headers.get('retry-after'), '1', 'SDKs try again by themselves')
  t.equal(refused.headers.get('x-should-retry'), null)
  t.equal(cloud.seen.requests.length, 1)
  t.equal((await keeps(body, 'k')).headers.get('idempotent-replayed'), 'true')
})

test('what failed, broke off or was left leaves the key free', async t => {
  const { cloud, running, keeps } = await start(t)
  const stream = { ...ask('Hi', 'chat'), stream: true }
  cloud.behave = { do: 'status', status: 400, body: { error: { message: 'No.', type: 'invalid_request_error', code: 'bad', param: null } } }
  t.equal((await keeps(ask('Hi', 'chat'), 'a')).status, 400)
  t.equal((await keeps({ ...ask('Hi', 'nope') }, 'c')).status, 404)
  cloud.behave = { do: 'break', after: 2 }
  t.match((await keeps(stream, 'b')).text, 'backend_interrupted')
  cloud.behave = { do: 'answer', words: Array.from({ length: 100 }, () => 'word '), gapMs: 20 }
  const headers = { authorization: `Bearer ${await running.key('keeps')}`, 'content-type': 'application/json', 'idempotency-key': 'd' }
  const left = await fetch(`${running.url}/v1/chat/completions`, { method: 'POST', headers, body: JSON.stringify(stream) })
  await left.body!.cancel()
  await running.records(4)
  cloud.behave = { do: 'answer' }
  for (const [body, key] of [[ask('Hi', 'chat'), 'a'], [stream, 'b'], [ask('Hi', 'chat'), 'c'], [stream, 'd']] as const) {
    t.ok(await eventually(async () => (await keeps(body, key)).status === 200), key)
  }
})

test('keys outlive the gateway; what is too large is given once; others keep nothing and are told', async t => {
  const { cloud, running } = await start(t, 'idempotency: { maxBytes: 1024 }')
  const kept = await running.key('keeps')
  const keeps = caller(running, kept)
  cloud.behave = { do: 'answer', words: [MARKER] }
  await keeps(ask('Hi', 'chat'), 'small')
  cloud.behave = { do: 'answer', words: ['x'.repeat(2000)] }
  t.equal((await keeps(ask('Hi', 'chat'), 'large')).status, 200)
  const large = await keeps(ask('Hi', 'chat'), 'large')
  t.same([large.status, large.error().code, large.headers.get('x-should-retry')], [409, 'idempotency_answer_too_large', 'false'])

  cloud.behave = { do: 'answer', words: ['SECRET-plain'] }
  const plain = caller(running, await running.key('plain'))
  const [once, twice] = [await plain(ask('Hi', 'chat'), 'p'), await plain(ask('Ho', 'chat'), 'p')]
  t.same([once.status, twice.status], [200, 200])
  t.match(once.headers.get('x-torchgate-warning'), 'Idempotency-Key has no effect')
  t.equal((await plain(ask('Hi', 'chat'), null)).headers.get('x-torchgate-warning'), null)
  const folder = join(running.folder, 'data')
  const onDisk = readdirSync(folder).filter(name => name.startsWith('torchgate.db')).map(name => readFileSync(join(folder, name)).toString('latin1')).join('')
  t.match(onDisk, MARKER)
  t.notMatch(onDisk, 'SECRET-plain')
  t.notMatch(onDisk, 'xxxxxxxx')

  await running.gateway.close(AbortSignal.abort())
  const { config, revision } = loadConfig(join(running.folder, 'torchgate.yaml'), { env: {} })
  const gateway = await openGateway(config, { env: {}, revision })
  t.teardown(() => gateway.close(AbortSignal.abort()))
  const headers = { authorization: `Bearer ${kept}`, 'content-type': 'application/json', 'idempotency-key': 'small' }
  const after = await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers, body: JSON.stringify(ask('Hi', 'chat')) })
  t.same([after.status, after.headers.get('idempotent-replayed')], [200, 'true'])
  t.match(await after.text(), MARKER)
})
