import { test } from 'tap'
import { toGenerate } from '../../../src/wire/gemini/request.ts'
import type { ChatRequest } from '../../../src/wire/chat.ts'

const HI = { role: 'user', content: 'hi' }
const asked = (more: Record<string, unknown>, model = 'gemini-2.5-flash') => toGenerate({ model, messages: [HI], ...more } as unknown as ChatRequest, 'auto')
const config = (more: Record<string, unknown>, model?: string) => asked(more, model)['generationConfig']

test('a question alone is a content alone', async t => {
  t.strictSame(asked({}), { contents: [{ role: 'user', parts: [{ text: 'hi' }] }] })
})

test('how to answer goes under Gemini\'s names', async t => {
  t.same(config({
    temperature: 0, top_p: 0.5, top_k: 4, max_tokens: 5, max_completion_tokens: 7, n: 2, stop: 'a', seed: 3, presence_penalty: 0.1, frequency_penalty: 0.2, logprobs: true, top_logprobs: 4
  }), {
    temperature: 0, topP: 0.5, topK: 4, maxOutputTokens: 7, candidateCount: 2, stopSequences: ['a'], seed: 3, presencePenalty: 0.1, frequencyPenalty: 0.2, responseLogprobs: true, logprobs: 4
  })
  t.equal(config({ n: 1, logprobs: false, user: 'u', metadata: {}, store: false, stream_options: {}, service_tier: 'auto' }), undefined)
})

test('JSON, with a schema and without', async t => {
  const schema = { type: 'object', properties: { a: { $ref: '#/$defs/a' } }, $defs: { a: { type: 'string' } } }
  t.same(config({ response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } }), { responseMimeType: 'application/json', responseJsonSchema: schema })
  t.same(config({ response_format: { type: 'json_object' } }), { responseMimeType: 'application/json' })
  t.equal(config({ response_format: { type: 'text' } }), undefined)
})

test('effort is a budget up to 2.5 and a level since, with the thoughts shown', async t => {
  const thinking = (reasoning_effort: string, model?: string) => (config({ reasoning_effort }, model) as { thinkingConfig: unknown }).thinkingConfig
  t.same(thinking('low'), { thinkingBudget: 1024, includeThoughts: true })
  t.same(thinking('high'), { thinkingBudget: 24_576, includeThoughts: true })
  t.same(thinking('none'), { thinkingBudget: 0 })
  t.same(thinking('medium', 'gemini-3.5-flash'), { thinkingLevel: 'medium', includeThoughts: true })
  t.same(thinking('max', 'gemini-flash-latest'), { thinkingLevel: 'high', includeThoughts: true })
  for (const model of ['gemini-3-pro', 'gemini-2.5-pro']) t.throws(() => thinking('none', model), { code: 'unsupported_value', param: 'reasoning_effort', message: `reasoning_effort: ${model} always thinks; ask for "minimal" or "low".` })
})

const TOOLS = [{ type: 'function', function: { name: 'f', description: 'd', parameters: { type: 'object' } } }, { type: 'function', function: { name: 'g' } }]

test('tools and every choice among them', async t => {
  const declared = [{ name: 'f', description: 'd', parametersJsonSchema: { type: 'object' } }, { name: 'g' }]
  const choice = (tool_choice?: unknown, tools: unknown = TOOLS) => (asked({ tools, ...tool_choice !== undefined && { tool_choice } })['toolConfig'] as { functionCallingConfig: unknown }).functionCallingConfig
  t.same(asked({ tools: TOOLS })['tools'], [{ functionDeclarations: declared }])
  t.same(choice(), { mode: 'AUTO' })
  t.same(choice('none'), { mode: 'NONE' })
  t.same(choice('required'), { mode: 'ANY' })
  t.same(choice({ type: 'function', function: { name: 'g' } }), { mode: 'ANY', allowedFunctionNames: ['g'] })
  t.same(choice('auto', [{ type: 'function', function: { name: 'f', strict: true } }]), { mode: 'VALIDATED' })
  const allowed = { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [{ type: 'function', function: { name: 'g' } }] } }
  t.same(choice(allowed), { mode: 'ANY' })
  t.same(asked({ tools: TOOLS, tool_choice: allowed })['tools'], [{ functionDeclarations: [{ name: 'g' }] }])
})

