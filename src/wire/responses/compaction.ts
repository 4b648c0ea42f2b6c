/** A conversation made short: what a model is asked for it, and what the caller gets. Source: OpenAI API reference, "Compact a response", read 2026-11-22. */
import { GatewayError } from '../../errors.ts'
import type { ChatCompletion, TokenUsage } from '../chat.ts'
import type { Members } from '../check.ts'
import { seconds } from './answer.ts'
import { newId } from './ids.ts'
import { identified } from './listing.ts'
import { toMessages } from './messages.ts'
import type { ResponseRequest } from './request.ts'

/** Longest summary. */
const MOST_TOKENS = 1024

const TASK = 'Summarise the conversation above for whoever goes on with it: what was asked and agreed, facts, names, numbers and decisions, ' +
  'what was done, what the tools said that still matters, and what is left to do. Write the summary alone, without a preface.'
const FOREWORD = 'Summary of the conversation so far:\n\n'

const KEPT = ['prompt_cache_key', 'prompt_cache_retention', 'service_tier', 'safety_identifier', 'user', 'temperature', 'top_p']

/**
 * The chat completion whose answer is the summary. No tools are offered.
 * @param items of the request, and `earlier` ones, without references and compactions
 * @throws GatewayError
 */
export function summaryChat (request: ResponseRequest, items: readonly Members[], earlier: readonly Members[]): { chat: Members, warnings: readonly string[] } {
  const { body } = request
  for (const [name, why] of [['stream', 'it comes in one piece'], ['store', 'it is not kept']] as const) {
    if (body[name] === true) throw new GatewayError('unsupported_value', `Unsupported value: '${name}' must be false; a conversation is compacted for the caller: ${why}.`, { param: name })
  }
  const { messages, warnings } = toMessages((body['instructions'] ?? null) as string | null, items, earlier)
  if (messages.length === 0) throw new GatewayError('invalid_value', "Invalid value for 'input': there is nothing in it to compact.", { param: 'input' })
  const { effort } = (body['reasoning'] ?? {}) as Members
  const kept = Object.fromEntries(KEPT.filter(name => body[name] !== undefined).map(name => [name, body[name]]))
  return {
    chat: { model: request.model, ...kept, ...effort !== undefined && { reasoning_effort: effort }, messages: [...messages, { role: 'user', content: TASK }], max_completion_tokens: MOST_TOKENS },
    warnings
  }
}

/** @throws GatewayError `backend_invalid_answer` where there is none */
export function summaryOf (completion: ChatCompletion): { summary: string, isCut: boolean } {
  const choice = completion.choices[0]
  const summary = choice?.message.content?.trim() ?? ''
  if (summary === '') throw new GatewayError('backend_invalid_answer', 'The backend gave no summary of the conversation.')
  return { summary, isCut: choice?.finish_reason === 'length' }
}

export const CUT_WARNING = `the summary was cut off after ${MOST_TOKENS} tokens`

/** What the users said, as they said it, and one item for all the rest. */
export function compacted (items: readonly Members[], sealed: string, usage: TokenUsage): Members {
  const id = newId('resp')
  const said = identified(items.filter(({ type, role }) => type === 'message' && role === 'user'), id)
  return {
    id,
    object: 'response.compaction',
    created_at: seconds(),
    output: [...said.map(item => ({ ...item, status: 'completed' })), { id: newId('cmp'), type: 'compaction', encrypted_content: sealed }],
    usage: {
      input_tokens: usage.input,
      input_tokens_details: { cached_tokens: usage.cachedInput },
      output_tokens: usage.output,
      output_tokens_details: { reasoning_tokens: usage.reasoning },
      total_tokens: usage.input + usage.output
    }
  }
}

/** A compaction as a model reads it. */
export function asMessage (summary: string): Members {
  return { type: 'message', role: 'user', content: FOREWORD + summary }
}
