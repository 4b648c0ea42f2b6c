import { test } from 'tap'
import { toMessages, type MessagesOptions } from '../../../src/wire/anthropic/request.ts'
import { takesBudget } from '../../../src/wire/anthropic/thinking.ts'
import type { ChatRequest } from '../../../src/wire/chat.ts'
import { validateChat } from '../../../src/wire/validate.ts'

type Body = Record<string, unknown>

const OPTIONS: MessagesOptions = { maxTokens: 4096, promptCache: 'off', thinking: 'auto' }
const USER = { role: 'user', content: 'hi' }
const SAID = [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }]
const weather = (more = {}) => ({ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } }, ...more } })
const TOOL = { name: 'weather', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }
const call = (id: string, args = '{"city":"Bern"}') => ({ id, type: 'function', function: { name: 'weather', arguments: args } })
const PNG = 'data:image/png;base64,aGk='

/** Through validation first, as in the gateway; `raw` goes around it. */
const asked = (body: Body, options: Partial<MessagesOptions> = {}) =>
  toMessages(validateChat({ model: 'claude-sonnet-5', messages: [USER], ...structuredClone(body) }), { ...OPTIONS, ...options })
const raw = (body: Body) => toMessages({ model: 'claude-sonnet-5', messages: [USER], ...body } as unknown as ChatRequest, OPTIONS)

test('a plain question has a model, a turn and a limit, and nothing else', async t => {
  t.same(asked({}), { model: 'claude-sonnet-5', max_tokens: 4096, messages: SAID })
  t.same(asked({ stream: true, stream_options: { include_usage: true } }), { model: 'claude-sonnet-5', max_tokens: 4096, messages: SAID, stream: true })
})

const PARAMETERS: Array<[name: string, body: Body, becomes: Body]> = [
  ['max_completion_tokens', { max_completion_tokens: 7 }, { max_tokens: 7 }],
  ['max_tokens', { max_tokens: 8 }, { max_tokens: 8 }],
  ['sampling', { temperature: 0.5, top_p: 0.9, top_k: 40 }, { temperature: 0.5, top_p: 0.9, top_k: 40 }],
  ['one stop', { stop: 'END' }, { stop_sequences: ['END'] }],
  ['several stops', { stop: ['a', '\nb'] }, { stop_sequences: ['a', '\nb'] }],
  ['user', { user: 'u-1' }, { metadata: { user_id: 'u-1' } }],
  ['safety_identifier before user', { user: 'u-1', safety_identifier: 's-1' }, { metadata: { user_id: 's-1' } }],
  ['service_tier', { service_tier: 'default' }, { service_tier: 'standard_only' }],
  ['what says nothing', { n: 1, logprobs: false, logit_bias: {}, presence_penalty: 0, frequency_penalty: 0, modalities: ['text'], store: false, verbosity: 'medium', seed: null }, {}],
  ['labels and hints', { metadata: { a: 'b' }, prompt_cache_key: 'k' }, {}],
  ['text as format', { response_format: { type: 'text' } }, {}],
  ['a schema', { response_format: { type: 'json_schema', json_schema: { name: 'x', description: 'A thing.', strict: true, schema: { type: 'object' } } } },
    { output_config: { format: { type: 'json_schema', schema: { description: 'A thing.', type: 'object' } } } }],
  ['tools', { tools: [weather({ description: 'Tells.' })] }, { tools: [{ name: 'weather', description: 'Tells.', input_schema: TOOL.input_schema }] }],
  ['a tool without parameters, held to its schema', { tools: [{ type: 'function', function: { name: 'now', strict: true } }] }, { tools: [{ name: 'now', input_schema: { type: 'object' }, strict: true }] }],
  ['tool_choice auto', { tools: [weather()], tool_choice: 'auto' }, { tools: [TOOL], tool_choice: { type: 'auto' } }],
  ['tool_choice none', { tools: [weather()], tool_choice: 'none', parallel_tool_calls: false }, { tools: [TOOL], tool_choice: { type: 'none' } }],
  ['tool_choice required', { tools: [weather()], tool_choice: 'required' }, { tools: [TOOL], tool_choice: { type: 'any' } }],
  ['a named tool, once', { tools: [weather()], tool_choice: { type: 'function', function: { name: 'weather' } }, parallel_tool_calls: false },
    { tools: [TOOL], tool_choice: { type: 'tool', name: 'weather', disable_parallel_tool_use: true } }],
  ['no parallel calls', { tools: [weather()], parallel_tool_calls: false }, { tools: [TOOL], tool_choice: { type: 'auto', disable_parallel_tool_use: true } }],
  ['parallel calls', { tools: [weather()], parallel_tool_calls: true }, { tools: [TOOL] }],
  ['allowed tools', { tools: [weather(), weather({ name: 'time' })], tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [{ type: 'function', function: { name: 'weather' } }] } } },
    { tools: [TOOL], tool_choice: { type: 'any' } }]
]

