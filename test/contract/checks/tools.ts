/** Tools and structured output: what comes has to fit the schema, every time. */
import { Ajv } from 'ajv'
import { core, type Check } from '../check.ts'
import { expect, Fault, NotServed, show, type Json, type Streamed } from '../server.ts'
import { asks, PATH } from './chat.ts'
import { said } from './streams.ts'

const ajv = new Ajv({ strict: false })
const SUM = { type: 'object', properties: { a: { type: 'integer' }, b: { enum: ['plus', 'minus'] } }, required: ['a', 'b'], additionalProperties: false }
const fits = ajv.compile(SUM)
const FORMS = {
  type: 'object',
  properties: { kind: { const: 'forms' }, place: { anyOf: [{ $ref: '#/$defs/place' }, { type: 'null' }] }, sizes: { type: 'array', items: { type: 'integer' }, maxItems: 3 } },
  required: ['kind', 'place', 'sizes'],
  additionalProperties: false,
  $defs: { place: { type: 'object', properties: { x: { type: 'integer' } }, required: ['x'], additionalProperties: false } }
}
const fitsForms = ajv.compile(FORMS)
const tool = (name: string, parameters: Json = SUM) => ({ type: 'function', function: { name, description: `Does ${name}.`, parameters } })
const TOOLS = { tools: [tool('add'), tool('take')] }
const NAMED = { ...TOOLS, tool_choice: { type: 'function', function: { name: 'take' } } }
const FORMAT = { response_format: { type: 'json_schema', json_schema: { name: 'sum', strict: true, schema: SUM } } }

function parsed (text: string): Json {
  try {
    return JSON.parse(text)
  } catch {
    throw new Fault(`no JSON: ${show(text)}`)
  }
}

function fitting (text: string): void {
  expect(fits(parsed(text)), `${show(text)}: ${ajv.errorsText(fits.errors)}`)
}

/** Calls of a stream, put together as clients do it. */
function calledIn (streamed: Streamed): Json[] {
  const calls: Json[] = []
  for (const { index, id, type, function: part } of streamed.datas().flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? [])) {
    const call = calls[index]
    if (call === undefined) calls[index] = { id, type, function: { name: part.name, arguments: part.arguments ?? '' } }
    else {
      expect((id === undefined || id === call.id) && (part.name === undefined || part.name === call.function.name), `a later piece changes the call: ${show({ id, name: part.name })}`)
      call.function.arguments += part.arguments ?? ''
    }
  }
  return calls
}

function wellCalled (calls: Json, name?: string): void {
  expect(Array.isArray(calls) && calls.length > 0, `called ${show(calls)}`)
  for (const call of calls) {
    expect(typeof call.id === 'string' && call.id !== '' && call.type === 'function', show(call))
    expect(name === undefined ? ['add', 'take'].includes(call.function.name) : call.function.name === name, `called ${show(call.function.name)}`)
    fitting(call.function.arguments)
  }
}

