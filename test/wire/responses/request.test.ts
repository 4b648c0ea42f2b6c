import { test, type Test } from 'tap'
import { GatewayError } from '../../../src/errors.ts'
import { parseBody } from '../../../src/wire/parse.ts'
import { readRequest, toChat } from '../../../src/wire/responses/request.ts'
import { functionName } from '../../../src/wire/responses/tools.ts'
import { validateChat } from '../../../src/wire/validate.ts'

type Body = Record<string, unknown>

/** Over the wire as text, and what comes out is checked as chat completions are. */
function translated (change: Body): { chat: Body, warnings: readonly string[] } {
  const read = readRequest(parseBody(Buffer.from(JSON.stringify({ model: 'm', input: 'hi', ...change }))))
  const { chat, warnings } = toChat(read)
  return { chat: validateChat(structuredClone(chat)) as Body, warnings: [...read.warnings, ...warnings] }
}

const chatOf = (change: Body) => translated(change).chat
const messagesOf = (input: unknown, more: Body = {}) => chatOf({ input, ...more })['messages']

function refusal (change: Body): GatewayError {
  try {
    translated(change)
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
  throw new Error(`${JSON.stringify(change).slice(0, 200)} was accepted`)
}

const user = { role: 'user', content: 'hi' }
const call = { type: 'function_call', call_id: 'c1', name: 'look', arguments: '{"at":1}' }
const out = { type: 'function_call_output', call_id: 'c1', output: 'seen' }
const calledAs = (id: string, name: string, args: string) => ({ id, type: 'function', function: { name, arguments: args } })
const PNG = 'data:image/png;base64,aW1n'

test('the plainest request is one message of the user', async t => {
  t.strictSame(chatOf({}), { messages: [user], model: 'm' })
  t.strictSame(chatOf({ instructions: null, tools: null, temperature: null, previous_response_id: null, background: false, truncation: 'disabled' }), { messages: [user], model: 'm' })
})

test('every parameter is said as chat completions say it', async t => {
  const table: [Body, Body][] = [
    [{ max_output_tokens: 99 }, { max_completion_tokens: 99 }],
    [{ reasoning: { effort: 'low', summary: 'auto' } }, { reasoning_effort: 'low' }],
    [{ text: { verbosity: 'low', format: { type: 'text' } } }, { verbosity: 'low' }],
    [{ text: { format: { type: 'json_object' } } }, { response_format: { type: 'json_object' } }],
    [{ text: { format: { type: 'json_schema', name: 'n', strict: true, schema: { type: 'object' } } } },
      { response_format: { type: 'json_schema', json_schema: { name: 'n', strict: true, schema: { type: 'object' } } } }],
    [{ top_logprobs: 3 }, { logprobs: true, top_logprobs: 3 }],
    [{ include: ['message.output_text.logprobs'] }, { logprobs: true, top_logprobs: 0 }],
    [{ temperature: 0.5, top_p: 0.9, user: 'u', seed: 7, prompt_cache_key: 'k', safety_identifier: 's', service_tier: 'auto', presence_penalty: 1, frequency_penalty: 1 },
      { temperature: 0.5, top_p: 0.9, user: 'u', seed: 7, prompt_cache_key: 'k', safety_identifier: 's', service_tier: 'auto', presence_penalty: 1, frequency_penalty: 1 }],
    [{ stream: true, stream_options: { include_obfuscation: false } }, { stream: true, stream_options: { include_usage: true } }],
    [{ metadata: { a: 'b' }, store: false, client_metadata: { x: 1 }, max_tool_calls: 3 }, {}],
    [{ top_k: 4 }, { top_k: 4 }]
  ]
  for (const [change, expected] of table) {
    const { messages, model, ...rest } = chatOf(change)
    t.strictSame({ messages, model, rest }, { messages: [user], model: 'm', rest: expected }, JSON.stringify(change))
  }
})

test('items become messages, and what belongs to one turn of the assistant is one message', async t => {
  const table: [unknown, unknown, Body?][] = [
    [[{ role: 'user', content: 'a' }], [{ role: 'user', content: 'a' }]],
    [[{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'a' }, { type: 'input_image', image_url: PNG, detail: 'low' }] }],
      [{ role: 'user', content: [{ type: 'text', text: 'a' }, { type: 'image_url', image_url: { url: PNG, detail: 'low' } }] }]],
    [[{ role: 'user', content: [{ type: 'input_file', file_data: 'data:text/plain;base64,YQ==', filename: 'a.txt' }] }],
      [{ role: 'user', content: [{ type: 'file', file: { file_data: 'data:text/plain;base64,YQ==', filename: 'a.txt' } }] }]],
    [[{ role: 'developer', content: 'b' }, { role: 'system', content: [{ type: 'input_text', text: 'c' }] }, { role: 'user', content: 'd' }],
      [{ role: 'system', content: 'a\n\nb\n\nc' }, { role: 'user', content: 'd' }], { instructions: 'a' }],
    [[{ role: 'user', content: 'a' }, { role: 'developer', content: 'b' }], [{ role: 'user', content: 'a' }, { role: 'developer', content: 'b' }]],
    [[{ role: 'user', content: 'a' }, { id: 'msg_1', type: 'message', status: 'completed', role: 'assistant', phase: 'commentary', content: [{ type: 'output_text', text: 'x', annotations: [], logprobs: [] }] }, call, out],
      [{ role: 'user', content: 'a' }, { role: 'assistant', content: 'x', tool_calls: [calledAs('c1', 'look', '{"at":1}')] }, { role: 'tool', tool_call_id: 'c1', content: 'seen' }]],
    [[user, call, { ...call, call_id: 'c2' }, out, { ...out, call_id: 'c2', output: [{ type: 'input_text', text: 'p' }, { type: 'input_text', text: 'q' }] }],
      [user, { role: 'assistant', tool_calls: [calledAs('c1', 'look', '{"at":1}'), calledAs('c2', 'look', '{"at":1}')], content: null },
        { role: 'tool', tool_call_id: 'c1', content: 'seen' }, { role: 'tool', tool_call_id: 'c2', content: 'p\nq' }]],
    [[user, call, out, { ...call, call_id: 'c2' }, { ...out, call_id: 'c2' }],
      [user, { role: 'assistant', tool_calls: [calledAs('c1', 'look', '{"at":1}')], content: null }, { role: 'tool', tool_call_id: 'c1', content: 'seen' },
        { role: 'assistant', tool_calls: [calledAs('c2', 'look', '{"at":1}')], content: null }, { role: 'tool', tool_call_id: 'c2', content: 'seen' }]],
    [[user, { type: 'reasoning', id: 'rs_1', summary: [], content: [{ type: 'reasoning_text', text: 'hm' }] }, call, out],
      [user, { role: 'assistant', reasoning_content: 'hm', tool_calls: [calledAs('c1', 'look', '{"at":1}')], content: null }, { role: 'tool', tool_call_id: 'c1', content: 'seen' }]],
    [[user, { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'hm' }], encrypted_content: null }, { role: 'assistant', content: 'x' }, user],
      [user, { role: 'assistant', reasoning_content: 'hm', content: 'x' }, user]],
    [[user, { role: 'assistant', content: 'x' }, { role: 'assistant', content: 'y' }], [user, { role: 'assistant', content: 'x' }, { role: 'assistant', content: 'y' }]],
    [[user, { role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }] }, user], [user, { role: 'assistant', content: '', refusal: 'no' }, user]],
    [[user, { ...call, namespace: 'mcp__files__' }, out],
      [user, { role: 'assistant', tool_calls: [calledAs('c1', 'mcp__files__look', '{"at":1}')], content: null }, { role: 'tool', tool_call_id: 'c1', content: 'seen' }]],
    [[user, { type: 'custom_tool_call', call_id: 'c1', name: 'patch', input: 'a "b"' }, { type: 'custom_tool_call_output', call_id: 'c1', output: 'ok' }],
      [user, { role: 'assistant', tool_calls: [calledAs('c1', 'patch', '{"input":"a \\"b\\""}')], content: null }, { role: 'tool', tool_call_id: 'c1', content: 'ok' }]]
  ]
  for (const [input, expected, more] of table) t.strictSame(messagesOf(input, more), expected, JSON.stringify(input).slice(0, 120))
})