for (const [name, body, becomes] of PARAMETERS) {
  test(`parameters: ${name}`, async t => {
    t.same(asked(body), { model: 'claude-sonnet-5', max_tokens: 4096, messages: SAID, ...becomes })
  })
}

test('instructions go in front, wherever they stand; neighbours of one role become one turn; empty texts are left out', async t => {
  const { system, messages } = asked({ messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'a' },
    { role: 'user', content: [{ type: 'text', text: 'b' }, { type: 'text', text: '' }] },
    { role: 'developer', content: [{ type: 'text', text: 'Be kind.' }] },
    { role: 'assistant', content: '' },
    { role: 'assistant', content: 'c' },
    { role: 'assistant', content: null, refusal: 'No.', reasoning_content: 'secret thoughts' },
    { role: 'user', content: 'd' }
  ] })
  t.same(system, [{ type: 'text', text: 'Be brief.' }, { type: 'text', text: 'Be kind.' }])
  t.same(messages, [
    { role: 'user', content: [{ type: 'text', text: 'a' }, { type: 'text', text: 'b' }] },
    { role: 'assistant', content: [{ type: 'text', text: 'c' }, { type: 'text', text: 'No.' }] },
    { role: 'user', content: [{ type: 'text', text: 'd' }] }
  ])
})

test('calls of tools and their results: results are a part of the user\'s turn, ids fit Anthropic\'s pattern on both sides', async t => {
  const { messages } = asked({ tools: [weather()], messages: [
    USER,
    { role: 'assistant', content: 'Let me see.', tool_calls: [call('call:1'), call('call_2', ' ')] },
    { role: 'tool', tool_call_id: 'call:1', content: 'Sun' },
    { role: 'tool', tool_call_id: 'call_2', content: '' },
    { role: 'user', content: 'And?' }
  ] })
  t.same((messages as unknown[]).slice(1), [
    { role: 'assistant', content: [
      { type: 'text', text: 'Let me see.' },
      { type: 'tool_use', id: 'call_1', name: 'weather', input: { city: 'Bern' } },
      { type: 'tool_use', id: 'call_2', name: 'weather', input: {} }
    ] },
    { role: 'user', content: [
      { type: 'tool_result', tool_use_id: 'call_1', content: [{ type: 'text', text: 'Sun' }] },
      { type: 'tool_result', tool_use_id: 'call_2' },
      { type: 'text', text: 'And?' }
    ] }
  ])
})

