/** Bad input, and what every answer has on its outside. */
import { core, exact, type Check } from '../check.ts'
import { expect, NotServed, show, type Json, type Reply } from '../server.ts'
import { asks, PATH } from './chat.ts'

/** An error object as SDKs read it. */
function refused (reply: Reply, statuses: readonly number[], more: { readonly param?: string, readonly code?: string } = {}): Json {
  expect(statuses.includes(reply.status), `${reply.status} ${show(reply.text)}`)
  expect(reply.headers.get('content-type')?.startsWith('application/json') === true, `content-type ${reply.headers.get('content-type')}`)
  const { error } = reply.json()
  const isText = (value: unknown) => value === null || typeof value === 'string'
  expect(typeof error?.message === 'string' && typeof error.type === 'string' && isText(error.param) && isText(error.code), show(reply.text))
  for (const [name, value] of Object.entries(more)) expect(error[name] === value, `${name} ${show(error[name])} instead of ${show(value)}`)
  return error
}

/** Parameters that cannot be, and the one that is named. */
const BAD: readonly (readonly [string, Json, string])[] = [
  ['temperature-high', { temperature: 3 }, 'temperature'],
  ['temperature-text', { temperature: '1' }, 'temperature'],
  ['top-p', { top_p: 2 }, 'top_p'],
  ['penalty', { presence_penalty: 9 }, 'presence_penalty'],
  ['max-tokens-0', { max_tokens: 0 }, 'max_tokens'],
  ['n-0', { n: 0 }, 'n'],
  ['stop-5', { stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
  ['no-messages', { messages: undefined }, 'messages'],
  ['empty-messages', { messages: [] }, 'messages'],
  ['top-logprobs-alone', { top_logprobs: 2 }, 'top_logprobs'],
  ['tool-choice-alone', { tool_choice: 'required' }, 'tool_choice'],
  ['reasoning-effort', { reasoning_effort: 'enormous' }, 'reasoning_effort'],
  ['no-model', { model: undefined }, 'model']
]

export const ERRORS: readonly Check[] = [
  core('errors.no-key', 'without a key: 401', async server => {
    const reply = await server.post(PATH, asks(server), { key: null })
    if (reply.status === 200) throw new NotServed('keys are not asked for')
    refused(reply, [401])
  }),
  core('errors.wrong-key', 'a wrong key: 401 invalid_api_key, before the body is looked at, and never said again', async server => {
    const reply = await server.post(PATH, undefined, { key: 'sk-wrong-wrong-wrong-wrong', raw: '{' })
    if (server.target.key === '') throw new NotServed('keys are not asked for')
    refused(reply, [401], { code: 'invalid_api_key' })
    expect(!reply.text.includes('sk-wrong-wrong-wrong-wrong'), 'the key is in the message')
  }),
  core('errors.bodies', 'no JSON, nothing, null, a list: 400', async server => {
    for (const raw of ['{', '', 'null', '[]', '"text"']) refused(await server.post(PATH, undefined, { raw }), [400])
  }),
  core('errors.content-type', 'what does not say that it is JSON: 400 or 415', async server => {
    refused(await server.post(PATH, asks(server), { headers: { 'content-type': 'text/plain' } }), [400, 415])
  }),
  core('errors.unknown-model', 'a model that is not there: 404 model_not_found, param model; nothing takes its place', async server => {
    refused(await server.post(PATH, asks(server, { model: 'no-such-model' })), [404], { param: 'model', code: 'model_not_found' })
    refused(await server.post(PATH, asks(server, { model: 'no-such-model', stream: true })), [404], { param: 'model', code: 'model_not_found' })
  }),
  ...BAD.map(([name, bad, param]) => core(`errors.${name}`, `${JSON.stringify(bad)}: 400 that names ${param}`, async server => {
    const error = refused(await server.post(PATH, asks(server, bad)), [400])
    expect(error.param === param || error.param?.startsWith(`${param}[`), `param ${show(error.param)}`)
  })),
  exact('errors.stream-options-alone', 'stream_options without stream: 400', async server => {
    refused(await server.post(PATH, asks(server, { stream_options: { include_usage: true } })), [400], { param: 'stream_options' })
  }),
  core('errors.role', 'a role that is none: 400', async server => {
    refused(await server.post(PATH, asks(server, { messages: [{ role: 'wizard', content: 'x' }] })), [400])
  }),
  core('errors.tool-unknown', 'a tool_choice that names no tool: 400', async server => {
    refused(await server.post(PATH, asks(server, { tools: [{ type: 'function', function: { name: 'look' } }], tool_choice: { type: 'function', function: { name: 'other' } } })), [400])
  }),
  core('errors.schema', 'a json_schema that is none: 400', async server => {
    refused(await server.post(PATH, asks(server, { response_format: { type: 'json_schema', json_schema: { name: 'x', strict: true, schema: { type: 'nothing' } } } })), [400])
  }),
  core('errors.hostile', '__proto__, lone surrogates and deep nesting are no server error', async server => {
    const deep = `${'['.repeat(5000)}${']'.repeat(5000)}`
    for (const raw of ['{"__proto__":{}}', JSON.stringify(asks(server, {}, 'x')).replace('"x"', '"\\ud800"'), `{"model":${JSON.stringify(server.target.model)},"messages":${deep}}`]) {
      const { status, text } = await server.post(PATH, undefined, { raw })
      expect(status < 500, `${status} ${show(text)}`)
    }
  }),
  core('errors.route', 'a route that is not there: 404 with an error object', async server => {
    refused(await server.post('/no/such/route', {}), [404])
  }),
  core('errors.method', 'a method that is not there: 405 or 404 with an error object', async server => {
    refused(await server.get(PATH), [404, 405])
  }),
  core('wire.query', 'query strings do no harm', async server => {
    const { choices } = await server.ok(`${PATH}?beta=true`, asks(server, { max_tokens: 2 }))
    expect(choices?.length === 1, show(choices))
  }),
  exact('wire.request-id', 'x-request-id on answers, streams and errors, each its own', async server => {
    const ids = [await server.post(PATH, asks(server)), await server.post(PATH, asks(server, { stream: true })), await server.post(PATH, {})].map(({ headers }) => headers.get('x-request-id'))
    expect(ids.every(id => id !== null && id !== '') && new Set(ids).size === 3, show(ids))
  }),
  exact('wire.processing-ms', 'openai-processing-ms is a number', async server => {
    const { headers } = await server.post(PATH, asks(server))
    expect(/^\d+$/.test(headers.get('openai-processing-ms') ?? ''), show(headers.get('openai-processing-ms')))
  })
]
