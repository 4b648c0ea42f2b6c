import { test } from 'tap'
import type { GatewayError } from '../../../src/errors.ts'
import { errorBody } from '../../../src/wire/messages/errors.ts'
import { showsThoughts, toChat, toCountedChat } from '../../../src/wire/messages/request.ts'
import { validateChat } from '../../../src/wire/validate.ts'

type Members = Record<string, unknown>

const HI = [{ role: 'user', content: 'Hi' }]
/** As it comes out of JSON: what is undefined is not there. */
const asking = (more: Members = {}): Members => JSON.parse(JSON.stringify({ model: 'm', max_tokens: 10, messages: HI, ...more }))
const chatOf = (more: Members) => {
  const { model, max_completion_tokens: most, messages, ...rest } = toChat(asking(more))
  return { model, most, messages, rest }
}
const said = (messages: Members[], system?: unknown) => chatOf({ messages, ...system !== undefined && { system } }).messages

test('the plainest request', async t => {
  t.strictSame(toChat(asking()), { model: 'm', messages: HI, max_completion_tokens: 10 })
})

const TOOL = { name: 'add', description: 'Adds.', input_schema: { type: 'object' } }
const DECLARED = [{ type: 'function', function: { name: 'add', description: 'Adds.', parameters: { type: 'object' } } }]

const PARAMETERS: Record<string, [Members, Members]> = {
  sampling: [{ temperature: 0.5, top_p: 0.9, top_k: 40 }, { temperature: 0.5, top_p: 0.9, top_k: 40 }],
  'stop sequences': [{ stop_sequences: ['a', 'b'] }, { stop: ['a', 'b'] }],
  'no stop sequences': [{ stop_sequences: [] }, {}],
  'a stream, whose usage is always wanted': [{ stream: true }, { stream: true, stream_options: { include_usage: true } }],
  'no stream': [{ stream: false }, {}],
  'who asks': [{ metadata: { user_id: 'u-1' } }, { user: 'u-1' }],
  tools: [{ tools: [TOOL] }, { tools: DECLARED }],
  'a tool of the type custom, cached': [{ tools: [{ ...TOOL, type: 'custom', cache_control: { type: 'ephemeral' }, eager_input_streaming: true }] }, { tools: DECLARED }],
  'a strict tool': [{ tools: [{ ...TOOL, strict: true }] }, { tools: [{ type: 'function', function: { ...DECLARED[0]!.function, strict: true } }] }],
  'no tools': [{ tools: [], tool_choice: { type: 'auto' } }, {}],
  auto: [{ tools: [TOOL], tool_choice: { type: 'auto' } }, { tools: DECLARED, tool_choice: 'auto' }],
  any: [{ tools: [TOOL], tool_choice: { type: 'any' } }, { tools: DECLARED, tool_choice: 'required' }],
  none: [{ tools: [TOOL], tool_choice: { type: 'none' } }, { tools: DECLARED, tool_choice: 'none' }],
  'one tool': [{ tools: [TOOL], tool_choice: { type: 'tool', name: 'add' } }, { tools: DECLARED, tool_choice: { type: 'function', function: { name: 'add' } } }],
  'one call at a time': [{ tools: [TOOL], tool_choice: { type: 'auto', disable_parallel_tool_use: true } }, { tools: DECLARED, tool_choice: 'auto', parallel_tool_calls: false }],
  'a little thinking': [{ thinking: { type: 'enabled', budget_tokens: 1024 } }, { reasoning_effort: 'low' }],
  'some thinking': [{ thinking: { type: 'enabled', budget_tokens: 8192 } }, { reasoning_effort: 'medium' }],
  'much thinking': [{ thinking: { type: 'enabled', budget_tokens: 31_999 } }, { reasoning_effort: 'high' }],
  'as much as the model likes': [{ thinking: { type: 'adaptive' } }, {}],
  'no thinking': [{ thinking: { type: 'disabled' } }, {}],
  'effort by name goes first': [{ thinking: { type: 'enabled', budget_tokens: 1024 }, output_config: { effort: 'max' } }, { reasoning_effort: 'max' }],
  'a form': [{ output_config: { format: { type: 'json_schema', schema: { type: 'object' } } } }, {
    response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: { type: 'object' }, strict: true } }
  }],
  'the older name of it': [{ output_format: { type: 'json_schema', schema: {} } }, {
    response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: {}, strict: true } }
  }],
  'what only Anthropic runs is left out': [{ context_management: { edits: [] }, service_tier: 'auto', betas: ['x'], cache_control: { type: 'ephemeral' }, mcp_servers: [] }, {}],
  'null is as good as absent': [{ temperature: null, tools: null, system: null, metadata: { user_id: null } }, {}]
}

for (const [name, [given, wanted]] of Object.entries(PARAMETERS)) {
  test(`parameters: ${name}`, async t => {
    t.strictSame(chatOf(given).rest, wanted)
    t.doesNotThrow(() => validateChat(toChat(asking(given))), 'and a good chat completion')
  })
}

