/** What of a chat request has no counterpart in Anthropic's Messages API, and is refused rather than lost. */
import { GatewayError } from '../../errors.ts'
import { isObject, type Members } from '../check.ts'

/** Another target may take it, so the call falls back where it can. */
export function unsupported (param: string, why: string): GatewayError {
  return new GatewayError('unsupported_value', `${param}: ${why}`, { param })
}

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

/** @throws GatewayError `unsupported_value` naming the first member that cannot be honoured */
export function refuseUntranslatable (request: Members): void {
  for (const name in request) {
    const value = request[name]
    if (TRANSLATED.has(name) || value === undefined || value === null) continue
    if (Object.hasOwn(HARMLESS, name) && HARMLESS[name]!(value)) continue
    // An unknown member is named by the caller, and might be anything.
    throw unsupported(/^[\w.-]{1,64}$/.test(name) ? name : '?', 'Anthropic\'s Messages API has nothing like it. Leave it out, or call another model.')
  }
}
