/** Chat bodies in the form in which clients send them. All are valid and hold nothing that validation would remove. */
import { readFileSync } from 'node:fs'

type Body = Record<string, unknown>

const PNG = 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Current weather of a city.',
    strict: true,
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' }, unit: { type: ['string', 'null'], enum: ['celsius', 'fahrenheit', null] } },
      required: ['city', 'unit'],
      additionalProperties: false
    }
  }
}

const shell = { type: 'custom', custom: { name: 'shell', description: 'Runs a command.', format: { type: 'grammar', grammar: { syntax: 'lark', definition: 'start: WORD' } } } }

const call = (id: string, name = 'get_weather', text = '{"city":"Köln","unit":null}') => ({ id, type: 'function', function: { name, arguments: text } })

/** About 39 KB: a long system prompt, two dozen tools, a history of calls. */
function codingAgent (): Body {
  const manual = readFileSync(new URL('../../LICENSE', import.meta.url), 'utf8')
  const names = ['shell', 'apply_patch', 'read_file', 'list_dir', 'grep_files', 'update_plan', 'web_search', 'view_image']
  const tools = names.flatMap(name => ['', '_v2', '_mcp__github'].map(end => ({
    type: 'function',
    function: {
      name: name + end,
      description: `Use ${name} when the task asks for it. ${manual.slice(0, 300)}`,
      parameters: {
        type: 'object',
        properties: {
          command: { type: 'array', items: { type: 'string' }, description: 'The command to run.' },
          workdir: { type: 'string' },
          timeout_ms: { type: 'number', minimum: 1 },
          options: { anyOf: [{ type: 'object', properties: { constructor: { type: 'string' } } }, { type: 'null' }] }
        },
        required: ['command'],
        additionalProperties: false
      }
    }
  })))
  const history = Array.from({ length: 20 }, (_, index) => [
    { role: 'assistant', content: null, tool_calls: [call(`call_${index}a`, 'shell', '{"command":["ls","-la"]}'), call(`call_${index}b`, 'read_file', '{"command":["a.ts"]}')] },
    { role: 'tool', tool_call_id: `call_${index}a`, content: 'total 8\ndrwxr-xr-x 2 me me 4096 .\n\u001b[0m' },
    { role: 'tool', tool_call_id: `call_${index}b`, content: [{ type: 'text', text: 'export const a = 1\n' }] }
  ]).flat()
  return {
    model: 'gpt-5-codex',
    messages: [{ role: 'developer', content: manual }, { role: 'user', content: 'say hi' }, ...history, { role: 'user', content: 'go on' }],
    tools,
    tool_choice: 'auto',
    parallel_tool_calls: false,
    reasoning_effort: 'high',
    verbosity: 'low',
    stream: true,
    stream_options: { include_usage: true, include_obfuscation: false },
    prompt_cache_key: '0199a3c2-3b5e-7b5e-9d4e-0e8c5c5f6a7b',
    store: false
  }
}

