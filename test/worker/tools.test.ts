import { readFileSync } from 'node:fs'
import OpenAI from 'openai'
import tap, { test } from 'tap'
import { chat, completion, events, user, workerOnPort, type Failure } from './spawned.ts'

type Messages = OpenAI.Chat.ChatCompletionMessageParam[]
type Tools = OpenAI.Chat.ChatCompletionFunctionTool[]
interface Golden { messages: Messages, tools?: Tools, expected: string }
interface Answer { choices: { message: OpenAI.Chat.ChatCompletionMessage, finish_reason: string }[] }

const GOLDEN = JSON.parse(readFileSync(new URL('../../models/pilot/train/golden.json', import.meta.url), 'utf8')) as Golden[]
const WITH_TOOLS = GOLDEN.filter(({ tools }) => tools !== undefined)
const WEATHER: Tools = WITH_TOOLS[0]!.tools!
const ADD: Tools = WITH_TOOLS.find(({ tools }) => tools?.length === 1 && tools[0]?.function.name === 'add')!.tools!
const NOISE = { type: 'function', function: { name: 'get_time' } } as const

const { url } = await workerOnPort(tap, '--slots', '2', '--context-tokens', '2048')
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })

const ask = async (body: Record<string, unknown>): Promise<Answer['choices'][number]> =>
  (await completion(url, { messages: user('What is the weather in Paris?'), tools: WEATHER, ...body }) as unknown as Answer).choices[0]!

async function refusal (body: Record<string, unknown>): Promise<{ status: number } & Failure['error']> {
  const response = await chat(url, { messages: user('Hi'), tools: WEATHER, ...body })
  return { status: response.status, ...(await response.json() as Failure).error }
}

/** On the wire arguments are JSON text; the golden file has them as the template wants them. */
const onTheWire = (messages: Messages): Messages => messages.map(message => message.role !== 'assistant' || message.tool_calls === undefined ? message : {
  ...message,
  content: null,
  tool_calls: message.tool_calls.map((call, i) => {
    if (call.type !== 'function') throw new Error('The golden file has functions only.')
    return { ...call, id: `call_${i}`, function: { ...call.function, arguments: JSON.stringify(call.function.arguments) } }
  })
})

test('every golden request with tools is answered as it should be: by a call, by its result, or by words', async t => {
  t.ok(WITH_TOOLS.length >= 10)
  for (const { messages, tools, expected } of WITH_TOOLS) {
    const { message, finish_reason: reason } = await ask({ messages: onTheWire(messages), tools })
    const called = /^<tool_call>\n\{"name": "(\w+)", "arguments": (.*)\}\n<\/tool_call>$/.exec(expected)
    if (called === null) {
      t.match({ ...message, reason }, { content: expected, reason: 'stop' })
      t.notOk('tool_calls' in message)
    } else {
      t.strictSame({ content: message.content, reason }, { content: null, reason: 'tool_calls' })
      t.match(message.tool_calls, [{ id: /^call_/, type: 'function', function: { name: called[1], arguments: called[2] } }])
      t.equal(message.tool_calls?.length, 1)
    }
  }
})

test('a stream has the same call in the deltas that clients expect, and no marker', async t => {
  const response = await chat(url, { messages: user('What is the weather in Paris?'), tools: WEATHER, stream: true })
  const seen = await events(response) as OpenAI.Chat.ChatCompletionChunk[]
  t.equal(seen.pop() as unknown, '[DONE]')
  const deltas = seen.map(chunk => chunk.choices[0]!.delta)
  t.match(deltas[1]?.tool_calls, [{ index: 0, id: /^call_/, type: 'function', function: { name: 'get_weather', arguments: '' } }])
  t.strictSame(deltas[2], { tool_calls: [{ index: 0, function: { arguments: '{"city": "Paris"}' } }] })
  t.equal(seen.at(-1)?.choices[0]?.finish_reason, 'tool_calls')
  t.notMatch(JSON.stringify(seen), /tool_call>/)
})

test('the official client runs a tool to the answer, streamed and not', async t => {
  for (const stream of [false, true] as const) {
    const called: string[] = []
    const runner = client.chat.completions.runTools({
      model: 'pilot', temperature: 0, stream: stream as true,
      messages: [{ role: 'user', content: 'What is the weather in Paris?' }],
      tools: [{
        type: 'function',
        function: {
          name: 'get_weather', description: WEATHER[0]!.function.description!, parameters: WEATHER[0]!.function.parameters!, parse: JSON.parse,
          function: ({ city }: { city: string }) => { called.push(city); return { temperature: 18, condition: 'sunny' } }
        }
      }]
    })
    t.equal(await runner.finalContent(), 'It is 18 degrees and sunny in Paris.')
    t.strictSame(called, ['Paris'])
  }
})

test('with tool_choice none the model is not told of tools and calls none', async t => {
  const { message, finish_reason: reason } = await ask({ tool_choice: 'none' })
  t.equal(reason, 'stop')
  t.notOk('tool_calls' in message)
  t.notMatch(message.content, /tool_call/)
  const [withTools, without] = await Promise.all([completion(url, { messages: user('Hi'), tools: WEATHER, tool_choice: 'none' }), completion(url, { messages: user('Hi') })])
  t.equal(withTools.usage.prompt_tokens, without.usage.prompt_tokens)
})