test('reasoning that only OpenAI can read is left out with a warning', async t => {
  const { chat, warnings } = translated({ input: [user, { type: 'reasoning', id: 'rs', summary: [], encrypted_content: 'xyz' }, user] })
  t.strictSame(chat['messages'], [user, user])
  t.match(warnings, [/^input\[1\]: encrypted reasoning/])
})

const lookTool = { type: 'function', name: 'look', description: 'Looks.', parameters: { type: 'object' }, strict: false }
const chatTool = { type: 'function', function: { name: 'look', description: 'Looks.', parameters: { type: 'object' }, strict: false } }

test('tools: functions as they are, namespaces flattened, hosted ones left out with a warning', async t => {
  const { chat, warnings } = translated({
    tools: [
      lookTool,
      { type: 'namespace', name: 'mcp__files__', description: 'Files.', tools: [{ ...lookTool }, { type: 'custom', name: 'write' }] },
      { type: 'namespace', name: 'web', description: 'Web.', tools: [{ ...lookTool }] },
      { type: 'web_search', external_web_access: false },
      { type: 'local_shell' }
    ],
    parallel_tool_calls: false
  })
  const tools = chat['tools'] as { function: { name: string } }[]
  t.strictSame(tools.map(tool => tool.function.name), ['look', 'mcp__files__look', 'mcp__files__write', 'web__look'])
  t.strictSame(tools[0], chatTool)
  t.equal(chat['parallel_tool_calls'], false)
  t.strictSame(warnings, ['tools[3]: web_search is not served and was left out', 'tools[4]: local_shell is not served and was left out'])
})

