/**
 * A whole answer of Anthropic's Messages API as a chat completion. Pure.
 * Source: Messages API reference, "Message", "Stop reasons" and "Usage", and the types of Anthropic's SDK, read 2026-11-22.
 */
import { isObject, type Members } from '../check.ts'

/** Anthropic's `stop_reason` -> OpenAI's `finish_reason`. One that is not known ends the answer all the same. */
const REASONS: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  pause_turn: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool_calls',
  refusal: 'content_filter'
}

export function finishReason (stopReason: string): string {
  return Object.hasOwn(REASONS, stopReason) ? REASONS[stopReason]! : 'stop'
}

/** How a choice ends. Chat completions have no word for the stop sequence that ended it; vLLM's is taken, as local workers do. */
export function finished (stopReason: string, sequence: unknown): Members {
  return { finish_reason: finishReason(stopReason), ...stopReason === 'stop_sequence' && typeof sequence === 'string' && { stop_reason: sequence } }
}

/**
 * Anthropic counts what it read from the cache, and what it wrote into it, apart from the rest of the input.
 * @returns null where the counts are missing
 */
export function toUsage (usage: unknown): Members | null {
  if (!isObject(usage)) return null
  const { input_tokens: fresh, output_tokens: output } = usage
  if (typeof fresh !== 'number' || typeof output !== 'number') return null
  const read = count(usage['cache_read_input_tokens'])
  const written = count(usage['cache_creation_input_tokens'])
  const details = usage['output_tokens_details']
  const input = fresh + read + written
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: read, cache_creation_tokens: written },
    completion_tokens_details: { reasoning_tokens: isObject(details) ? count(details['thinking_tokens']) : 0 }
  }
}

function count (value: unknown): number {
  return typeof value === 'number' ? value : 0
}

/** The id of a message as one of a chat completion; what it was can be read from it. */
export const completionId = (id: unknown): string => `chatcmpl-${String(id).replace(/^msg_/, '')}`

/**
 * Thoughts become `reasoning_content`; `thinking_blocks` keeps them with their signatures, for a caller that sends them back.
 * Blocks of tools that Anthropic runs itself cannot come: no request asks for one.
 * @returns null for what is no message
 */
export function toCompletion (value: unknown, createdS: number): Members | null {
  if (!isObject(value) || value['type'] !== 'message' || !Array.isArray(value['content'])) return null
  const { id, model, content, stop_reason: stop, stop_sequence: sequence, usage } = value
  if (typeof stop !== 'string') return null
  const blocks = content.filter(isObject)
  return {
    id: completionId(id),
    object: 'chat.completion',
    created: createdS,
    model,
    choices: [{ index: 0, message: toMessage(blocks), logprobs: null, ...finished(stop, sequence) }],
    usage: toUsage(usage)
  }
}

function toMessage (blocks: readonly Members[]): Members {
  const text = joined(blocks, 'text', 'text')
  const reasoning = joined(blocks, 'thinking', 'thinking')
  const thoughts = blocks.filter(({ type }) => type === 'thinking' || type === 'redacted_thinking')
  const calls = blocks.filter(({ type }) => type === 'tool_use').map(({ id, name, input }) => (
    { id, type: 'function', function: { name, arguments: JSON.stringify(input ?? {}) } }
  ))
  return {
    role: 'assistant',
    content: text === '' && calls.length > 0 ? null : text,
    refusal: null,
    ...reasoning !== '' && { reasoning_content: reasoning },
    ...thoughts.length > 0 && { thinking_blocks: thoughts },
    ...calls.length > 0 && { tool_calls: calls }
  }
}

function joined (blocks: readonly Members[], type: string, member: string): string {
  return blocks.filter(block => block['type'] === type).map(block => block[member] as string).join('')
}
