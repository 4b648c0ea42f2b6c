/** Items as they are listed. Source: OpenAI API reference, "List input items", read 2026-11-22. */
import type { Members } from '../check.ts'
import { integer, oneOf, text, toError, within } from '../check.ts'
import { FIRST_INPUT, itemId } from './ids.ts'

const PREFIXES: Readonly<Record<string, string>> = {
  message: 'msg', reasoning: 'rs', function_call: 'fc', function_call_output: 'fco', custom_tool_call: 'ctc', custom_tool_call_output: 'ctco', compaction: 'cmp'
}

/** Every item with an id, and every message with parts. @param response whose input they are */
export function identified (items: readonly Members[], response: string): Members[] {
  return items.map((item, index) => ({
    ...item,
    id: item['id'] ?? itemId(PREFIXES[item['type'] as string] ?? 'item', response, FIRST_INPUT + index),
    ...item['type'] === 'message' && typeof item['content'] === 'string' && { content: [partOf(item['role'], item['content'])] }
  }))
}

function partOf (role: unknown, said: string): Members {
  return role === 'assistant' ? { type: 'output_text', text: said, annotations: [], logprobs: [] } : { type: 'input_text', text: said }
}

const limit = integer(1, 100)
const order = oneOf('asc', 'desc')
const after = text({ least: 1, most: 512 })
const DEFAULT_LIMIT = 20

/**
 * One page, latest first unless asked otherwise.
 * @param query as it came with the address
 * @throws GatewayError naming the parameter
 */
export function pageOf (items: readonly Members[], query: Readonly<Record<string, unknown>>): Members {
  const most = query['limit'] === undefined ? DEFAULT_LIMIT : Number(query['limit'])
  const way = query['order'] ?? 'desc'
  for (const [name, fault] of Object.entries({ limit: limit(most), order: order(way), after: query['after'] === undefined ? null : after(query['after']) })) {
    if (fault !== null) throw toError(within(name, fault))
  }
  const ordered = way === 'desc' ? items.toReversed() : items
  // What comes after an item that is not there is nothing.
  const from = query['after'] === undefined ? 0 : (ordered.findIndex(({ id }) => id === query['after']) + 1 || ordered.length)
  const data = ordered.slice(from, from + most)
  return { object: 'list', data, first_id: data[0]?.['id'] ?? null, last_id: data.at(-1)?.['id'] ?? null, has_more: from + most < ordered.length }
}
