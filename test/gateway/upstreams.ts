/** What an OpenAI and an Anthropic say for one question, in fixed bytes: whole and streamed, in words, in a call, as a refusal, and broken off. */
import type { Members } from './script.ts'

export type Asked = 'text' | 'tools' | 'error' | 'broken'

/** Status, content type and bytes. */
export type Fixed = readonly [status: number, type: string, bytes: string]

const json = (status: number, value: unknown): Fixed => [status, 'application/json', JSON.stringify(value)]
const sse = (bytes: string): Fixed => [200, 'text/event-stream; charset=utf-8', bytes]

const HEAD = { id: 'chatcmpl-upstream', created: 1_790_000_000, model: 'gpt-upstream', service_tier: 'default', system_fingerprint: 'fp_1' }
const USAGE = {
  prompt_tokens: 21, completion_tokens: 9, total_tokens: 30,
  prompt_tokens_details: { cached_tokens: 16, audio_tokens: 0 }, completion_tokens_details: { reasoning_tokens: 4, audio_tokens: 0 }
}
const WORDS = ['Grüezi, ', 'you ', '\u{1F99C}.']
const ARGUMENTS = ['{"city":', '"Zürich"}']
const CALL = { id: 'call_upstream', type: 'function', function: { name: 'look', arguments: ARGUMENTS.join('') } }

const datas = (values: readonly unknown[]): string => values.map(value => `data: ${JSON.stringify(value)}\n\n`).join('')
const chunk = (delta: Members, finish: string | null = null): Members =>
  ({ ...HEAD, object: 'chat.completion.chunk', choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }], usage: null, obfuscation: 'aZ' })
const counted = { ...HEAD, object: 'chat.completion.chunk', choices: [], usage: USAGE, obfuscation: 'q' }
const spoken = [chunk({ role: 'assistant', content: '', refusal: null }), ...WORDS.map(content => chunk({ content }))]
const calling = [
  chunk({ role: 'assistant', content: null }),
  chunk({ tool_calls: [{ index: 0, ...CALL, function: { ...CALL.function, arguments: '' } }] }),
  ...ARGUMENTS.map(part => chunk({ tool_calls: [{ index: 0, function: { arguments: part } }] }))
]
const completed = (message: Members, finish: string): Fixed => json(200, {
  ...HEAD, object: 'chat.completion', choices: [{ index: 0, message: { role: 'assistant', refusal: null, annotations: [], ...message }, logprobs: null, finish_reason: finish }], usage: USAGE
})
const TOO_WARM = json(400, { error: { message: 'Too warm.', type: 'invalid_request_error', param: 'temperature', code: 'invalid_value' } })

const continued = (text: string, finish: string | null): Members => ({ ...HEAD, object: 'text_completion', choices: [{ text, index: 0, logprobs: null, finish_reason: finish }] })

/** At /v1/chat/completions and /v1/completions. */
export function openai (asked: Asked, path: string, isStream: boolean): Fixed {
  if (asked === 'error') return TOO_WARM
  if (path.endsWith('/v1/completions')) {
    if (!isStream) return json(200, { ...continued(WORDS.join(''), 'stop'), usage: USAGE })
    const words = WORDS.map(word => continued(word, null))
    return sse(asked === 'broken' ? datas(words.slice(0, 1)) : `${datas([...words, continued('', 'stop'), { ...HEAD, object: 'text_completion', choices: [], usage: USAGE }])}data: [DONE]\n\n`)
  }
  if (asked === 'broken') return sse(datas(spoken.slice(0, 2)))
  const isCall = asked === 'tools'
  if (!isStream) return isCall ? completed({ content: null, tool_calls: [CALL] }, 'tool_calls') : completed({ content: WORDS.join('') }, 'stop')
  return sse(`${datas([...isCall ? calling : spoken, chunk({}, isCall ? 'tool_calls' : 'stop'), counted])}data: [DONE]\n\n`)
}

const MESSAGE = { id: 'msg_upstream', type: 'message', role: 'assistant', model: 'claude-upstream' }
const READ = { input_tokens: 5, cache_creation_input_tokens: 0, cache_read_input_tokens: 16 }
const TOOL = { type: 'tool_use', id: 'toolu_upstream', name: 'look' }
const named = (values: readonly Members[]): string => values.map(value => `event: ${String(value['type'])}\ndata: ${JSON.stringify(value)}\n\n`).join('')
const started: Members = { type: 'message_start', message: { ...MESSAGE, content: [], stop_reason: null, stop_sequence: null, usage: { ...READ, output_tokens: 1 } } }
const block = (start: Members, deltas: readonly Members[]): Members[] => [
  { type: 'content_block_start', index: 0, content_block: start }, { type: 'ping' },
  ...deltas.map(delta => ({ type: 'content_block_delta', index: 0, delta })), { type: 'content_block_stop', index: 0 }
]
const said = block({ type: 'text', text: '' }, WORDS.map(text => ({ type: 'text_delta', text })))
const used = block({ ...TOOL, input: {} }, ['', ...ARGUMENTS].map(part => ({ type: 'input_json_delta', partial_json: part })))
const ended = (reason: string): Members[] => [{ type: 'message_delta', delta: { stop_reason: reason, stop_sequence: null }, usage: { output_tokens: 9 } }, { type: 'message_stop' }]
const answered = (content: readonly Members[], reason: string): Fixed => json(200, { ...MESSAGE, content, stop_reason: reason, stop_sequence: null, usage: { ...READ, output_tokens: 9 } })

/** At /v1/messages. */
export function anthropic (asked: Asked, _path: string, isStream: boolean): Fixed {
  if (asked === 'error') return json(400, { type: 'error', error: { type: 'invalid_request_error', message: 'temperature: too warm.' }, request_id: 'req_upstream' })
  if (asked === 'broken') return sse(named([started, ...said.slice(0, 3), { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }]))
  const isCall = asked === 'tools'
  const reason = isCall ? 'tool_use' : 'end_turn'
  if (isStream) return sse(named([started, ...isCall ? used : said, ...ended(reason)]))
  return answered(isCall ? [{ ...TOOL, input: { city: 'Zürich' } }] : [{ type: 'text', text: WORDS.join('') }], reason)
}