export const BODIES: Record<string, Body> = {
  'the smallest': { model: 'm', messages: [{ role: 'user', content: 'hi' }] },
  'openai, streaming': {
    model: 'gpt-4o-mini',
    messages: [{ role: 'system', content: 'You are a helpful assistant.' }, { role: 'user', content: 'Hello!', name: 'ada_1' }],
    stream: true,
    stream_options: { include_usage: true }
  },
  'openai, every number': {
    model: 'gpt-4o',
    messages: [{ role: 'user', content: 'x' }],
    temperature: 0,
    top_p: 1,
    n: 128,
    max_completion_tokens: 32_000,
    frequency_penalty: -2,
    presence_penalty: 2,
    seed: -42,
    logprobs: true,
    top_logprobs: 20,
    logit_bias: { 50256: -100, 198: 100, 0: 0 },
    stop: ['\n\n', 'END', '</s>', '###'],
    user: 'user-1',
    safety_identifier: 'a'.repeat(64),
    service_tier: 'flex',
    metadata: { run: 'nightly', note: 'two\nlines', empty: '' },
    store: true,
    modalities: ['text'],
    prompt_cache_retention: '24h',
    prompt_cache_options: { mode: 'implicit' }
  },
  'openai, tools': {
    model: 'gpt-4o',
    messages: [
      { role: 'user', content: 'Weather in Köln?' },
      { role: 'assistant', content: null, tool_calls: [call('call_1'), call('call_2')] },
      { role: 'tool', tool_call_id: 'call_1', content: '{"c":17}' },
      { role: 'tool', tool_call_id: 'call_2', content: '' },
      { role: 'assistant', content: 'It is 17 °C.' },
      { role: 'user', content: 'Thanks' }
    ],
    tools: [weather, { type: 'function', function: { name: 'no-parameters' } }],
    tool_choice: { type: 'function', function: { name: 'get_weather' } },
    parallel_tool_calls: true
  },
  'openai, custom tools': {
    model: 'gpt-5',
    messages: [
      { role: 'user', content: 'list' },
      { role: 'assistant', tool_calls: [{ id: 'c1', type: 'custom', custom: { name: 'shell', input: 'ls' } }] },
      { role: 'tool', tool_call_id: 'c1', content: 'a.ts' }
    ],
    tools: [shell, { type: 'custom', custom: { name: 'free', format: { type: 'text' } } }, { type: 'custom', custom: { name: 'plain' } }],
    tool_choice: { type: 'custom', custom: { name: 'shell' } }
  },
  'openai, allowed tools': {
    model: 'gpt-5',
    messages: [{ role: 'user', content: 'x' }],
    tools: [weather, shell],
    tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [{ type: 'function', function: { name: 'get_weather' } }, { type: 'custom', custom: { name: 'shell' } }] } }
  },
  'openai, deprecated functions': {
    model: 'gpt-3.5-turbo',
    messages: [
      { role: 'user', content: 'x' },
      { role: 'assistant', content: null, function_call: { name: 'get_weather', arguments: '{}' } },
      { role: 'function', name: 'get_weather', content: null },
      { role: 'user', content: 'and?' }
    ],
    functions: [{ name: 'get_weather', description: 'd', parameters: { type: 'object', properties: {} } }],
    function_call: { name: 'get_weather' },
    max_tokens: 16
  },
  'openai, json_schema': {
    model: 'gpt-4o',
    messages: [{ role: 'user', content: 'Extract.' }],
    response_format: {
      type: 'json_schema',
      json_schema: {
        name: 'event',
        description: 'One event.',
        strict: true,
        schema: { $defs: { day: { type: 'string' } }, type: 'object', properties: { day: { $ref: '#/$defs/day' }, next: { anyOf: [{ $ref: '#' }, { type: 'null' }] } }, required: ['day', 'next'] }
      }
    }
  },
  'openai, plain text asked for': { model: 'm', messages: [{ role: 'user', content: 'x' }], response_format: { type: 'text' } },
  'openai, json_object': { model: 'm', messages: [{ role: 'user', content: 'JSON please' }], response_format: { type: 'json_object' }, stop: 'x' },
  'instructor, json_object with a schema': { model: 'm', messages: [{ role: 'user', content: 'x' }], response_format: { type: 'json_object', schema: { type: 'object' } }, tools: [weather], tool_choice: 'required' },
  'openai, images': {
    model: 'gpt-4o',
    messages: [{
      role: 'user',
      content: [
        { type: 'text', text: 'What is this?' },
        { type: 'image_url', image_url: { url: PNG, detail: 'low' } },
        { type: 'image_url', image_url: { url: 'data:image/jpeg;name=a.jpg;base64,/9j/4AAQ' } }
      ]
    }]
  },
  'openai, audio and files': {
    model: 'gpt-4o-audio',
    messages: [{
      role: 'user',
      content: [
        { type: 'input_audio', input_audio: { data: 'UklGRg==', format: 'wav' } },
        { type: 'input_audio', input_audio: { data: '//uQxAAAAAAA', format: 'mp3' } },
        { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBERi0=' } },
        { type: 'file', file: { file_id: 'file-123' } },
        { type: 'file', file: { file_data: 'JVBERi0xLjQK' } },
        { type: 'text', text: '', prompt_cache_breakpoint: { mode: 'explicit' } }
      ]
    }, { role: 'assistant', audio: { id: 'audio_1' } }, { role: 'user', content: 'more' }],
    modalities: ['text', 'audio'],
    audio: { voice: 'alloy', format: 'wav' }
  },
  'openai, prediction and search': { model: 'm', messages: [{ role: 'user', content: 'x' }], prediction: { type: 'content', content: 'const a = 1' }, web_search_options: {}, moderation: { model: 'omni-moderation-latest' } },
  'assistant in parts, and a refusal': {
    model: 'm',
    messages: [
      { role: 'user', content: 'x' },
      { role: 'assistant', content: [{ type: 'text', text: 'a' }, { type: 'refusal', refusal: 'no' }] },
      { role: 'assistant', content: null, refusal: 'no' },
      { role: 'assistant', content: '' },
      { role: 'user', content: '  \n ' }
    ]
  },
  'ai sdk, tools and images': {
    model: 'qwen3',
    max_tokens: 1024,
    temperature: 0.2,
    messages: [
      { role: 'system', content: 'You are terse.' },
      { role: 'user', content: [{ type: 'text', text: 'hi' }, { type: 'image_url', image_url: { url: PNG } }] },
      { role: 'assistant', content: '', tool_calls: [call('t1')] },
      { role: 'tool', tool_call_id: 't1', content: '{"type":"text","value":"ok"}' }
    ],
    tools: [weather],
    tool_choice: 'auto',
    stream: true,
    stream_options: { include_usage: true }
  },
  'langchain, tools': {
    model: 'gpt-4o-mini',
    temperature: 0.7,
    n: 1,
    stream: false,
    messages: [{ role: 'system', content: 's' }, { role: 'user', content: [{ type: 'text', text: 'q' }] }, { role: 'assistant', content: '', tool_calls: [call('c')] }, { role: 'tool', content: '4', name: 'get_weather', tool_call_id: 'c' }],
    tools: [weather],
    tool_choice: 'none',
    parallel_tool_calls: false
  },
  'vllm, members of its own': {
    model: 'qwen3-4b',
    messages: [
      { role: 'user', content: 'x' },
      { role: 'assistant', content: null, reasoning_content: 'cut off while thinking' },
      { role: 'user', content: [{ type: 'text', text: 'go on', cache_control: { type: 'ephemeral' } }], custom: [1] }
    ],
    top_k: 20,
    min_p: 0,
    repetition_penalty: 1.05,
    chat_template_kwargs: { enable_thinking: false },
    guided_json: { type: 'object' },
    ignore_eos: false,
    thinking: { type: 'disabled' },
    nothing: null
  },
  'openrouter, reasoning': {
    model: 'vendor/model:free',
    messages: [{ role: 'user', content: 'x' }, { role: 'assistant', reasoning: 'hm' }, { role: 'user', content: 'y' }],
    reasoning: { effort: 'low' },
    include_reasoning: true
  },
  'a model by path and a long past': {
    model: 'Org/Model-GGUF:Q4_K_M',
    messages: Array.from({ length: 200 }, (_, index) => ({ role: index % 2 === 0 ? 'user' : 'assistant', content: `turn ${index} 😀` }))
  },
  'a coding agent': codingAgent()
}
