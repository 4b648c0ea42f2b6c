import type OpenAI from 'openai'
import tap, { test, type Test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { readGguf } from '../../src/models/gguf.ts'
import { loadLlama } from '../../src/worker/llama.ts'
import { chat, completion, events, user, workerOnPort, type Failure } from './spawned.ts'

const SLOTS = 4
const { url } = await workerOnPort(tap, '--slots', String(SLOTS), '--context-tokens', '2048')

const PERSON = {
  type: 'object',
  properties: { name: { type: 'string', maxLength: 8 }, age: { type: 'integer', minimum: 0, maximum: 120 }, mood: { enum: ['good', 'bad', null] } },
  required: ['name', 'age', 'mood']
}
const format = (schema: unknown, more: Record<string, unknown> = {}): Record<string, unknown> =>
  ({ response_format: { type: 'json_schema', json_schema: { name: 'answer', schema, ...more } } })
const WEATHER = [{
  type: 'function',
  function: { name: 'get_weather', description: 'Current weather in a city.', parameters: { type: 'object', properties: { city: { type: 'string', maxLength: 12 } }, required: ['city'], additionalProperties: false } }
}]

const { vocabularySize } = readGguf(BUILTIN_MODEL.path)
const engine = await loadLlama({
  path: BUILTIN_MODEL.path, gpu: false, slots: 1, contextTokens: 64, batchTokens: 64, threads: 1, vocabularySize,
  signal: new AbortController().signal, onProgress () {}, log () {}
})

/** A bias towards the tokens of this form. */
function towards (form: RegExp, bias: number): Record<string, unknown> {
  const tokens = Array.from({ length: vocabularySize }, (_, id) => id).filter(id => form.test(engine.detokenize([id], engine.tokenize('a'))))
  if (tokens.length === 0) throw new Error(`The model has no token like ${form}.`)
  return { logit_bias: Object.fromEntries(tokens.map(token => [token, bias])) }
}

interface Chosen { readonly index: number, readonly message: OpenAI.Chat.ChatCompletionMessage, readonly finish_reason: string, readonly logprobs: OpenAI.Chat.ChatCompletion.Choice.Logprobs | null }

async function choices (body: Record<string, unknown>): Promise<Chosen[]> {
  return (await completion(url, { messages: user('Who are you?'), ...body })).choices as unknown as Chosen[]
}

async function choice (body: Record<string, unknown>): Promise<Chosen> { return (await choices(body))[0]! }

function checkPerson (t: Test, content: string | null): void {
  const person = JSON.parse(content!) as Record<string, unknown>
  t.strictSame(Object.keys(person), ['name', 'age', 'mood'])
  t.ok(typeof person['name'] === 'string' && [...person['name']].length <= 8, content!)
  t.ok(Number.isInteger(person['age']) && Number(person['age']) >= 0 && Number(person['age']) <= 120, content!)
  t.ok(['good', 'bad', null].includes(person['mood'] as string | null), content!)
}

test('every one of several hot choices is what a strict schema allows', async t => {
  for (let seed = 0; seed < 3; seed++) {
    const all = await choices({ ...format(PERSON, { strict: true }), n: SLOTS, temperature: 1.5, seed, max_tokens: 200 })
    t.equal(all.length, SLOTS)
    for (const { message, finish_reason: reason } of all) {
      t.equal(reason, 'stop')
      checkPerson(t, message.content)
    }
    t.ok(new Set(all.map(({ message }) => message.content)).size > 1)
  }
})

test('a stream says the same', async t => {
  const body = { ...format(PERSON, { strict: true }), n: 2, temperature: 1, seed: 5, max_tokens: 200 }
  const seen = await events(await chat(url, { messages: user('Who are you?'), ...body, stream: true })) as OpenAI.Chat.ChatCompletionChunk[]
  t.equal(seen.pop() as unknown, '[DONE]')
  const said = ['', '']
  for (const { choices: [part] } of seen) said[part!.index] += part!.delta.content ?? ''
  t.strictSame(said, (await choices(body)).map(({ message }) => message.content))
})

test('json_object gives an object, whatever the model would say', async t => {
  let complete = 0
  const towardsEnds = towards(/^["{}]+$/, 6)
  for (let seed = 0; seed < 4; seed++) {
    for (const { message, finish_reason: reason } of await choices({ ...towardsEnds, response_format: { type: 'json_object' }, n: SLOTS, temperature: 0.8, seed, max_tokens: 60 })) {
      t.match(message.content, /^\{/)
      if (reason !== 'stop') continue
      complete++
      t.type(JSON.parse(message.content!), Object)
    }
  }
  t.ok(complete > 4, `${complete} of 16 are complete`)
})

test('json_object with a schema, as other local servers have it, is held to it', async t => {
  const { message } = await choice({ response_format: { type: 'json_object', schema: { ...PERSON, additionalProperties: false } }, temperature: 1.5, seed: 1, max_tokens: 200 })
  checkPerson(t, message.content)
})

test('only strict closes objects that do not say whether they are closed', async t => {
  const schema = { type: 'object', properties: {}, minProperties: 1 }
  t.match(await choice({ ...format(schema), max_tokens: 4 }), { message: { content: /^\{"/ } })
  t.match(await refusal(format(schema, { strict: true })), { status: 400, code: 'invalid_value', param: 'response_format.json_schema.schema' })
  t.match(await choice({ ...format({ type: 'object', properties: {} }, { strict: true }), max_tokens: 9 }), { message: { content: '{}' }, finish_reason: 'stop' })
})

test('type text, and null, ask for nothing', async t => {
  const plain = await choice({})
  for (const given of [null, { type: 'text' }]) t.equal((await choice({ response_format: given })).message.content, plain.message.content)
})

test('a model that wants nothing but white space comes to an end all the same', async t => {
  const { message, finish_reason: reason } = await choice({
    ...format({ type: 'object', properties: { a: { type: 'array', items: { type: 'integer', minimum: 0, maximum: 9 }, minItems: 3, maxItems: 3 } }, required: ['a'], additionalProperties: false }),
    ...towards(/^\s+$/, 100), max_tokens: 100
  })
  t.match(message.content, /^\{"a": ?\[\d, ?\d, ?\d\]\}$/)
  t.equal(reason, 'stop')
})

test('an answer that is cut at the limit of tokens says so, and one that is cut at a stop string does', async t => {
  const cut = await choice({ ...format({ type: 'string', minLength: 50 }), max_tokens: 5 })
  t.match(cut, { finish_reason: 'length', message: { content: /^"/ } })
  t.throws(() => JSON.parse(cut.message.content!))
  t.match(await choice({ ...format(PERSON, { strict: true }), stop: ['"age"'], max_tokens: 200 }), { finish_reason: 'stop', message: { content: /^\{"name": ?".*", ?$/ } })
})

test('logprobs are those of the answer', async t => {
  const { message, logprobs } = await choice({ ...format(PERSON, { strict: true }), logprobs: true, top_logprobs: 2, temperature: 1.5, seed: 3, max_tokens: 200 })
  checkPerson(t, message.content)
  t.equal(logprobs!.content!.map(({ token }) => token).join(''), message.content)
})

test('with tools the answer is a call or what the form asks for, and nothing else', async t => {
  const body = { ...format(PERSON, { strict: true }), tools: WEATHER, max_tokens: 200 }
  const called = await choice({ ...body, messages: user('What is the weather in Paris?') })
  t.match(called, { finish_reason: 'tool_calls', message: { content: null, tool_calls: [{ function: { name: 'get_weather', arguments: '{"city": "Paris"}' } }] } })
  const reasons = new Set<string>()
  for (let seed = 0; seed < 3; seed++) {
    for (const { message, finish_reason: reason } of await choices({ ...body, n: SLOTS, temperature: 1.5, seed })) {
      reasons.add(reason)
      if (reason === 'tool_calls') t.type((JSON.parse((message.tool_calls![0] as { function: { arguments: string } }).function.arguments) as { city: unknown }).city, 'string')
      else checkPerson(t, message.content)
    }
  }
  t.ok(reasons.has('stop'), 'the model chooses')
  const { message } = await choice({ ...body, tool_choice: 'none' })
  checkPerson(t, message.content)
  t.match(await choice({ ...body, tool_choice: 'required', parallel_tool_calls: false }), { finish_reason: 'tool_calls', message: { content: null } })
})

async function refusal (body: Record<string, unknown>): Promise<{ status: number } & Failure['error']> {
  const response = await chat(url, { messages: user('Hi'), ...body })
  return { status: response.status, ...(await response.json() as Failure).error }
}

test('what a model cannot be held to is refused where it stands', async t => {
  const at = 'response_format.json_schema'
  const refused: [body: Record<string, unknown>, code: string, param: string][] = [
    [format({ type: 'object', properties: { a: { not: {} } } }), 'unsupported_value', `${at}.schema.properties.a.not`],
    [format({ type: 'array', items: { type: 'string' }, uniqueItems: true }, { strict: true }), 'unsupported_value', `${at}.schema.uniqueItems`],
    [format({ type: 'object', properties: { a: { type: 'text' } } }), 'invalid_value', `${at}.schema.properties.a.type`],
    [format({ type: 'object', required: ['a'], properties: { a: false } }), 'invalid_value', `${at}.schema`],
    [format({ $ref: 'https://example.com/schema' }), 'unsupported_value', `${at}.schema.$ref`],
    [format(undefined), 'missing_required_parameter', `${at}.schema`],
    [format({}, { strict: 'yes' }), 'invalid_value', `${at}.strict`],
    [{ response_format: { type: 'json_schema' } }, 'invalid_value', at],
    [{ response_format: { type: 'json_object', schema: { not: {} } } }, 'unsupported_value', 'response_format.schema.not'],
    [{ response_format: { type: 'xml' } }, 'invalid_value', 'response_format.type'],
    [{ response_format: 'json' }, 'invalid_value', 'response_format'],
    [{ ...format(PERSON), tools: [{ type: 'function', function: { name: 'odd', parameters: { type: 'object', properties: { a: { not: {} } } } } }] }, 'unsupported_value', 'tools[0].function.parameters.properties.a.not']
  ]
  for (const [body, code, param] of refused) t.match(await refusal(body), { status: 400, code, param }, JSON.stringify(body))
})