export const TOOLING: readonly Check[] = [
  core('tools.named', 'a named tool_choice calls that tool, with arguments that fit its schema', async server => {
    const { choices: [{ message, finish_reason: finish }] } = await server.ok(PATH, asks(server, NAMED, 'Add 2 and 3.'))
    wellCalled(message.tool_calls, 'take')
    expect(message.content === null || message.content === '', `content ${show(message.content)}`)
    expect(['stop', 'tool_calls'].includes(finish), `finish_reason ${show(finish)}`)
  }),
  core('tools.required', 'required calls one of them, with finish_reason tool_calls', async server => {
    const { choices: [{ message, finish_reason: finish }] } = await server.ok(PATH, asks(server, { ...TOOLS, tool_choice: 'required' }, 'Add 2 and 3.'))
    wellCalled(message.tool_calls)
    expect(finish === 'tool_calls', `finish_reason ${show(finish)}`)
  }),
  core('tools.none', 'none calls none', async server => {
    const { choices: [{ message }] } = await server.ok(PATH, asks(server, { ...TOOLS, tool_choice: 'none' }))
    expect((message.tool_calls ?? []).length === 0 && typeof message.content === 'string', show(message))
  }),
  core('tools.parallel-off', 'parallel_tool_calls: false is one call at most', async server => {
    const { choices: [{ message }] } = await server.ok(PATH, asks(server, { ...TOOLS, tool_choice: 'required', parallel_tool_calls: false }, 'Add 2 and 3.'))
    expect(message.tool_calls?.length === 1, show(message.tool_calls))
  }),
  core('tools.stream', 'a streamed call has its id and name once, and the arguments of the whole answer', async server => {
    const whole = await server.ok(PATH, asks(server, NAMED, 'Add 2 and 3.'))
    const calls = calledIn(await server.stream(PATH, asks(server, NAMED, 'Add 2 and 3.')))
    wellCalled(calls, 'take')
    expect(calls[0].function.arguments === whole.choices[0].message.tool_calls[0].function.arguments, `${show(calls)} instead of ${show(whole.choices[0].message.tool_calls)}`)
  }),
  core('tools.without-parameters', 'a tool may have no parameters', async server => {
    const { choices: [{ message }] } = await server.ok(PATH, asks(server, { tools: [{ type: 'function', function: { name: 'ping' } }], tool_choice: { type: 'function', function: { name: 'ping' } } }))
    expect(typeof parsed(message.tool_calls?.[0]?.function.arguments ?? '') === 'object', show(message))
  }),
  core('tools.allowed', 'allowed_tools, required: one of those is called', async server => {
    const allowed = { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [{ type: 'function', function: { name: 'take' } }] } }
    wellCalled((await server.ok(PATH, asks(server, { ...TOOLS, tool_choice: allowed }, 'Add 2 and 3.'))).choices[0].message.tool_calls, 'take')
  }),
  core('tools.functions', 'functions and function_call of old are honoured or refused, never ignored', async server => {
    const { status, text, json } = await server.post(PATH, asks(server, { functions: [tool('take').function], function_call: { name: 'take' } }))
    if (status === 400) throw new NotServed(show(text))
    expect(json().choices?.[0].message.function_call?.name === 'take', `${status} ${show(text)}`)
  }),
  core('structured.forms', 'a schema with $defs, references, null, constants and lists is held', async server => {
    const { choices: [{ message }] } = await server.ok(PATH, asks(server, { response_format: { type: 'json_schema', json_schema: { name: 'forms', strict: true, schema: FORMS } } }))
    expect(fitsForms(parsed(message.content)), `${show(message.content)}: ${ajv.errorsText(fitsForms.errors)}`)
  }),
  core('structured.dialect', 'json_object with a schema beside it is honoured or refused, never ignored', async server => {
    const { status, text, json } = await server.post(PATH, asks(server, { response_format: { type: 'json_object', schema: SUM } }, 'Add 2 and 3.'))
    if (status === 400) throw new NotServed(show(text))
    fitting(json().choices?.[0].message.content)
  }),
  core('structured.schema', 'json_schema: the content fits it, at temperature 1.5, over five seeds', async server => {
    for (const seed of [1, 2, 3, 4, 5]) fitting((await server.ok(PATH, asks(server, { ...FORMAT, temperature: 1.5, seed }, 'Add 2 and 3.'))).choices[0].message.content)
  }),
  core('structured.stream', 'json_schema, streamed: the same', async server => {
    fitting(said(await server.stream(PATH, asks(server, FORMAT, 'Add 2 and 3.'))))
  }),
  core('structured.object', 'json_object: the content is an object', async server => {
    const { choices: [{ message }] } = await server.ok(PATH, asks(server, { response_format: { type: 'json_object' } }, 'Answer in JSON: {"sum": 5}'))
    const object = parsed(message.content)
    expect(typeof object === 'object' && object !== null && !Array.isArray(object), show(message.content))
  }),
  core('structured.cut', 'json_schema, cut off by max_tokens: finish_reason length', async server => {
    const { choices: [{ finish_reason: finish }] } = await server.ok(PATH, asks(server, { ...FORMAT, max_tokens: 2 }, 'Add 2 and 3.'))
    expect(finish === 'length', `finish_reason ${show(finish)}`)
  })
]