test('hosted tools alone leave a call without tools', async t => {
  const { chat } = translated({ tools: [{ type: 'web_search' }], tool_choice: 'auto', parallel_tool_calls: true })
  t.strictSame(chat, { messages: [user], model: 'm' })
})

test('a custom tool is a function of one string, its grammar told and warned of', async t => {
  const format = { type: 'grammar', syntax: 'lark', definition: 'start: "x"' }
  const { chat, warnings } = translated({ tools: [{ type: 'custom', name: 'patch', description: 'Patches.', format }] })
  const [tool] = chat['tools'] as { function: { description: string, parameters: { required: string[] } } }[]
  t.match(tool!.function.description, /^Patches\.\n\n.*lark grammar:\nstart: "x"$/)
  t.strictSame(tool!.function.parameters.required, ['input'])
  t.match(warnings, [/^tools\[0\]\.format: the model is told the grammar/])
})

test('the name of a tool in a namespace is a valid name, always the same, and different for different tools', async t => {
  const names = [['a', 'b'], ['a b', 'c'], ['a_b', 'c'], ['n'.repeat(60), 'long'], ['n'.repeat(60), 'lon'], ['a__', 'b2']].map(([space, name]) => functionName(space!, name!))
  for (const name of names) t.match(name, /^[a-zA-Z0-9_-]{1,64}$/)
  t.equal(new Set(names).size, names.length)
  t.equal(functionName('n'.repeat(60), 'long'), names[3])
})

test('choices of tools are said as chat completions say them', async t => {
  const tools = [lookTool, { type: 'custom', name: 'patch' }, { type: 'namespace', name: 'ns', tools: [{ ...lookTool, name: 'read' }] }, { type: 'web_search' }]
  const named = (name: string) => ({ type: 'function', function: { name } })
  const table: [unknown, unknown][] = [
    ['none', 'none'], ['auto', 'auto'], ['required', 'required'],
    [{ type: 'function', name: 'look' }, named('look')],
    [{ type: 'custom', name: 'patch' }, named('patch')],
    [{ type: 'function', name: 'read' }, named('ns__read')],
    [{ type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'look' }, { type: 'custom', name: 'patch' }, { type: 'web_search' }] },
      { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [named('look'), named('patch')] } }]
  ]
  for (const [choice, expected] of table) t.strictSame(chatOf({ tools, tool_choice: choice })['tool_choice'], expected, JSON.stringify(choice))
})

function check (t: Test, cases: [Body, string, RegExp, string?][]): void {
  for (const [change, param, message, code] of cases) {
    const error = refusal(change)
    t.equal(error.param, param, JSON.stringify(change).slice(0, 100))
    t.match(error.message, message)
    t.equal(error.status, 400)
    if (code !== undefined) t.equal(error.code, code)
  }
}