test('a conversation: instructions in front, neighbours together, results with the name of their function', async t => {
  const call = (id: string, name: string, more = {}) => ({ id, type: 'function', function: { name, arguments: '{"a":1}' }, ...more })
  const messages = [
    { role: 'system', content: 'Be brief.' }, HI, { role: 'user', content: [{ type: 'text', text: 'there' }] }, { role: 'developer', content: 'And kind.' },
    { role: 'assistant', content: 'Well.', tool_calls: [call('c1', 'f', { extra_content: { google: { thought_signature: 'sig' } } }), call('c2', 'g')] },
    { role: 'tool', tool_call_id: 'c1', content: 'one' }, { role: 'tool', tool_call_id: 'c2', content: [{ type: 'text', text: 'tw' }, { type: 'text', text: 'o' }] }
  ]
  t.strictSame(asked({ messages }), {
    systemInstruction: { parts: [{ text: 'Be brief.' }, { text: 'And kind.' }] },
    contents: [
      { role: 'user', parts: [{ text: 'hi' }, { text: 'there' }] },
      { role: 'model', parts: [
        { text: 'Well.' }, { functionCall: { id: 'c1', name: 'f', args: { a: 1 } }, thoughtSignature: 'sig' }, { functionCall: { id: 'c2', name: 'g', args: { a: 1 } } }
      ] },
      { role: 'user', parts: [{ functionResponse: { id: 'c1', name: 'f', response: { output: 'one' } } }, { functionResponse: { id: 'c2', name: 'g', response: { output: 'two' } } }] }
    ]
  })
})

test('calls whose signature was lost go to models that insist on one, with the word for that', async t => {
  const messages = [HI, { role: 'assistant', content: null, tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '' } }] }]
  t.match(asked({ messages }, 'gemini-3-pro')['contents'], [{}, { parts: [{ thoughtSignature: 'skip_thought_signature_validator' }] }])
  t.notMatch(JSON.stringify(asked({ messages })), /Signature/)
})

test('images, sounds and PDF go inline', async t => {
  const parts = (content: unknown[]) => (asked({ messages: [{ role: 'user', content }] })['contents'] as { parts: unknown }[])[0]?.parts
  t.same(parts([{ type: 'image_url', image_url: { url: 'data:image/PNG;base64,QUJD' } }]), [{ inlineData: { mimeType: 'image/png', data: 'QUJD' } }])
  t.same(parts([{ type: 'input_audio', input_audio: { data: 'QUJD', format: 'wav' } }]), [{ inlineData: { mimeType: 'audio/wav', data: 'QUJD' } }])
  t.same(parts([{ type: 'file', file: { file_data: 'data:application/pdf;base64,QUJD' } }]), [{ inlineData: { mimeType: 'application/pdf', data: 'QUJD' } }])
})

const user = (part: unknown) => ({ messages: [{ role: 'user', content: [part] }] })
const REFUSED: Array<[string, Record<string, unknown>]> = [
  ['logit_bias', { logit_bias: { 1: 2 } }],
  ['parallel_tool_calls', { parallel_tool_calls: false }],
  ['service_tier', { service_tier: 'priority' }],
  ['store', { store: true }],
  ['prediction', { prediction: {} }],
  ['?', { 'was ist das': 1 }],
  ['top_k', { top_k: 0 }],
  ['stop', { stop: ['a', 'b', 'c', 'd', 'e', 'f'] }],
  ['tools[0].type', { tools: [{ type: 'custom' }] }],
  ['messages', { messages: [{ role: 'system', content: 'x' }] }],
  ['messages[0].name', { messages: [{ ...HI, name: 'eve' }] }],
  ['messages[0].role', { messages: [{ role: 'function', content: 'x' }] }],
  ['messages[1].tool_call_id', { messages: [HI, { role: 'tool', tool_call_id: 'c9', content: 'x' }] }],
  ['messages[0].content[0].image_url.url', user({ type: 'image_url', image_url: { url: 'https://example.com/a.png' } })],
  ['messages[0].content[0].image_url.detail', user({ type: 'image_url', image_url: { url: 'data:image/png;base64,QUJD', detail: 'low' } })],
  ['messages[0].content[0].file', user({ type: 'file', file: { file_id: 'f' } })],
  ['messages[0].tool_calls[0].function.arguments', { messages: [{ role: 'assistant', tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '[1]' } }] }] }]
]

for (const [param, more] of REFUSED) {
  test(`refused by name: ${param}`, async t => {
    let thrown: unknown = null
    try { asked(more) } catch (error) { thrown = error }
    t.match(thrown, { code: 'unsupported_value', param, fallback: true })
    t.ok(String((thrown as Error).message).startsWith(`${param}: `))
  })
}
