/** Parameters that several kinds of request have. Sources as in validate.ts. */
import { integer, invalidValue, isObject, list, outOfRange, stringOr, text, within, wrongType } from './check.ts'
import type { Check, Fault } from './check.ts'
import { schemaOf, withSchema } from './schema.ts'

const MOST_BIASES = 10_000

const stopString = text({ least: 1, most: 1024 })
const stopStrings = list(stopString, { of: 'strings', most: 4 })
export const stop: Check = withSchema(
  value => typeof value === 'string' ? stopString(value) : stringOr(stopStrings, 'strings')(value),
  () => ({ anyOf: [schemaOf(stopString), schemaOf(stopStrings)] })
)

const anyInteger = integer(-Infinity, Infinity)

/** OpenAI takes 64 bits. JSON numbers of more than 53 come out of a parser changed, and another seed is another answer. */
export const seed: Check = withSchema(value => anyInteger(value) ?? (Number.isSafeInteger(value) ? null : outOfRange(
  'integer beyond 53 bits, of which digits would be lost',
  `a value from ${Number.MIN_SAFE_INTEGER} to ${Number.MAX_SAFE_INTEGER}`
)), () => ({ type: 'integer' }))

/** A number of tokens to generate. */
export const tokens = integer(1, Number.MAX_SAFE_INTEGER)
const bias = integer(-100, 100)

export function logitBias (value: unknown): Fault | null {
  if (!isObject(value)) return wrongType('an object', value)
  let count = 0
  for (const token in value) {
    if (++count > MOST_BIASES) return outOfRange('too many properties', `an object with at most ${MOST_BIASES} properties`)
    if (!/^\d{1,10}$/.test(token)) return invalidValue('you should only be submitting non-negative integers as keys.')
    const fault = bias(value[token])
    if (fault !== null) return within(token, fault)
  }
  return null
}

/**
 * Members that would choose where a call goes, with whose key, or which model answers it: at gateways and aggregators
 * behind this one (LiteLLM, OpenRouter) and at engines (vLLM, SGLang, llama-server). They belong to the operator, never to a caller.
 */
const REFUSED = [
  'api_base', 'api_key', 'api_type', 'api_version', 'apiBase', 'apiKey', 'aws_access_key_id', 'aws_bedrock_runtime_endpoint', 'aws_region_name',
  'aws_secret_access_key', 'aws_session_token', 'azure_ad_token', 'base_url', 'baseURL', 'bootstrap_host', 'bootstrap_port', 'bootstrap_room',
  'content_policy_fallbacks', 'context_window_fallbacks', 'custom_llm_provider', 'default_headers', 'deployment_id', 'extra_body', 'extra_headers',
  'extra_query', 'fallbacks', 'headers', 'kv_transfer_params', 'litellm_credential_name', 'litellm_params', 'lora', 'lora_path', 'max_retries',
  'mock_response', 'mock_timeout', 'mock_tool_calls', 'model_info', 'model_list', 'models', 'num_retries', 'organization', 'plugins', 'preset',
  'provider', 'proxy', 'region_name', 'route', 'specific_deployment', 'transforms', 'user_config', 'vertex_credentials', 'vertex_location', 'vertex_project'
]
const refused: Check = withSchema(() => ({
  code: 'unsupported_parameter', path: '', says: path => `Unsupported parameter: '${path}' cannot be chosen by the caller; it is part of the configuration of the gateway.`
}), () => null)

/** Goes into the members of every request. */
export const OPERATORS_OWN: Readonly<Record<string, Check>> = Object.fromEntries(REFUSED.map(name => [name, refused]))

export function onlyWhen (name: string, switched: string): Fault {
  return { code: 'invalid_value', path: name, says: () => `The '${name}' parameter is only allowed when '${switched}' is enabled.` }
}
