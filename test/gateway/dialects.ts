/** The dialects in which text is asked for: one question in each, and what an answer says, whatever it was told in. */
import type { Members } from './script.ts'

export const DIALECTS = ['chat', 'completions', 'messages', 'responses'] as const
export type Dialect = typeof DIALECTS[number]

export const PATHS: Readonly<Record<Dialect, string>> = { chat: '/v1/chat/completions', completions: '/v1/completions', messages: '/v1/messages', responses: '/v1/responses' }

const PARAMETERS = { type: 'object', properties: { city: { type: 'string', enum: ['Zürich', 'Bern'] } }, required: ['city'], additionalProperties: false }

/** A question in the words of a dialect, with a tool that has to be used where one is wanted. Answers are at most 30 tokens long. */
export function question (dialect: Dialect, content: string, { stream = false, tool = false } = {}): Members {
  const streams = stream ? { stream } : {}
  const counts = stream ? { stream_options: { include_usage: true } } : {}
  const look = { name: 'look', description: 'Looks.' }
  switch (dialect) {
    case 'chat': return {
      messages: [{ role: 'user', content }], temperature: 0, max_tokens: 30, ...streams, ...counts,
      ...tool && { tools: [{ type: 'function', function: { ...look, parameters: PARAMETERS } }], tool_choice: { type: 'function', function: { name: 'look' } } }
    }
    case 'completions': return { prompt: content, temperature: 0, max_tokens: 12, ...streams, ...counts }
    case 'messages': return {
      messages: [{ role: 'user', content }], temperature: 0, max_tokens: 30, ...streams,
      ...tool && { tools: [{ ...look, input_schema: PARAMETERS }], tool_choice: { type: 'tool', name: 'look' } }
    }
    case 'responses': return {
      input: content, temperature: 0, max_output_tokens: 30, ...streams,
      ...tool && { tools: [{ type: 'function', ...look, parameters: PARAMETERS }], tool_choice: { type: 'function', name: 'look' } }
    }
  }
}

/** What an answer comes to. */
export interface Said { readonly text: string, readonly calls: readonly (readonly [name: string, input: unknown])[], readonly ended: unknown, readonly usage: Members }

export const eventsOf = (body: string): Members[] =>
  [...body.matchAll(/^data: (.*)$/gm)].flatMap(([, data]) => data === '[DONE]' ? [] : [JSON.parse(data!) as Members])

export function wholly (dialect: Dialect, body: Members): Said {
  if (dialect === 'messages') return ofBlocks(body['content'] as Members[], body['stop_reason'], body['usage'] as Members)
  if (dialect === 'responses') return ofItems(body)
  const [choice] = body['choices'] as Members[]
  const message: Members = choice!['message'] ?? { content: choice!['text'] }
  const calls = (message['tool_calls'] ?? []) as Members[]
  return { text: message['content'] ?? '', calls: calls.map(call => [call['function'].name, JSON.parse(call['function'].arguments)]), ended: choice!['finish_reason'], usage: body['usage'] as Members }
}

/** Put together as the clients do it. */
export function streamed (dialect: Dialect, events: readonly Members[]): Said {
  if (dialect === 'responses') return ofItems(events.at(-1)!['response'] as Members, deltas(events, 'response.output_text.delta'))
  if (dialect === 'messages') return ofBlockEvents(events)
  let text = ''
  let ended: unknown = null
  const calls: { name: string, input: string }[] = []
  for (const event of events) {
    const choice = (event['choices'] as Members[])[0]
    text += choice?.['delta']?.content ?? choice?.['text'] ?? ''
    ended = choice?.['finish_reason'] ?? ended
    for (const call of (choice?.['delta']?.tool_calls ?? []) as Members[]) {
      const one = calls[call['index'] as number] ??= { name: call['function'].name as string, input: '' }
      one.input += call['function'].arguments
    }
  }
  return { text, calls: calls.map(({ name, input }) => [name, JSON.parse(input)]), ended, usage: events.at(-1)!['usage'] as Members }
}

function ofBlockEvents (events: readonly Members[]): Said {
  const blocks: Members[] = []
  for (const { type, index, content_block: block, delta } of events) {
    if (type === 'content_block_start') blocks[index] = { ...block, json: '' }
    if (delta?.type === 'text_delta') blocks[index]!['text'] += delta.text
    if (delta?.type === 'input_json_delta') blocks[index]!['json'] += delta.partial_json
  }
  const last = events.find(({ type }) => type === 'message_delta')!
  const usage = { ...events[0]!['message'].usage, ...last['usage'] }
  return ofBlocks(blocks.map(({ json, ...block }) => json === '' ? block : { ...block, input: JSON.parse(json) }), last['delta'].stop_reason, usage)
}

function ofBlocks (blocks: readonly Members[], ended: unknown, usage: Members): Said {
  return {
    text: blocks.map(({ text }) => text ?? '').join(''),
    calls: blocks.filter(({ type }) => type === 'tool_use').map(({ name, input }) => [name, input]),
    ended, usage
  }
}

function ofItems ({ output, status, usage }: Members, text?: string): Said {
  const parts = (output as Members[]).flatMap(({ content }) => (content ?? []) as Members[])
  const calls = (output as Members[]).filter(({ type }) => type === 'function_call')
  return { text: text ?? parts.map(part => part['text']).join(''), calls: calls.map(call => [call['name'], JSON.parse(call['arguments'])]), ended: status, usage }
}

const deltas = (events: readonly Members[], type: string): string => events.filter(event => event['type'] === type).map(event => event['delta']).join('')