test('images as data and as addresses, a PDF, and marks that the caller sets', async t => {
  const user = (...content: Body[]) => ({ messages: [{ role: 'user', content }] })
  const blocks = (body: Body) => (body['messages'] as Array<{ content: unknown }>)[0]!.content
  t.same(blocks(asked(user({ type: 'image_url', image_url: { url: PNG, detail: 'high' } }))), [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'aGk=' } }])
  t.same(blocks(raw(user({ type: 'image_url', image_url: { url: 'https://a.example/x.png' } }))), [{ type: 'image', source: { type: 'url', url: 'https://a.example/x.png' } }])
  t.same(blocks(asked(user({ type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBE' } }))),
    [{ type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'JVBE' }, title: 'a.pdf' }])
  t.same(blocks(asked(user({ type: 'text', text: 'long', cache_control: { type: 'ephemeral' } }))), [{ type: 'text', text: 'long', cache_control: { type: 'ephemeral' } }])
})

test('thoughts go back with Anthropic\'s signature, in front of the calls they led to', async t => {
  const thought = { type: 'thinking', thinking: 'Hm.', signature: 'c2ln' }
  const hidden = { type: 'redacted_thinking', data: 'ZGF0YQ==' }
  const { messages } = asked({ messages: [USER, { role: 'assistant', content: null, tool_calls: [call('c1')], thinking_blocks: [thought, hidden, 'x', { type: 'text', text: 'no' }] }, { role: 'tool', tool_call_id: 'c1', content: 'Sun' }] })
  t.same((messages as Array<{ content: unknown[] }>)[1]!.content.map(block => (block as Body)['type']), ['thinking', 'redacted_thinking', 'tool_use'])
  t.same((messages as Array<{ content: unknown[] }>)[1]!.content[0], thought)
})

test('reasoning_effort is a budget for older models, an effort for later ones, or what the operator says', async t => {
  const of = (effort: string, body: Body = {}, options: Partial<MessagesOptions> = {}) => {
    const { thinking, output_config, max_tokens } = asked({ reasoning_effort: effort, ...body }, options)
    return { thinking, output_config, max_tokens }
  }
  const adaptive = { type: 'adaptive', display: 'summarized' }
  const old = { model: 'claude-haiku-4-5-20251001' }
  t.same(of('high'), { thinking: adaptive, output_config: { effort: 'high' }, max_tokens: 4096 })
  t.same(of('minimal'), { thinking: adaptive, output_config: { effort: 'low' }, max_tokens: 4096 })
  t.same(of('none'), { thinking: { type: 'disabled' }, output_config: undefined, max_tokens: 4096 })
  t.same(of('none', old), { thinking: undefined, output_config: undefined, max_tokens: 4096 })
  t.same(of('medium', old), { thinking: { type: 'enabled', budget_tokens: 8192 }, output_config: undefined, max_tokens: 12_288 })
  t.same(of('high', { ...old, max_completion_tokens: 6000 }), { thinking: { type: 'enabled', budget_tokens: 3000 }, output_config: undefined, max_tokens: 6000 })
  t.same(of('low', { ...old, max_completion_tokens: 1025 }).thinking, { type: 'enabled', budget_tokens: 1024 })
  t.same(of('low', {}, { thinking: 'budget' }).thinking, { type: 'enabled', budget_tokens: 2048 })
  t.same(of('low', old, { thinking: 'adaptive' }).thinking, adaptive)
  t.throws(() => of('low', { ...old, max_completion_tokens: 1024 }), { code: 'unsupported_value', param: 'reasoning_effort' })
  t.same(asked({ thinking: { type: 'enabled', budget_tokens: 2000 } })['thinking'], { type: 'enabled', budget_tokens: 2000 }, 'in Anthropic\'s own words')
})

test('which models take a budget is told by their names', async t => {
  for (const name of ['claude-3-7-sonnet-20250219', 'claude-sonnet-4-20250514', 'claude-opus-4-1-20250805', 'claude-sonnet-4-5', 'claude-haiku-4-5-20251001', 'claude-opus-4-0', 'anthropic/claude-opus-4-5']) t.ok(takesBudget(name), name)
  for (const name of ['claude-opus-4-6', 'claude-opus-4-7', 'claude-opus-4-8', 'claude-sonnet-4-6', 'claude-sonnet-5', 'claude-opus-5', 'claude-opus-4-10', 'something-else']) t.notOk(takesBudget(name), name)
})

test('a mark at the end of instructions, or of tools where there are none, keeps both ready', async t => {
  const five = { type: 'ephemeral' }
  const hour = { type: 'ephemeral', ttl: '1h' }
  const system = { messages: [{ role: 'system', content: 'a' }, { role: 'system', content: 'b' }, USER] }
  t.same(asked({ ...system, tools: [weather()] }, { promptCache: '5m' })['system'], [{ type: 'text', text: 'a' }, { type: 'text', text: 'b', cache_control: five }])
  t.same(asked({ ...system, tools: [weather()] }, { promptCache: '5m' })['tools'], [TOOL])
  t.same(asked({ tools: [weather(), weather({ name: 'time' })] }, { promptCache: '1h' })['tools'], [TOOL, { ...TOOL, name: 'time', cache_control: hour }])
  t.same(asked({}, { promptCache: '1h' }), asked({}))
})

const message = (content: unknown, more: Body = {}) => ({ messages: [{ role: 'user', content, ...more }] })
const REFUSED: Array<[param: string, body: Body]> = [
  ['logit_bias', { logit_bias: { 1: 1 } }],
  ['logprobs', { logprobs: true }],
  ['n', { n: 2 }],
  ['seed', { seed: 1 }],
  ['presence_penalty', { presence_penalty: 0.1 }],
  ['frequency_penalty', { frequency_penalty: 0.1 }],
  ['modalities', { modalities: ['text', 'audio'] }],
  ['audio', { audio: {} }],
  ['prediction', { prediction: {} }],
  ['web_search_options', { web_search_options: {} }],
  ['store', { store: true }],
  ['verbosity', { verbosity: 'low' }],
  ['prompt_cache_retention', { prompt_cache_retention: '24h' }],
  ['functions', { functions: [{ name: 'a' }] }],
  ['min_p', { min_p: 0.1 }],
  ['?', { 'my secret prompt': 1 }],
  ['service_tier', { service_tier: 'flex' }],
  ['temperature', { temperature: 1.5 }],
  ['temperature', { temperature: 0, reasoning_effort: 'low' }],
  ['top_k', { top_k: 5, reasoning_effort: 'low' }],
  ['top_k', { top_k: 'many' }],
  ['thinking', { thinking: true }],
  ['thinking', { thinking: { type: 'disabled' }, reasoning_effort: 'low' }],
  ['stop', { stop: ['a', ' \n'] }],
  ['response_format', { response_format: { type: 'json_object' } }],
  ['response_format.json_schema.schema', { response_format: { type: 'json_schema', json_schema: { name: 'x' } } }],
  ['tools[0].type', { tools: [{ type: 'custom', custom: { name: 'x' } }] }],
  ['messages', { messages: [{ role: 'system', content: 'a' }] }],
  ['messages[0].name', message('a', { name: 'Ann' })],
  ['messages[0].content[1]', message([{ type: 'text', text: 'a' }, { type: 'input_audio', input_audio: { data: 'aa', format: 'wav' } }])],
  ['messages[0].content[0].image_url.detail', message([{ type: 'image_url', image_url: { url: PNG, detail: 'low' } }])],
  ['messages[0].content[0].image_url.url', message([{ type: 'image_url', image_url: { url: 'data:image/bmp;base64,aa' } }])],
  ['messages[0].content[0].file', message([{ type: 'file', file: { file_id: 'f-1' } }])],
  ['messages[1].role', { messages: [USER, { role: 'function', name: 'f', content: 'x' }] }],
  ['messages[1].function_call', { messages: [USER, { role: 'assistant', content: null, function_call: { name: 'f', arguments: '' } }] }],
  ['messages[1].tool_calls[0].type', { messages: [USER, { role: 'assistant', content: null, tool_calls: [{ id: 'c', type: 'custom', custom: { name: 'x', input: '' } }] }] }],
  ['messages[1].tool_calls[0].function.arguments', { messages: [USER, { role: 'assistant', content: null, tool_calls: [call('c', '[1]')] }] }],
  ['messages[1].tool_calls[0].function.arguments', { messages: [USER, { role: 'assistant', content: null, tool_calls: [call('c', '{"a":')] }] }]
]

for (const [param, body] of REFUSED) {
  test(`refused by name, and another target may take it: ${param} in ${JSON.stringify(body).slice(0, 60)}`, async t => {
    t.throws(() => asked(body), { code: 'unsupported_value', status: 400, fallback: true, param })
  })
}
