/**
 * A parsed body to a request that every later stage can rely on.
 * Sources: OpenAI API reference and OpenAPI document, "Create chat completion"; read 2026-11-22.
 */
import type { ChatRequest } from './chat.ts'
import { boolean, decimal, integer, invalidValue, isObject, line, list, object, oneOf, outOfRange, shape, text, toError, variant, within, wrongType } from './check.ts'
import type { Check, Fault, Members } from './check.ts'
import { messages } from './conversation.ts'
import { logitBias, onlyWhen, OPERATORS_OWN, seed, stop, tokens } from './parameters.ts'
import { keepAliveMs } from './keep-alive.ts'
import { schemaOf, withSchema } from './schema.ts'
import { choicesExist, functionCall, functions, identifier, toolChoice, tools } from './tools.ts'

const keepAlive: Check = value => keepAliveMs(value) === null
  ? invalidValue('expected a number of seconds or a text such as "5m" or "1h30m", at most a week; 0 for no time, -1 for ever.')
  : null

const metadataValue = text({ most: 512 })

export function metadata (value: unknown): Fault | null {
  if (!isObject(value)) return wrongType('an object', value)
  const names = Object.keys(value)
  if (names.length > 16) return outOfRange('too many properties', `an object with at most 16 properties, but got an object with ${names.length} properties instead`)
  for (const name of names) {
    if (name.length > 64) return outOfRange('property name too long', `names with maximum length 64, but got one with length ${name.length} instead`)
    const fault = metadataValue(value[name])
    if (fault !== null) return within(name, fault)
  }
  return null
}

const jsonSchema = shape({ name: identifier, description: text(), schema: object, strict: boolean }, 'name')

const responseFormat = variant('type', {
  text: object,
  json_object: object,
  json_schema: shape({ json_schema: jsonSchema }, 'json_schema')
})

const PARAMETERS: Record<string, Check> = {
  audio: object,
  chat_template_kwargs: object,
  frequency_penalty: decimal(-2, 2),
  function_call: functionCall,
  functions,
  keep_alive: keepAlive,
  logit_bias: withSchema(logitBias, () => ({ type: 'object', additionalProperties: { type: 'integer', minimum: -100, maximum: 100 } })),
  logprobs: boolean,
  max_completion_tokens: tokens,
  max_tokens: tokens,
  messages,
  metadata: withSchema(metadata, () => ({ type: 'object', maxProperties: 16, additionalProperties: { type: 'string', maxLength: 512 } })),
  modalities: list(oneOf('text', 'audio'), { of: 'strings', most: 2 }),
  model: line({ least: 1, most: 256 }),
  moderation: object,
  n: integer(1, 128),
  parallel_tool_calls: boolean,
  prediction: object,
  presence_penalty: decimal(-2, 2),
  prompt_cache_key: line({ most: 512 }),
  prompt_cache_options: object,
  prompt_cache_retention: oneOf('in_memory', 'in-memory', '24h'),
  reasoning_effort: oneOf('none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'),
  response_format: responseFormat,
  safety_identifier: line({ most: 64 }),
  seed,
  service_tier: oneOf('auto', 'default', 'flex', 'scale', 'priority', 'fast'),
  stop,
  store: boolean,
  stream: boolean,
  stream_options: shape({ include_usage: boolean, include_obfuscation: boolean }),
  temperature: decimal(0, 2),
  tool_choice: toolChoice,
  tools,
  top_logprobs: integer(0, 20),
  top_p: decimal(0, 1),
  user: line({ most: 512 }),
  verbosity: oneOf('low', 'medium', 'high'),
  web_search_options: object,
  ...OPERATORS_OWN
}

/** Every member that has a meaning here. */
export const CHAT_MEMBERS: ReadonlySet<string> = new Set(Object.keys(PARAMETERS))

const request = shape(PARAMETERS, 'model', 'messages')
export const chatSchema = () => schemaOf(request)!

/**
 * Checks every parameter of chat completions as OpenAI does. The body itself is returned: members that are null are
 * removed from it, as are empty lists of tools, members that nobody here knows are kept. Time is linear in the body.
 * @throws GatewayError with OpenAI's code, `param` and wording
 */
export function validateChat (body: Members): ChatRequest {
  const fault = request(body) ?? choicesExist(body) ?? combinations(body)
  if (fault !== null) throw toError(fault)
  return body as ChatRequest
}

/** Parameters that are only allowed together with another one, or without it. */
function combinations (body: Members): Fault | null {
  if (body['stream_options'] !== undefined && body['stream'] !== true) return onlyWhen('stream_options', 'stream')
  if (body['top_logprobs'] !== undefined && body['logprobs'] !== true) return onlyWhen('top_logprobs', 'logprobs')
  if (body['max_tokens'] !== undefined && body['max_completion_tokens'] !== undefined) {
    return { code: 'invalid_value', path: 'max_tokens', says: () => "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported." }
  }
  return null
}