const use = (id: string, input: Members = {}) => ({ type: 'tool_use', id, name: 'add', input })
const call = (id: string, json = '{}') => ({ id, type: 'function', function: { name: 'add', arguments: json } })
const png = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } }
const shown = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }
const result = (id: string, content?: unknown) => ({ type: 'tool_result', tool_use_id: id, ...content !== undefined && { content } })

const CONVERSATIONS: Record<string, { system?: unknown, messages: Members[], wanted: Members[] }> = {
  'a system text': { system: 'Be brief.', messages: HI, wanted: [{ role: 'system', content: 'Be brief.' }, ...HI] },
  'system blocks, cached': {
    system: [{ type: 'text', text: 'A', cache_control: { type: 'ephemeral' } }, { type: 'text', text: 'B' }],
    messages: HI,
    wanted: [{ role: 'system', content: [{ type: 'text', text: 'A' }, { type: 'text', text: 'B' }] }, ...HI]
  },
  'one system block is a text': { system: [{ type: 'text', text: 'A' }], messages: HI, wanted: [{ role: 'system', content: 'A' }, ...HI] },
  'an empty system text': { system: '', messages: HI, wanted: HI },
  'the line for Anthropic\'s accounts': {
    system: [{ type: 'text', text: 'x-anthropic-billing-header: cc_version=2; cch=1;' }, { type: 'text', text: 'A' }],
    messages: HI,
    wanted: [{ role: 'system', content: 'A' }, ...HI]
  },
  'a system message among the others': { messages: [...HI, { role: 'system', content: 'Now.' }], wanted: [...HI, { role: 'system', content: 'Now.' }] },
  'text and image': {
    messages: [{ role: 'user', content: [{ type: 'text', text: 'See' }, png] }],
    wanted: [{ role: 'user', content: [{ type: 'text', text: 'See' }, shown] }]
  },
  'an image alone': { messages: [{ role: 'user', content: [png] }], wanted: [{ role: 'user', content: [shown] }] },
  'a document of text, with what is said of it': {
    messages: [{ role: 'user', content: [{ type: 'document', title: 'T', context: 'C', source: { type: 'text', media_type: 'text/plain', data: 'D' } }] }],
    wanted: [{ role: 'user', content: ['T', 'C', 'D'].map(text => ({ type: 'text', text })) }]
  },
  'a document of blocks': {
    messages: [{ role: 'user', content: [{ type: 'document', source: { type: 'content', content: [{ type: 'text', text: 'D' }, png] } }] }],
    wanted: [{ role: 'user', content: [{ type: 'text', text: 'D' }, shown] }]
  },
  'a PDF': {
    messages: [{ role: 'user', content: [{ type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'AAAA' } }] }],
    wanted: [{ role: 'user', content: [{ type: 'file', file: { filename: 'document.pdf', file_data: 'data:application/pdf;base64,AAAA' } }] }]
  },
  'a call and its result': {
    messages: [...HI, { role: 'assistant', content: [use('a', { x: 1 })] }, { role: 'user', content: [result('a', '2')] }],
    wanted: [...HI, { role: 'assistant', content: null, tool_calls: [call('a', '{"x":1}')] }, { role: 'tool', tool_call_id: 'a', content: '2' }]
  },
  'two calls; text beside and behind them': {
    messages: [
      ...HI,
      { role: 'assistant', content: [{ type: 'text', text: 'Wait.' }, use('a'), use('b')] },
      { role: 'user', content: [result('a', [{ type: 'text', text: '1' }]), result('b'), { type: 'text', text: 'Go on.' }] }
    ],
    wanted: [
      ...HI,
      { role: 'assistant', content: 'Wait.', tool_calls: [call('a'), call('b')] },
      { role: 'tool', tool_call_id: 'a', content: '1' },
      { role: 'tool', tool_call_id: 'b', content: '' },
      { role: 'user', content: 'Go on.' }
    ]
  },
  'an image from a tool is shown behind its text': {
    messages: [...HI, { role: 'assistant', content: [use('a')] }, { role: 'user', content: [result('a', [png, { type: 'text', text: 'A cat' }])] }],
    wanted: [...HI, { role: 'assistant', content: null, tool_calls: [call('a')] }, { role: 'tool', tool_call_id: 'a', content: 'A cat' }, { role: 'user', content: [shown] }]
  },
  'thoughts go back to the model': {
    messages: [...HI, { role: 'assistant', content: [{ type: 'thinking', thinking: 'Hm.', signature: 's' }, { type: 'redacted_thinking', data: 'x' }, { type: 'text', text: 'Yes.' }] }, ...HI],
    wanted: [...HI, { role: 'assistant', content: 'Yes.', reasoning_content: 'Hm.' }, ...HI]
  },
  'thoughts alone': {
    messages: [...HI, { role: 'assistant', content: [{ type: 'thinking', thinking: 'Hm.', signature: '' }] }, ...HI],
    wanted: [...HI, { role: 'assistant', content: '', reasoning_content: 'Hm.' }, ...HI]
  },
  'an answer that nobody else can read': {
    messages: [...HI, { role: 'assistant', content: [{ type: 'redacted_thinking', data: 'x' }] }, ...HI],
    wanted: [...HI, ...HI]
  }
}

