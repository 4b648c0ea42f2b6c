import { test, type Test } from 'tap'
import { Pool } from 'undici'
import { Keys, type KeyState } from '../../src/backends/keys.ts'
import { createOpenAIBackend } from '../../src/backends/openai.ts'
import type { ChatRequest } from '../../src/wire/chat.ts'
import { answers, COMPLETION, PATIENT, startProvider, type Provider } from './provider.ts'

const options = { signal: new AbortController().signal, boundary: 'cloud', callId: 'call-7', isolation: 'acme' } as const
const request = { model: 'm', messages: [{ role: 'user', content: 'hi' }] } satisfies ChatRequest
const WEST = { name: 'west', secret: 'sk-west-0123456789', weight: 1 }
const EAST = { name: 'east', secret: 'sk-east-0123456789', weight: 1 }

/** A provider that answers each key as `of` says. */
async function meet (t: Test, of: Record<string, [number, string?]>, apiKeys = [WEST, EAST]) {
  const provider = await startProvider((socket, sent) => {
    const [status, wait] = of[keyOf(sent)] ?? [200]
    const headers = { 'content-type': 'application/json', ...wait !== undefined && { 'retry-after': wait } }
    return answers(status, status === 200 ? COMPLETION : `{"error":{"message":"no, not with ${keyOf(sent)}"}}`, headers)(socket, sent)
  })
  const pool = new Pool(provider.origin, { connections: 4 })
  const resting: KeyState[] = []
  const backend = createOpenAIBackend({
    name: 'cloud-a', kind: 'openai', baseUrl: `${provider.origin}/v1`, locality: 'cloud', headers: {}, connections: 4, allowInsecure: false, timeouts: PATIENT
  }, { dial: () => pool, apiKey: null, apiKeys, resting: state => resting.push(state) })
  t.teardown(async () => { await pool.destroy(); await provider.close() })
  return { provider, backend, resting }
}

const keyOf = (sent: string) => /authorization: Bearer (\S+)/.exec(sent)?.[1] ?? 'none'
const asked = ({ requests }: Provider) => requests.map(sent => keyOf(sent).split('-')[1])

test('keys take turns by their weights, and the answer names the one that it came with', async t => {
  const { provider, backend } = await meet(t, {}, [{ ...WEST, weight: 2 }, EAST])
  const named = []
  for (let call = 0; call < 6; call++) named.push((await backend.chat(request, options)).key)
  t.same(named, ['west', 'east', 'west', 'west', 'east', 'west'])
  t.same(asked(provider), named)
})

test('a throttled key rests alone, as long as it was told, and the same call goes on with the next', async t => {
  const { provider, backend, resting } = await meet(t, { [WEST.secret]: [429, '7'] })
  for (let call = 0; call < 3; call++) t.equal((await backend.chat(request, options)).key, 'east')
  t.same(asked(provider), ['west', 'east', 'east', 'east'])
  t.match(backend.availability('m'), { state: 'ready' })
  t.same(backend.keys?.('m'), [{ name: 'west', state: 'down', reason: 'rate_limited', retryAfterS: 7 }, { name: 'east', state: 'ready' }])
  t.same(resting, [{ name: 'west', state: 'down', reason: 'rate_limited', retryAfterS: 7 }])
})

test('a key that is throttled for one model may be well for another; a dead one is dead for all', async t => {
  const { backend } = await meet(t, { [WEST.secret]: [429], [EAST.secret]: [401] })
  await t.rejects(backend.chat(request, options), { code: 'backend_auth_failed' })
  t.match(backend.keys?.('m'), [{ name: 'west', state: 'down', reason: 'rate_limited', retryAfterS: 5 }, { name: 'east', state: 'down' }])
  t.match(backend.keys?.('other'), [{ name: 'west', state: 'ready' }, { name: 'east', state: 'down', reason: 'key_refused' }])
})

for (const status of [401, 402]) {
  test(`a dead key (${status}) rests alone`, async t => {
    const { provider, backend } = await meet(t, { [WEST.secret]: [status] })
    for (let call = 0; call < 2; call++) await backend.chat(request, options)
    t.same(asked(provider), ['west', 'east', 'east'])
    t.match(backend.keys?.('m'), [{ state: 'down', reason: 'key_refused', retryAfterS: 60 }, { state: 'ready' }])
    t.match(backend.availability('m'), { state: 'ready' })
  })
}

test('when all rest the backend does, until the first of them is asked again', async t => {
  const { provider, backend } = await meet(t, { [WEST.secret]: [429, '9'], [EAST.secret]: [429, '4'] })
  await t.rejects(backend.chat(request, options), { code: 'backend_rate_limited', retryAfterS: 4, message: /^cloud-a \(key east\) is rate limited \(429\)/ })
  t.match(backend.availability('m'), { state: 'down', reason: 'rate_limited', retryAfterS: 4 })
  await t.rejects(backend.chat(request, options), { code: 'backend_rate_limited', retryAfterS: 4, message: 'cloud-a: all of its keys rest; the first is asked again in 4 s.' })
  t.equal(provider.requests.length, 2, 'nobody is asked meanwhile')
})

test('a wait of no time does not turn in a circle', async t => {
  const { provider, backend } = await meet(t, { [WEST.secret]: [429, '0'], [EAST.secret]: [429, '0'] })
  await t.rejects(backend.chat(request, options), { code: 'backend_rate_limited' })
  t.equal(provider.requests.length, 2)
})

test('what is not about the key is not tried with another: an error of the provider, a request that it refuses, a 403', async t => {
  for (const status of [500, 400, 403]) {
    const { provider, backend } = await meet(t, { [WEST.secret]: [status] })
    await t.rejects(backend.chat(request, options))
    t.equal(provider.requests.length, 1, String(status))
    t.match(backend.keys?.('m'), [{ state: 'ready' }, { state: 'ready' }])
  }
})

test('no message and no state holds a secret', async t => {
  const { backend, resting } = await meet(t, { [WEST.secret]: [429], [EAST.secret]: [429] })
  const error = await backend.chat(request, options).catch((thrown: unknown) => thrown)
  t.match(error, { message: /key east/ })
  t.notMatch(JSON.stringify([String(error), resting, backend.keys?.('m')]), /0123456789/)
})

test('a key of weight 0 is taken only when no other can be', async t => {
  const keys = new Keys([{ ...WEST, weight: 0 }, EAST])
  const none = new Set<never>()
  t.equal(keys.take('m', 0, none)?.name, 'east')
  t.equal(keys.take('m', 0, none)?.name, 'east')
  t.equal(keys.take('m', 0, new Set([keys.take('m', 0, none)!]))?.name, 'west')
})