test('what is not served is refused by name', async t => {
  check(t, [
    [{ background: true }, 'background', /must be false/, 'unsupported_value'],
    [{ conversation: 'conv_1' }, 'conversation', /not served/, 'unsupported_parameter'],
    [{ prompt: { id: 'p' } }, 'prompt', /not served/, 'unsupported_parameter'],
    [{ truncation: 'auto' }, 'truncation', /nothing is cut off silently/, 'unsupported_value'],
    [{ context_management: [{ type: 'compaction' }] }, 'context_management', /not served/, 'unsupported_parameter'],
    [{ moderation: { model: 'x' } }, 'moderation', /not served/, 'unsupported_parameter'],
    [{ n: 2 }, 'n', /one answer/, 'unsupported_parameter'],
    [{ messages: [] }, 'messages', /use 'input'/, 'unsupported_parameter'],
    [{ response_format: { type: 'text' } }, 'response_format', /use 'text\.format'/, 'unsupported_parameter'],
    [{ max_tokens: 5 }, 'max_tokens', /use 'max_output_tokens'/, 'unsupported_parameter'],
    [{ base_url: 'http://x' }, 'base_url', /cannot be chosen by the caller/, 'unsupported_parameter'],
    [{ tools: [lookTool], tool_choice: { type: 'web_search' } }, 'tool_choice.type', /web_search is not served/, 'unsupported_value'],
    [{ input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input[0]', /cannot be read here/, 'unsupported_value'],
    [{ input: [{ id: 'msg_1' }] }, 'input[0]', /cannot be read here/],
    [{ input: [{ type: 'compaction', encrypted_content: 'x' }] }, 'input[0]', /cannot be read here/],
    [{ input: [user, { type: 'web_search_call', id: 'ws' }] }, 'input[1].type', /web_search_call are not served/, 'unsupported_value'],
    [{ input: [{ role: 'user', content: [{ type: 'input_image', file_id: 'f' }] }] }, 'input[0].content[0].file_id', /uploaded files/, 'unsupported_value'],
    [{ input: [{ role: 'user', content: [{ type: 'input_file', file_url: 'https://x' }] }] }, 'input[0].content[0].file_url', /fetches no addresses/, 'unsupported_value'],
    [{ input: [user, call, { ...out, output: [{ type: 'input_image', image_url: PNG }] }] }, 'input[2].output[0]', /output of a tool is text/, 'unsupported_value']
  ])
})

test('bad input is refused, naming where it stands', async t => {
  check(t, [
    [{ input: null }, 'input', /^Missing required parameter: 'input'\.$/],
    [{ input: [] }, 'input', /nothing in it/],
    [{ input: 5 }, 'input', /^Invalid type for 'input': expected one of a string or array of objects/],
    [{ model: null }, 'model', /^Invalid type for 'model'/],
    [{ max_output_tokens: 15 }, 'max_output_tokens', />= 16/],
    [{ temperature: 2.1 }, 'temperature', /<= 2/],
    [{ text: { format: { type: 'json_schema', name: 'n' } } }, 'text.format.schema', /^Missing/],
    [{ text: { format: { type: 'xml' } } }, 'text.format.type', /Supported values/],
    [{ reasoning: { effort: 'huge' } }, 'reasoning.effort', /Supported values/],
    [{ include: ['everything'] }, 'include[0]', /Supported values/],
    [{ metadata: { a: 1 } }, 'metadata.a', /expected a string/],
    [{ stream_options: {} }, 'stream_options', /only allowed when 'stream'/],
    [{ input: [{ type: 'wish' }] }, 'input[0].type', /Supported values/],
    [{ input: [{ role: 'king', content: 'x' }] }, 'input[0].role', /Supported values/],
    [{ input: [{ role: 'user' }] }, 'input[0].content', /^Missing/],
    [{ input: [{ role: 'user', content: [{ type: 'output_text', text: 'x' }] }] }, 'input[0].content[0].type', /Supported values/],
    [{ input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'https://x/y.png' }] }] }, 'input[0].content[0].image_url', /data: URL/],
    [{ input: [{ role: 'user', content: [{ type: 'input_image' }] }] }, 'input[0].content[0].image_url', /^Missing/],
    [{ input: [user, out] }, 'input[1].call_id', /^No tool call found for tool call output c1\.$/],
    [{ input: [user, call] }, 'input', /^No tool output found for function call c1\.$/],
    [{ tools: [{ type: 'wish' }] }, 'tools[0].type', /Supported values/],
    [{ tools: [{ ...lookTool, name: 'no good' }] }, 'tools[0].name', /pattern/],
    [{ tools: [lookTool, { type: 'custom', name: 'look' }] }, 'tools[1].name', /same name/],
    [{ tools: [{ type: 'namespace', name: 'n', tools: [{ ...lookTool, async: true }] }] }, 'tools[0].tools[0].async', /not asynchronous/],
    [{ tool_choice: 'required' }, 'tool_choice', /needs a function or custom tool/],
    [{ tools: [lookTool], tool_choice: { type: 'function', name: 'other' } }, 'tool_choice', /not specified/],
    [{ tools: [{ type: 'web_search' }], tool_choice: 'required' }, 'tool_choice', /needs a function or custom tool/]
  ])
})

test('what was said before goes in front, and faults still name what the caller sent', async t => {
  const read = (input: unknown) => readRequest(parseBody(Buffer.from(JSON.stringify({ model: 'm', input, previous_response_id: 'resp_1' }))))
  const earlier = [{ type: 'message', role: 'user', content: 'hi' }, call]
  t.strictSame(toChat(read([out]), earlier).chat['messages'], [user, { role: 'assistant', tool_calls: [calledAs('c1', 'look', '{"at":1}')], content: null }, { role: 'tool', tool_call_id: 'c1', content: 'seen' }])
  t.throws(() => toChat(read([out, { ...out, call_id: 'c9' }]), earlier), { code: 'invalid_value', param: 'input[1].call_id' })
  t.throws(() => toChat(read('and?'), earlier), { code: 'invalid_value', param: 'input', message: /No tool output found/ })
})
