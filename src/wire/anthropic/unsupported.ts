/** What of a chat request has no counterpart in Anthropic's Messages API, and is refused rather than lost. */
import { isObject } from '../check.ts'
import type { Vocabulary } from '../untranslatable.ts'

/** Members that `toMessages` translates. */
const TRANSLATED: ReadonlySet<string> = new Set([
  'model', 'messages', 'stream', 'max_tokens', 'max_completion_tokens', 'temperature', 'top_p', 'top_k', 'stop', 'tools', 'tool_choice',
  'parallel_tool_calls', 'response_format', 'reasoning_effort', 'thinking', 'user', 'safety_identifier', 'service_tier'
])

/**
 * Members that say nothing, or nothing that changes the answer, when they have such a value. `metadata` only labels what is
 * stored, and nothing is; `prompt_cache_key` and `include_obfuscation` say how OpenAI's servers should go about it.
 */
const HARMLESS: Readonly<Record<string, (value: unknown) => boolean>> = {
  frequency_penalty: value => value === 0,
  logit_bias: value => isObject(value) && Object.keys(value).length === 0,
  logprobs: value => value === false,
  metadata: () => true,
  modalities: value => Array.isArray(value) && value.every(item => item === 'text'),
  n: value => value === 1,
  presence_penalty: value => value === 0,
  prompt_cache_key: () => true,
  prompt_cache_retention: value => value === 'in_memory' || value === 'in-memory',
  store: value => value === false,
  stream_options: () => true,
  verbosity: value => value === 'medium'
}

export const MESSAGES: Vocabulary = { api: 'Anthropic\'s Messages API', translated: TRANSLATED, harmless: HARMLESS }
