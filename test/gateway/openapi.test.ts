/** The description of the API, against the API. */
import { Ajv2020 } from 'ajv/dist/2020.js'
import { test } from 'tap'
import { templateOf } from '../../src/http/openapi/document.ts'
import { ROUTES } from '../../src/http/openapi/routes.ts'
import { ask, pilotPool, startGateway } from './harness.ts'
import { startProvider } from './provider.ts'
import { errorOf, talk } from './raw.ts'

interface Operation { readonly summary: string, readonly security?: unknown[], readonly responses: Record<string, { content: Record<string, { schema?: { $ref: string }, itemSchema?: { $ref: string } }> }> }
interface Described { readonly openapi: string, readonly paths: Record<string, Record<string, Operation>> }

test('every route is described, every description is a route, and real answers are as described', { timeout: 60_000 }, async t => {
  const cloud = await startProvider(t)
  const running = await startGateway(t, `
backends:
  ${pilotPool(1)}
  - { name: cloud, kind: openai, baseUrl: '${cloud.url}', locality: cloud }
models:
  - { name: pilot, targets: [{ backend: pool, model: pilot }] }
  - { name: big, targets: [{ backend: cloud, model: big }] }
tenants: [{ name: default, storeResponses: true, storeFiles: true }]
`)
  const key = await running.key('default')
  const described = await (await fetch(`${running.url}/openapi.json`)).json() as Described
  t.match(described.openapi, /^3\.1\./)
  const there = Object.entries(described.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, { summary }]) => ({ route: `${method.toUpperCase()} ${path}`, summary })))
  t.same(there.filter(({ summary }) => summary === '').map(({ route }) => route), [], 'routes to be described in src/http/openapi/routes.ts')
  t.same(there.map(({ route }) => route).toSorted(), Object.keys(ROUTES).map(route => templateOf(route)).toSorted())
  t.notMatch(JSON.stringify(described), /pilot|default"?:? ?"?tenant|127\.0\.0\.1/, 'nothing of this installation')
  const open = there.filter(({ route }) => {
    const [method, path] = route.split(' ') as [string, string]
    return described.paths[path]![method.toLowerCase()]!.security?.length === 0
  })
  t.same(open.map(({ route }) => route).toSorted(), ['GET /openapi', 'GET /openapi.json'], 'all others want a key')

  const ajv = new Ajv2020({ strict: false, allErrors: true })
  ajv.addSchema(described, 'api')
  const holds = (reference: string, value: unknown, what: string) => {
    const validate = ajv.getSchema(`api${reference}`)!
    t.ok(validate(value), `${what}: ${ajv.errorsText(validate.errors)}`)
  }
  const call = async (method: string, path: string, body?: object, template = path) => {
    const headers = { authorization: `Bearer ${key}`, ...body !== undefined && { 'content-type': 'application/json' } }
    const response = await fetch(running.url + path, { method, headers, ...body !== undefined && { body: JSON.stringify(body) } })
    const operation = described.paths[template]![method.toLowerCase()]!
    const { content } = operation.responses[response.ok ? '200' : 'default']!
    const said = await response.text()
    if (response.headers.get('content-type')!.startsWith('text/event-stream')) {
      const events = said.split('\n').filter(line => line.startsWith('data: {')).map(line => JSON.parse(line.slice(6)) as object)
      t.ok(events.length > 1)
      for (const event of events) holds(content['text/event-stream']!.itemSchema!.$ref, event, path)
      return {}
    }
    const value = JSON.parse(said) as Record<string, unknown>
    holds(content['application/json']!.schema!.$ref, value, `${method} ${path} ${response.status}`)
    return { status: response.status, value }
  }

  for (const model of ['pilot', 'big']) {
    for (const stream of [false, true]) {
      await call('POST', '/v1/chat/completions', { ...ask('Hi', model), max_tokens: 4, stream })
      await call('POST', '/v1/messages', { ...ask('Hi', model), max_tokens: 4, stream })
      await call('POST', '/v1/responses', { model, input: 'Hi', max_output_tokens: 16, stream })
    }
  }
  const { value: response } = await call('POST', '/v1/responses', { model: 'pilot', input: 'Hi', max_output_tokens: 16 })
  const id = response!['id'] as string
  await call('GET', `/v1/responses/${id}`, undefined, '/v1/responses/{id}')
  await call('GET', `/v1/responses/${id}/input_items`, undefined, '/v1/responses/{id}/input_items')
  await call('DELETE', `/v1/responses/${id}`, undefined, '/v1/responses/{id}')
  t.equal((await call('GET', `/v1/responses/${id}`, undefined, '/v1/responses/{id}')).status, 404)
  await call('POST', '/v1/responses/input_tokens', { model: 'pilot', input: 'Hi' })
  await call('POST', '/v1/messages/count_tokens', ask('Hi'))
  await call('POST', '/v1/completions', { model: 'pilot', prompt: 'Hi', max_tokens: 2 })
  for (const encoding_format of ['float', 'base64']) await call('POST', '/v1/embeddings', { model: 'pilot', input: ['a', 'b'], encoding_format })
  await call('POST', '/tokenize', { model: 'pilot', content: 'Hi' })
  await call('POST', '/detokenize', { model: 'pilot', tokens: [1, 2] })
  await call('GET', '/v1/models')
  await call('GET', '/v1/models/pilot', undefined, '/v1/models/{model}')
  await call('GET', '/v1/files')
  await call('GET', '/v1/batches')
  t.equal((await call('POST', '/v1/messages', { model: 'pilot' })).status, 400)
  t.equal((await call('POST', '/v1/chat/completions', { model: 'pilot' })).status, 400)
})

test('the page has no script, loads nothing, and may do nothing', async t => {
  const cloud = await startProvider(t)
  const running = await startGateway(t, `
backends: [{ name: cloud, kind: openai, baseUrl: '${cloud.url}', locality: cloud }]
models: [{ name: big, targets: [{ backend: cloud, model: big }] }]
tenants: [{ name: default }]
`)
  const { answers: [page] } = await talk(running.url, 'GET /openapi HTTP/1.1\r\nHost: x\r\n\r\n')
  t.equal(page!.status, 200)
  t.match(page!.headers['content-type'], /^text\/html/)
  t.match(page!.headers['content-security-policy'], /^default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/)
  const tags = [...page!.body.matchAll(/<[^>]*>/g)].map(([tag]) => tag)
  t.ok(tags.length > 100)
  t.same(tags.filter(tag => /^<(script|link|img|iframe|object|embed|base|form)|\s(src|on\w+|style)\s*=|https?:/i.test(tag)), [])
  t.notMatch(/<style>([^]*)<\/style>/.exec(page!.body)![1], /@import|url\(/)
  t.same([...page!.body.matchAll(/href="([^"]*)"/g)].map(([, to]) => to), ['/openapi.json'])
  t.match(page!.body, '/v1/chat/completions')
  const { answers: [wrong] } = await talk(running.url, 'POST /openapi.json HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n')
  t.same([wrong!.status, errorOf(wrong!).code], [405, 'method_not_allowed'])
})
