/** Shapes of Open Responses 2026-04-24, as far as they are required: the response, its items, and every event. */
import { Ajv } from 'ajv'
import type { Members } from './script.ts'

const string = { type: 'string' }
const integer = { type: 'integer' }
const decimal = { type: 'number' }
const boolean = { type: 'boolean' }
const array = { type: 'array' }
const any = {}
const orNull = (schema: object) => ({ anyOf: [schema, { type: 'null' }] })
const only = (...values: unknown[]) => ({ enum: values })
const of = (properties: Record<string, object>, optional: Record<string, object> = {}) =>
  ({ type: 'object', required: Object.keys(properties), properties: { ...optional, ...properties } })

const status = only('in_progress', 'completed', 'incomplete')
const text = of({ type: only('output_text'), text: string, annotations: array, logprobs: array })
const part = { anyOf: [text, of({ type: only('refusal'), refusal: string }), of({ type: only('reasoning_text', 'summary_text', 'input_text'), text: string }), of({ type: only('input_image'), image_url: orNull(string) })] }
const item = {
  oneOf: [
    of({ type: only('message'), id: string, status, role: only('user', 'assistant', 'system', 'developer'), content: { type: 'array', items: part } }, { phase: orNull(only('commentary', 'final_answer')) }),
    of({ type: only('function_call'), id: string, call_id: string, name: string, arguments: string, status }),
    of({ type: only('function_call_output'), id: string, call_id: string, output: any, status }),
    of({ type: only('custom_tool_call'), id: string, call_id: string, name: string, input: string }),
    of({ type: only('reasoning'), id: string, summary: { type: 'array', items: part } }, { content: { type: 'array', items: part } }),
    of({ type: only('compaction'), id: string, encrypted_content: string })
  ]
}
const usage = of({
  input_tokens: integer,
  output_tokens: integer,
  total_tokens: integer,
  input_tokens_details: of({ cached_tokens: integer }),
  output_tokens_details: of({ reasoning_tokens: integer })
})
const tool = { anyOf: [of({ type: only('function'), name: string, description: orNull(string), parameters: orNull({ type: 'object' }), strict: orNull(boolean) }), of({ type: only('custom', 'namespace') })] }
const response = of({
  id: string,
  object: only('response'),
  created_at: integer,
  completed_at: orNull(integer),
  status: only('queued', 'in_progress', 'completed', 'incomplete', 'failed'),
  incomplete_details: orNull(of({ reason: string })),
  model: string,
  previous_response_id: orNull(string),
  instructions: orNull(string),
  output: { type: 'array', items: item },
  error: orNull(of({ code: string, message: string })),
  tools: { type: 'array', items: tool },
  tool_choice: any,
  truncation: only('auto', 'disabled'),
  parallel_tool_calls: boolean,
  text: of({ format: of({ type: string }) }),
  top_p: decimal,
  presence_penalty: decimal,
  frequency_penalty: decimal,
  top_logprobs: integer,
  temperature: decimal,
  reasoning: orNull(of({ effort: orNull(string), summary: orNull(string) })),
  usage: orNull(usage),
  max_output_tokens: orNull(integer),
  max_tool_calls: orNull(integer),
  store: boolean,
  background: boolean,
  service_tier: string,
  metadata: any,
  safety_identifier: orNull(string),
  prompt_cache_key: orNull(string)
})
const compaction = of({ id: string, object: only('response.compaction'), created_at: integer, output: { type: 'array', items: item }, usage })

const place = { item_id: string, output_index: integer }
const content = { ...place, content_index: integer }
const summary = { ...place, summary_index: integer }
const EVENTS: Record<string, Record<string, object>> = {
  'response.created': { response },
  'response.in_progress': { response },
  'response.completed': { response },
  'response.incomplete': { response },
  'response.failed': { response },
  'response.output_item.added': { output_index: integer, item },
  'response.output_item.done': { output_index: integer, item },
  'response.content_part.added': { ...content, part },
  'response.content_part.done': { ...content, part },
  'response.output_text.delta': { ...content, delta: string, logprobs: array },
  'response.output_text.done': { ...content, text: string, logprobs: array },
  'response.refusal.delta': { ...content, delta: string },
  'response.refusal.done': { ...content, refusal: string },
  'response.reasoning_text.delta': { ...content, delta: string },
  'response.reasoning_text.done': { ...content, text: string },
  'response.reasoning_summary_part.added': { ...summary, part },
  'response.reasoning_summary_part.done': { ...summary, part },
  'response.reasoning_summary_text.delta': { ...summary, delta: string },
  'response.reasoning_summary_text.done': { ...summary, text: string },
  'response.function_call_arguments.delta': { ...place, delta: string },
  'response.function_call_arguments.done': { ...place, arguments: string },
  'response.custom_tool_call_input.delta': { ...place, delta: string },
  'response.custom_tool_call_input.done': { ...place, input: string }
}

const ajv = new Ajv({ strict: false, allErrors: true })
const check = (schema: object) => {
  const validate = ajv.compile(schema)
  return (value: unknown): string[] => validate(value) ? [] : validate.errors!.map(({ instancePath, message }) => `${instancePath} ${message}`)
}
export const faultsOfResponse = check(response)
export const faultsOfCompaction = check(compaction)
const faultsOfEvent = new Map(Object.entries(EVENTS).map(([type, members]) => [type, check(of({ type: only(type), sequence_number: integer, ...members }))]))
faultsOfEvent.set('error', check(of({ type: only('error'), error: of({ type: string, code: orNull(string), message: string, param: orNull(string) }) })))

/** Every event known and whole, numbered from 0 by 1, the first two and the last in their places. Empty when all is well. */
export function faultsOfStream (events: readonly Members[]): string[] {
  const faults = events.flatMap(event => (faultsOfEvent.get(event['type']) ?? (() => ['is not known']))(event).map(fault => `${event['type']}: ${fault}`))
  const numbers = events.map(event => event['sequence_number'])
  if (numbers.some((number, index) => number !== index)) faults.push(`numbers are ${numbers.join(',')}`)
  if (events[0]?.['type'] !== 'response.created' || events[1]?.['type'] !== 'response.in_progress') faults.push('begins otherwise')
  const last = events.at(-1)?.['response']
  if (last === undefined) faults.push('ends otherwise')
  else if (JSON.stringify(last.output) !== JSON.stringify(events.filter(({ type }) => type === 'response.output_item.done').toSorted((a, b) => a['output_index'] - b['output_index']).map(({ item: one }) => one))) faults.push('the response has other items than were done')
  return faults
}
