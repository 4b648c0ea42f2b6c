import { test, type Test } from 'tap'
import { Pool } from 'undici'
import type { AzureBackendConfig } from '../../src/config/schema.ts'
import { createAzureBackend } from '../../src/backends/azure.ts'
import type { ChatRequest } from '../../src/wire/chat.ts'
import { problemsOf } from '../config/sample.ts'
import { answers, chunk, COMPLETION, DONE, event, HELLO, PATIENT, startProvider, STOP, streams, textOf, type Script } from './provider.ts'

const options = { signal: new AbortController().signal, boundary: 'cloud', callId: 'call-7', isolation: 'acme' } as const
const request = { model: 'my gpt', messages: [{ role: 'user', content: 'hi' }] } satisfies ChatRequest

async function meet (t: Test, script: Script, config: Partial<AzureBackendConfig> = {}) {
  const provider = await startProvider(script)
  const pool = new Pool(provider.origin, { connections: 4 })
  const backend = createAzureBackend({
    name: 'az', kind: 'azure', baseUrl: `${provider.origin}/`, locality: 'cloud', api: 'v1', headers: {}, connections: 4, allowInsecure: false, timeouts: PATIENT, ...config
  }, { dial: () => pool, apiKey: 'az-0123456789abcdef' })
  t.teardown(async () => { await pool.destroy(); await provider.close() })
  return { provider, backend }
}

test('at v1 the deployment is the model of the body, and the key goes in api-key alone', async t => {
  const { provider, backend } = await meet(t, answers(200, COMPLETION))
  t.equal(await textOf(await backend.chat(request, options)), COMPLETION)
  const [sent = ''] = provider.requests
  t.match(sent, /^POST \/openai\/v1\/chat\/completions HTTP/)
  t.match(sent, /\r\napi-key: az-0123456789abcdef\r\n/)
  t.notMatch(sent, /authorization/i)
  t.match(JSON.parse(sent.split('\r\n\r\n')[1]!), request)
})

test('an api-version is sent where one is configured', async t => {
  const { provider, backend } = await meet(t, answers(200, COMPLETION), { apiVersion: 'preview' })
  await backend.chat(request, options)
  t.match(provider.requests[0], /^POST \/openai\/v1\/chat\/completions\?api-version=preview HTTP/)
})

test('as deployments, each has a place of its own, with the api-version', async t => {
  const { provider, backend } = await meet(t, answers(200, COMPLETION), { api: 'deployments', apiVersion: '2024-10-21' })
  await backend.chat(request, options)
  t.match(provider.requests[0], /^POST \/openai\/deployments\/my%20gpt\/chat\/completions\?api-version=2024-10-21 HTTP/)
})

test('what Azure says of its content filter before the first content is no content', async t => {
  const filtered = event({ id: '', object: '', created: 0, model: '', choices: [], prompt_filter_results: [{ prompt_index: 0, content_filter_results: { hate: { filtered: false, severity: 'safe' } } }] })
  const role = chunk({ role: 'assistant', content: '' })
  const { provider, backend } = await meet(t, () => {})
  for (const size of [1, 13, Infinity]) {
    provider.script = streams(filtered + role + HELLO + STOP + DONE, size)
    t.equal(await textOf(await backend.chat({ ...request, stream: true }, options)), filtered + role + HELLO + STOP + DONE)
  }
  provider.script = streams(filtered)
  await t.rejects(backend.chat({ ...request, stream: true }, options), { code: 'backend_interrupted', fallback: true })
})

test('a prompt that its filter refuses is the caller\'s to hear; a wrong key is not', async t => {
  const { provider, backend } = await meet(t, answers(400, '{"error":{"message":"The response was filtered.","type":null,"param":"prompt","code":"content_filter","status":400}}'))
  await t.rejects(backend.chat(request, options), { code: 'rejected_by_backend', status: 400, fallback: false })
  provider.script = answers(401, '{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}')
  await t.rejects(backend.chat(request, options), { code: 'backend_auth_failed', fallback: true })
})

test('a configuration that cannot work is told', async t => {
  const file = (more: string) => `backends:\n  - { name: a, kind: azure, ${more} }\nmodels:\n  - { name: m, targets: [{ backend: a, model: x }] }\ntenants:\n  - { name: acme, class: public }\n`
  t.same(problemsOf(file('baseUrl: "https://a.openai.azure.com", locality: cloud')), [])
  t.match(problemsOf(file('baseUrl: "https://a.openai.azure.com", locality: domain')).join(), /expected cloud, because a\.openai\.azure\.com is a third party/)
  t.match(problemsOf(file('baseUrl: "https://a.openai.azure.com/openai/v1", locality: cloud')).join(), /expected nothing of \/openai/)
  t.match(problemsOf(file('baseUrl: "https://a.openai.azure.com", locality: cloud, api: deployments')).join(), /apiVersion: missing; expected a version such as 2024-10-21/)
  t.match(problemsOf(file('baseUrl: "https://a.openai.azure.com", locality: cloud, api: deployments, apiVersion: "2024-10-21", responses: true')).join(), /responses: expected false, or api: v1/)
})