test('of allowed tools the model hears, and of no others', async t => {
  const some = await completion(url, { messages: user('Hi'), tools: [...WEATHER, ...ADD, NOISE], tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [{ type: 'function', function: { name: 'add' } }] } } })
  const one = await completion(url, { messages: user('Hi'), tools: ADD })
  t.equal(some.usage.prompt_tokens, one.usage.prompt_tokens)
})

test('a call that the limit of tokens cuts off is text as it was written', async t => {
  const { message, finish_reason: reason } = await ask({ max_tokens: 12 })
  t.match(message.content, /^<tool_call>\n\{"name": "get/)
  t.notOk('tool_calls' in message)
  t.equal(reason, 'length')
})

test('a stop string does not end a call', async t => {
  const { message } = await ask({ stop: ['\n', 'Paris', '}'] })
  t.match(message.tool_calls, [{ function: { arguments: '{"city": "Paris"}' } }])
})

test('what cannot be done with tools is refused by name', async t => {
  const refused: [body: Record<string, unknown>, code: string, param: string][] = [
    [{ tools: [{ type: 'custom', custom: { name: 'x' } }] }, 'unsupported_value', 'tools[0]'],
    [{ tools: [{ type: 'function', function: {} }] }, 'invalid_value', 'tools[0].function.name'],
    [{ tools: 'add' }, 'invalid_value', 'tools'],
    [{ tool_choice: 'sometimes' }, 'invalid_value', 'tool_choice'],
    [{ tool_choice: { type: 'function', function: { name: 'unknown' } } }, 'invalid_value', 'tool_choice'],
    [{ parallel_tool_calls: 'no' }, 'invalid_type', 'parallel_tool_calls']
  ]
  for (const [body, code, param] of refused) t.match(await refusal(body), { status: 400, code, param }, JSON.stringify(body))
})

const REMINDER = {
  type: 'function',
  function: {
    name: 'set_reminder',
    strict: true,
    parameters: {
      type: 'object',
      properties: { when: { $ref: '#/$defs/day' }, minutes: { type: 'integer', minimum: 1, maximum: 59 }, note: { anyOf: [{ type: 'string', maxLength: 12 }, { type: 'null' }] } },
      required: ['when', 'minutes', 'note'],
      additionalProperties: false,
      $defs: { day: { enum: ['monday', 'friday'] } }
    }
  }
}

test('a required call comes even where the model would not call, and its arguments fit their schema at any temperature', async t => {
  const tools = [...WEATHER, REMINDER]
  const names = new Set<string>()
  for (let seed = 0; seed < 8; seed++) {
    const { message, finish_reason: reason } = await ask({ messages: user('Hello!'), tools, tool_choice: 'required', parallel_tool_calls: false, temperature: 1.5, seed, max_tokens: 200 })
    t.strictSame({ reason, content: message.content, calls: message.tool_calls?.length }, { reason: 'tool_calls', content: null, calls: 1 })
    const [call] = message.tool_calls!
    if (call?.type !== 'function') throw new Error('no function')
    names.add(call.function.name)
    const given = JSON.parse(call.function.arguments) as Record<string, unknown>
    if (call.function.name === 'get_weather') t.type(given['city'], 'string')
    else {
      t.strictSame(Object.keys(given), ['when', 'minutes', 'note'])
      t.match(given['when'], /^(?:monday|friday)$/)
      t.ok(Number.isInteger(given['minutes']) && Number(given['minutes']) >= 1 && Number(given['minutes']) <= 59)
    }
  }
  t.equal(names.size, 2, 'the model chooses')
})

test('a named tool is the one that is called', async t => {
  const choice = { type: 'function', function: { name: 'set_reminder' } }
  for (const stream of [false, true]) {
    const body = { messages: user('What is the weather in Paris?'), tools: [...WEATHER, ...ADD, REMINDER, NOISE], tool_choice: choice, parallel_tool_calls: false }
    const call = stream
      ? (await client.chat.completions.stream({ model: 'pilot', temperature: 0, ...body } as unknown as OpenAI.Chat.ChatCompletionCreateParamsStreaming).finalMessage()).tool_calls![0]
      : (await ask(body)).message.tool_calls![0]
    t.match(call, { type: 'function', function: { name: 'set_reminder', arguments: /^\{"when"/ } })
  }
  const { message } = await ask({ messages: user('Hi'), tools: [NOISE], tool_choice: { type: 'function', function: { name: 'get_time' } }, parallel_tool_calls: false })
  t.match(message.tool_calls, [{ function: { name: 'get_time', arguments: /^\{ ?\}$/ } }], 'without parameters there are no arguments')
})

test('a required call of the right tool is what the model says anyway', async t => {
  const { message } = await ask({ tool_choice: 'required' })
  t.match(message.tool_calls, [{ function: { name: 'get_weather', arguments: '{"city": "Paris"}' } }])
})

test('a schema that cannot be honoured is refused where it stands, when a call is required', async t => {
  const parameters = { type: 'object', properties: { a: { not: { type: 'string', pattern: '^a' } } } }
  const tools = [...WEATHER, { type: 'function', function: { name: 'odd', parameters } }]
  t.match(await refusal({ tools, tool_choice: 'required' }), { status: 400, param: /^tools\[1\]\.function\.parameters/ })
  t.equal((await chat(url, { messages: user('Hi'), tools })).status, 200, 'otherwise the model alone reads it')
})
