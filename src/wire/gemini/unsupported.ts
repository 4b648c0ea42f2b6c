/** What of a chat request has no counterpart in Gemini's generateContent, and is refused rather than lost. */
import { GatewayError } from '../../errors.ts'
import { isObject, type Members } from '../check.ts'

/** Another target may take it, so the call falls back where it can. */
export function unsupported (param: string, why: string): GatewayError {
  return new GatewayError('unsupported_value', `${param}: ${why}`, { param })
}

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

/** @throws GatewayError `unsupported_value` naming the first member that cannot be honoured */
export function refuseUntranslatable (request: Members): void {
  for (const name in request) {
    const value = request[name]
    if (TRANSLATED.has(name) || value === undefined || value === null) continue
    if (Object.hasOwn(HARMLESS, name) && HARMLESS[name]!(value)) continue
    // An unknown member is named by the caller, and might be anything.
    throw unsupported(/^[\w.-]{1,64}$/.test(name) ? name : '?', 'the Gemini API has nothing like it. Leave it out, or call another model.')
  }
}