for (const [name, { system, messages, wanted }] of Object.entries(CONVERSATIONS)) {
  test(`conversations: ${name}`, async t => {
    t.strictSame(said(messages, system), wanted)
    t.doesNotThrow(() => validateChat(toChat(asking({ messages, ...system !== undefined && { system } }))), 'and a good chat completion')
  })
}

const user = (...content: unknown[]) => ({ messages: [{ role: 'user', content }] })

const REFUSED: Record<string, [Members, string, string]> = {
  'no limit': [{ max_tokens: undefined }, 'missing_required_parameter', 'max_tokens'],
  'no room': [{ max_tokens: 0 }, 'invalid_value', 'max_tokens'],
  'a limit as text': [{ max_tokens: '10' }, 'invalid_type', 'max_tokens'],
  'no messages': [{ messages: [] }, 'invalid_value', 'messages'],
  'no model': [{ model: undefined }, 'missing_required_parameter', 'model'],
  'too hot': [{ temperature: 1.5 }, 'invalid_value', 'temperature'],
  'another role': [{ messages: [{ role: 'tool', content: '' }] }, 'invalid_value', 'messages[0].role'],
  'an answer begun by the caller': [{ messages: [...HI, { role: 'assistant', content: 'Well,' }] }, 'invalid_value', 'messages'],
  'five stop sequences': [{ stop_sequences: ['a', 'b', 'c', 'd', 'e'] }, 'invalid_value', 'stop_sequences'],
  'an image elsewhere': [user({ type: 'image', source: { type: 'url', url: 'http://169.254.169.254/' } }), 'invalid_value', 'messages[0].content[0].source.url'],
  'a stored image': [user({ type: 'image', source: { type: 'file', file_id: 'f' } }), 'unsupported_value', 'messages[0].content[0].source'],
  'a drawing with scripts': [user({ type: 'image', source: { type: 'base64', media_type: 'image/svg+xml', data: 'A' } }), 'invalid_value', 'messages[0].content[0].source.media_type'],
  'an address as data': [user({ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'http://x/' } }), 'invalid_value', 'messages[0].content[0].source.data'],
  citations: [user({ type: 'document', citations: { enabled: true }, source: { type: 'text', media_type: 'text/plain', data: 'D' } }), 'unsupported_value', 'messages[0].content[0].citations'],
  'a search result': [user({ type: 'search_result', source: 's', title: 't', content: [] }), 'unsupported_value', 'messages[0].content[0]'],
  'an unknown block': [user({ type: 'hologram' }), 'invalid_value', 'messages[0].content[0].type'],
  'a result nobody asked for': [user({ type: 'tool_result', tool_use_id: 'a', content: '' }), 'invalid_value', 'messages[0].content[0].tool_use_id'],
  'a tool of the server': [{ tools: [{ type: 'web_search_20250305', name: 'web_search' }] }, 'unsupported_value', 'tools[0].type'],
  'a tool without a schema': [{ tools: [{ name: 'add' }] }, 'missing_required_parameter', 'tools[0].input_schema'],
  'a name that is too long': [{ tools: [{ name: 'a'.repeat(65), input_schema: {} }] }, 'invalid_value', 'tools[0].name'],
  'a choice of nothing': [{ tool_choice: { type: 'any' } }, 'invalid_value', 'tool_choice'],
  'a choice of another': [{ tools: [TOOL], tool_choice: { type: 'tool', name: 'sub' } }, 'invalid_value', 'tool_choice.name'],
  'where it is computed': [{ inference_geo: 'us' }, 'unsupported_value', 'inference_geo'],
  'a container': [{ container: 'c' }, 'unsupported_value', 'container'],
  'servers of tools': [{ mcp_servers: [{ type: 'url', url: 'https://x', name: 'x' }] }, 'unsupported_value', 'mcp_servers'],
  'another base URL': [{ base_url: 'http://x' }, 'unsupported_parameter', 'base_url']
}

for (const [name, [given, code, param]] of Object.entries(REFUSED)) {
  test(`refused by name: ${name}`, async t => {
    try {
      toChat(asking(given))
      t.fail('it was taken')
    } catch (error) {
      t.match(error, { code, param })
      t.ok(errorBody(error as GatewayError, 'req_1').error.message.includes(param), 'and the answer says where')
    }
  })
}

test('tokens are counted without a limit', async t => {
  t.strictSame(toCountedChat({ model: 'm', messages: structuredClone(HI) }), { model: 'm', messages: HI })
})

test('thoughts are shown to who asked for them', async t => {
  const shows = (thinking?: Members) => showsThoughts({ ...thinking !== undefined && { thinking } })
  t.strictSame([shows(), shows({ type: 'disabled' }), shows({ type: 'adaptive', display: 'omitted' })], [false, false, false])
  t.strictSame([shows({ type: 'enabled', budget_tokens: 1024 }), shows({ type: 'adaptive' }), shows({ type: 'adaptive', display: 'summarized' })], [true, true, true])
})
