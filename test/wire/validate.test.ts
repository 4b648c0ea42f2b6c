import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, jsonSchema, streamText, tool } from 'ai'
import * as fc from 'fast-check'
import OpenAI from 'openai'
import { test, type Test } from 'tap'
import { GatewayError, type ErrorCode } from '../../src/errors.ts'
import { parseBody } from '../../src/wire/parse.ts'
import { validateChat } from '../../src/wire/validate.ts'
import { BODIES } from './bodies.ts'
import { fn, MESSAGES, MISSING, RANGES, says, TOGETHER, TYPES, user, userSays, WORDS, type Case } from './refusals.ts'

type Body = Record<string, unknown>

/** Goes over the wire as text, as in life: 1e309 becomes Infinity, undefined disappears. */
function send (change: Body): Body {
  const text = JSON.stringify({ model: 'm', messages: [user], ...change }, (_, value) => value === Infinity ? '<<1e309>>' : value === -Infinity ? '<<-1e309>>' : value)
  return validateChat(parseBody(Buffer.from(text.replaceAll(/"<<(.*?)>>"/g, '$1')))) as Body
}

function refusal (change: Body): GatewayError {
  try {
    send(change)
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
  throw new Error(`${JSON.stringify(change).slice(0, 200)} was accepted`)
}

const accepts = (change: Body) => JSON.stringify(send(change)) === JSON.stringify({ model: 'm', messages: [user], ...change })

function check (t: Test, cases: Case[]): void {
  for (const [change, param, message] of cases) {
    const error = refusal(change)
    t.strictSame([error.code, error.param, error.message, error.status], [codeOf(message), param, message, 400], JSON.stringify(change).slice(0, 100))
  }
}

const codeOf = (message: string): ErrorCode => message.startsWith('Invalid type') ? 'invalid_type' : message.startsWith('Missing') ? 'missing_required_parameter' : 'invalid_value'

test('a parameter of the wrong type is named, with what was expected and what came', async t => check(t, TYPES))
test('a value out of range is named with its bound', async t => check(t, RANGES))
test('a word that is not supported is answered with those that are', async t => check(t, WORDS))
test('what is missing is named', async t => check(t, MISSING))
test('a message that is wrong is named to the last member', async t => check(t, MESSAGES))
test('parameters that need or exclude each other', async t => check(t, TOGETHER))

test('a caller cannot choose where a call goes or with whose key', async t => {
  for (const name of [
    'models', 'route', 'provider', 'fallbacks', 'context_window_fallbacks', 'content_policy_fallbacks', 'plugins', 'transforms', 'preset', 'mock_response', 'api_type', 'deployment_id',
    'num_retries', 'specific_deployment', 'kv_transfer_params', 'bootstrap_host', 'lora', 'lora_path', 'api_base', 'base_url', 'baseURL', 'api_key', 'apiKey', 'api_version', 'custom_llm_provider', 'extra_headers', 'extra_body', 'litellm_params', 'organization', 'user_config'
  ]) {
    t.match(refusal({ [name]: 'https://evil.example' }), {
      code: 'unsupported_parameter',
      param: name,
      message: `Unsupported parameter: '${name}' cannot be chosen by the caller; it is part of the configuration of the gateway.`
    })
    t.notOk(Object.hasOwn(send({ [name]: null }), name), 'and null is not forwarded either')
  }
})

test('what clients really send passes unchanged', async t => {
  for (const [name, body] of Object.entries(BODIES)) {
    const bytes = Buffer.from(JSON.stringify(body))
    t.equal(JSON.stringify(validateChat(parseBody(bytes))), bytes.toString(), name)
  }
})

test('bounds themselves are allowed', async t => {
  for (const change of [
    { temperature: 0 }, { temperature: 2 }, { top_p: 0 }, { top_p: 1 }, { frequency_penalty: -2 }, { presence_penalty: 2 }, { n: 1 }, { max_tokens: 1 },
    { max_completion_tokens: Number.MAX_SAFE_INTEGER }, { seed: Number.MIN_SAFE_INTEGER }, { seed: Number.MAX_SAFE_INTEGER }, { logprobs: true, top_logprobs: 0 }, { stop: 's'.repeat(1024) },
    { model: 'm'.repeat(256) }, { metadata: { ['k'.repeat(64)]: 'v'.repeat(512) } }, { metadata: Object.fromEntries(Array.from({ length: 16 }, (_, id) => [`k${id}`, ''])) },
    { tools: Array.from({ length: 128 }, (_, id) => fn(`f${id}`)) }, { tools: [fn('n'.repeat(64))] }, says({ ...user, name: 'n'.repeat(64) }), userSays(''), userSays('x'.repeat(4_000_000)),
    { messages: Array.from({ length: 10_000 }, () => user) }, { logit_bias: Object.fromEntries(Array.from({ length: 10_000 }, (_, id) => [id, -100])) }, { user: '' }
  ]) t.ok(accepts(change), JSON.stringify(change).slice(0, 80))
})

test('null means the default and is removed', async t => {
  const nothing = Object.fromEntries([
    'audio', 'chat_template_kwargs', 'frequency_penalty', 'function_call', 'functions', 'logit_bias', 'logprobs', 'max_completion_tokens', 'max_tokens', 'metadata', 'modalities',
    'moderation', 'n', 'parallel_tool_calls', 'prediction', 'presence_penalty', 'prompt_cache_key', 'prompt_cache_options', 'prompt_cache_retention', 'reasoning_effort',
    'response_format', 'safety_identifier', 'seed', 'service_tier', 'stop', 'store', 'stream', 'stream_options', 'temperature', 'tool_choice', 'tools', 'top_logprobs', 'top_p',
    'user', 'verbosity', 'web_search_options'
  ].map(name => [name, null]))
  t.strictSame(send(nothing), { model: 'm', messages: [user] })
  t.strictSame(send({ tools: [fn('a', { description: null, parameters: null, strict: null })] })['tools'], [fn('a')])
  const replayed = { role: 'assistant', content: 'x', refusal: null, audio: null, function_call: null, tool_calls: null, name: null, annotations: [] }
  t.strictSame(send(says(user, replayed))['messages'], [user, { role: 'assistant', content: 'x', annotations: [] }])
  t.strictSame(send({ unknown: null })['unknown'], null, 'but what nobody here knows stays as it came')
})

test('an empty list of tools or calls means none and is removed', async t => {
  t.strictSame(send({ tools: [], functions: [] }), { model: 'm', messages: [user] })
  t.strictSame(send(says(user, { role: 'assistant', content: 'x', tool_calls: [] }))['messages'], [user, { role: 'assistant', content: 'x' }])
})

/** Every string, number, list and object in a body, as the list of names that leads there. */
function places (value: unknown, path: string[] = []): string[][] {
  const inner = typeof value === 'object' && value !== null ? Object.entries(value).flatMap(([name, member]) => places(member, [...path, name])) : []
  return path.length === 0 ? inner : [path, ...inner]
}

function changed (body: Body, path: string[], how: (owner: Body, name: string) => void): Body {
  const copy = structuredClone(body)
  const owner = path.slice(0, -1).reduce<Body>((node, name) => node[name] as Body, copy)
  how(owner, path.at(-1)!)
  return copy
}

const MARK = 'zebra crossing'
const anything = fc.oneof(
  fc.constantFrom<unknown>(null, true, 0, -1, 1.5, 1e300, '', MARK, [], {}, [MARK], [null], [{}], { type: 'text' }, { type: MARK }, { [MARK]: MARK }, 'function', 'auto', 'x'.repeat(600)),
  fc.jsonValue({ maxDepth: 3 })
)

test('a body changed at random is accepted or refused with a 4xx that repeats nothing of it', async t => {
  const bodies = Object.values(BODIES).filter(body => JSON.stringify(body).length < 2000).map(body => [body, places(body)] as const)
  let refused = 0
  fc.assert(fc.property(fc.constantFrom(...bodies), fc.nat(), fc.constantFrom('replace', 'remove', 'add', 'rename'), anything, ([body, paths], pick, kind, value) => {
    const mutant = changed(body, paths[pick % paths.length]!, (owner, name) => {
      if (kind === 'add') Object.defineProperty(owner, MARK, { value, enumerable: true })
      if (kind === 'replace') owner[name] = value
      if (kind === 'rename') owner[MARK] = owner[name]
      if (kind === 'remove' || kind === 'rename') delete owner[name]
    })
    const text = JSON.stringify(mutant)
    fc.pre(!text.includes('"__proto__"') && !text.includes('"prototype"'))
    try {
      const once = JSON.stringify(validateChat(parseBody(Buffer.from(text))))
      return JSON.stringify(validateChat(parseBody(Buffer.from(once)))) === once
    } catch (error) {
      refused++
      if (!(error instanceof GatewayError)) return false
      return error.status === 400 && error.param !== null && error.message.length < 400 && !JSON.stringify(error.toBody()).includes(MARK)
    }
  }), { numRuns: 4000 })
  t.ok(refused > 400, `${refused} of 4000 were refused`)
})

/** Calls `use` with a fetch that keeps the body and answers 400, and returns the bodies. */
async function captured (use: (fetch: typeof globalThis.fetch) => Promise<unknown>): Promise<string[]> {
  const bodies: string[] = []
  const fetch: typeof globalThis.fetch = async (_input, init) => {
    bodies.push(String(init!.body))
    return Response.json({ error: { message: 'enough', type: 'invalid_request_error', param: null, code: null } }, { status: 400 })
  }
  await use(fetch).catch(() => {})
  return bodies
}

test('the bodies of the OpenAI SDK pass unchanged', async t => {
  const bodies = await captured(async fetch => {
    const client = new OpenAI({ apiKey: 'k', baseURL: 'http://gateway.invalid/v1', fetch, maxRetries: 0 })
    const add = { name: 'add', description: 'Adds.', parameters: { type: 'object', properties: { a: { type: 'number' } } }, parse: (text: string) => text, function: (_text: string) => '3' }
    await Promise.allSettled([
      client.chat.completions.create({ model: 'gpt-4o', messages: [{ role: 'user', content: 'hi' }], stream: true, stream_options: { include_usage: true } }),
      client.chat.completions.parse({ model: 'gpt-4o', messages: [{ role: 'user', content: 'hi' }], response_format: { type: 'json_schema', json_schema: { name: 'n', strict: true, schema: { type: 'object' } } } }),
      client.chat.completions.stream({ model: 'gpt-4o', messages: [{ role: 'developer', content: 'be brief' }, { role: 'user', content: 'hi' }], n: 2 }).done(),
      client.chat.completions.runTools({ model: 'gpt-4o', messages: [{ role: 'user', content: 'add' }], tools: [{ type: 'function', function: add }], tool_choice: 'auto' }).done()
    ])
  })
  t.equal(bodies.length, 4)
  for (const body of bodies) t.equal(JSON.stringify(validateChat(parseBody(Buffer.from(body)))), body)
})

test('the bodies of the AI SDK pass unchanged', async t => {
  const bodies = await captured(async fetch => {
    const model = createOpenAICompatible({ name: 'torchgate', baseURL: 'http://gateway.invalid/v1', fetch, includeUsage: true })('qwen3')
    const tools = { add: tool({ description: 'Adds.', inputSchema: jsonSchema<{ a: number }>({ type: 'object', properties: { a: { type: 'number' } } }), execute: async ({ a }) => a }) }
    const png = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10])
    await Promise.allSettled([
      generateText({ model, prompt: 'hi', temperature: 0.5, maxOutputTokens: 10, stopSequences: ['x'], seed: 1, maxRetries: 0 }),
      generateText({ model, tools, toolChoice: { type: 'tool', toolName: 'add' }, maxRetries: 0, messages: [{ role: 'user', content: [{ type: 'text', text: 'what?' }, { type: 'file', mediaType: 'image/png', data: png }] }] }),
      generateText({
        model,
        tools,
        maxRetries: 0,
        messages: [
          { role: 'user', content: 'add' },
          { role: 'assistant', content: [{ type: 'tool-call', toolCallId: 'c', toolName: 'add', input: { a: 1 } }] },
          { role: 'tool', content: [{ type: 'tool-result', toolCallId: 'c', toolName: 'add', output: { type: 'text', value: '1' } }] }
        ]
      }),
      streamText({ model, prompt: 'hi', maxRetries: 0, onError: () => {} }).consumeStream()
    ])
  })
  t.equal(bodies.length, 4)
  for (const body of bodies) t.equal(JSON.stringify(validateChat(parseBody(Buffer.from(body)))), body)
})

test('the check of 10,000 messages takes a fraction of what parsing them takes', async t => {
  const bytes = Buffer.from(JSON.stringify({ model: 'm', messages: Array.from({ length: 10_000 }, () => user) }))
  let [parsing, checking] = [Infinity, Infinity]
  for (let round = 0; round < 20; round++) {
    const start = performance.now()
    const body = parseBody(bytes)
    const parsed = performance.now()
    validateChat(body)
    checking = Math.min(checking, performance.now() - parsed)
    parsing = Math.min(parsing, parsed - start)
  }
  t.ok(checking < parsing, `${checking.toFixed(2)} ms against ${parsing.toFixed(2)} ms`)
})
