/** What of a chat request has no counterpart in Gemini's generateContent, and is refused rather than lost. */
import { isObject } from '../check.ts'
import type { Vocabulary } from '../untranslatable.ts'

/** Members that `toGenerate` translates. */
const TRANSLATED: ReadonlySet<string> = new Set([
  'model', 'messages', 'stream', 'max_tokens', 'max_completion_tokens', 'temperature', 'top_p', 'top_k', 'stop', 'seed', 'n', 'presence_penalty',
  'frequency_penalty', 'logprobs', 'top_logprobs', 'tools', 'tool_choice', 'response_format', 'reasoning_effort'
])

/**
 * Members that say nothing, or nothing that changes the answer, when they have such a value. `metadata`, `user` and
 * `safety_identifier` only label the call; `prompt_cache_key` and `include_obfuscation` say how OpenAI's servers should go about it.
 */
const HARMLESS: Readonly<Record<string, (value: unknown) => boolean>> = {
  logit_bias: value => isObject(value) && Object.keys(value).length === 0,
  metadata: () => true,
  modalities: value => Array.isArray(value) && value.every(item => item === 'text'),
  parallel_tool_calls: value => value === true,
  prompt_cache_key: () => true,
  prompt_cache_retention: value => value === 'in_memory' || value === 'in-memory',
  safety_identifier: () => true,
  service_tier: value => value === 'auto' || value === 'default',
  store: value => value === false,
  stream_options: () => true,
  user: () => true,
  verbosity: value => value === 'medium'
}

export const GENERATE: Vocabulary = { api: 'the Gemini API', translated: TRANSLATED, harmless: HARMLESS }
