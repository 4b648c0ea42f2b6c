/**
 * A Responses request as the chat completion that asks for the same, and what the response repeats of it.
 * Sources: OpenAI API reference, "Create a model response"; Open Responses, 2026-04-24; read 2026-11-22.
 */
import { GatewayError } from '../../errors.ts'
import { boolean, decimal, integer, invalidValue, line, list, missing, object, oneOf, shape, text, toError, variant } from '../check.ts'
import type { Check, Fault, Members } from '../check.ts'
import { schemaOf } from '../schema.ts'
import { identifier } from '../tools.ts'
import { metadata } from '../validate.ts'
import { OPERATORS_OWN } from '../parameters.ts'
import { hostedTool, input, itemsOf, nativeInput } from './items.ts'
import { toMessages } from './messages.ts'
import { readChoice, readTools, toolChoice, tools, type Toolbox } from './tools.ts'

/** What is asked for, checked. */
export interface ResponseRequest {
  readonly model: string
  /** The caller's own items, a string already made one. */
  readonly items: readonly Members[]
  readonly previousId: string | null
  /** As asked for; null where the caller left it open. */
  readonly store: boolean | null
  readonly stream: boolean
  /** Reasoning is shown as a summary, which is what most clients read, and not as text. */
  readonly hasSummary: boolean
  readonly toolbox: Toolbox
  readonly warnings: readonly string[]
  /** Members of the response that repeat the request. */
  readonly echo: Readonly<Members>
  readonly body: Readonly<Members>
}

const unsupported = (why: string): Check => () => ({ code: 'unsupported_parameter', path: '', says: path => `Unsupported parameter: '${path}' ${why}` })
const moved = (to: string): Check => unsupported(`is not a parameter of responses; use '${to}'.`)

function onlyFalse (why: string): Check {
  return value => boolean(value) ?? (value === true ? { code: 'unsupported_value', path: '', says: path => `Unsupported value: '${path}' ${why}` } : null)
}

const noTruncation: Check = value => oneOf('auto', 'disabled')(value) ?? (value === 'auto'
  ? { code: 'unsupported_value', path: '', says: path => `Unsupported value: '${path}' is 'auto'; nothing is cut off silently here, so only 'disabled' is served.` }
  : null)

const format = variant('type', {
  text: object,
  json_object: object,
  json_schema: shape({ name: identifier, description: text(), schema: object, strict: boolean }, 'name', 'schema')
})

const INCLUDABLE = ['code_interpreter_call.outputs', 'computer_call_output.output.image_url', 'file_search_call.results', 'message.input_image.image_url',
  'message.output_text.logprobs', 'reasoning.encrypted_content', 'web_search_call.action.sources', 'web_search_call.results']

/** Least that OpenAI takes. */
const LEAST_OUTPUT = 16

const emptyOnly = (why: string): Check => value => Array.isArray(value) && value.length === 0 ? null : unsupported(why)(value)

const PARAMETERS: Readonly<Record<string, Check>> = {
  access_programs: unsupported('is not served.'),
  audio: unsupported('is not served.'),
  background: onlyFalse('must be false; responses are not computed in the background here.'),
  client_metadata: object,
  context_management: emptyOnly('is not served; send the items that the model is to see.'),
  conversation: unsupported('is not served; send the items in input, or previous_response_id.'),
  frequency_penalty: decimal(-2, 2),
  function_call: moved('tool_choice'),
  functions: moved('tools'),
  image: unsupported('is not served.'),
  include: list(oneOf(...INCLUDABLE), { of: 'strings', least: 0, most: INCLUDABLE.length }),
  input,
  instructions: text(),
  logprobs: moved('include'),
  max_completion_tokens: moved('max_output_tokens'),
  max_output_tokens: integer(LEAST_OUTPUT, Number.MAX_SAFE_INTEGER),
  max_tokens: moved('max_output_tokens'),
  max_tool_calls: integer(1, Number.MAX_SAFE_INTEGER),
  messages: moved('input'),
  metadata,
  modalities: unsupported('is not served.'),
  model: line({ least: 1, most: 256 }),
  moderation: unsupported('is not served.'),
  n: unsupported('is not a parameter of responses; there is one answer.'),
  parallel_tool_calls: boolean,
  prediction: unsupported('is not served.'),
  presence_penalty: decimal(-2, 2),
  previous_response_id: line({ least: 1, most: 128 }),
  prompt: unsupported('is not served; templates are not kept here.'),
  reasoning: shape({ effort: oneOf('none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'), summary: oneOf('auto', 'concise', 'detailed'), generate_summary: oneOf('auto', 'concise', 'detailed') }),
  reasoning_effort: moved('reasoning.effort'),
  response_format: moved('text.format'),
  store: boolean,
  stream: boolean,
  stream_options: shape({ include_obfuscation: boolean }),
  temperature: decimal(0, 2),
  text: shape({ format, verbosity: oneOf('low', 'medium', 'high') }),
  tool_choice: toolChoice,
  tools,
  top_logprobs: integer(0, 20),
  top_p: decimal(0, 1),
  truncation: noTruncation,
  verbosity: moved('text.verbosity'),
  web_search_options: unsupported('is not served.')
}

const request = shape(PARAMETERS, 'model')
export const responsesSchema = () => schemaOf(request)!

const unread: Check = () => null

/**
 * For a backend that speaks the dialect itself. State, and what would reach it past the gateway, stay refused: conversations,
 * templates, the background, and the names of files.
 */
const nativeRequest = shape({
  ...PARAMETERS,
  ...OPERATORS_OWN,
  access_programs: unread,
  context_management: list(object, { of: 'objects', least: 0 }),
  include: list(text(), { of: 'strings', least: 0, most: 64 }),
  input: nativeInput,
  moderation: object,
  reasoning: object,
  text: object,
  tool_choice: unread,
  tools: list(value => object(value) ?? hostedTool(value), { of: 'objects', least: 0, most: 128 }),
  truncation: oneOf('auto', 'disabled')
}, 'model')

/** Checked here and said in other words, or to the caller alone; everything else goes into the chat completion as it came. */
const TRANSLATED = new Set([
  'background', 'client_metadata', 'context_management', 'include', 'input', 'instructions', 'max_output_tokens', 'max_tool_calls', 'metadata',
  'previous_response_id', 'reasoning', 'store', 'stream_options', 'text', 'tool_choice', 'tools', 'top_logprobs', 'truncation'
])

/** @throws GatewayError that names the parameter */
export function readRequest (body: Members): ResponseRequest {
  const fault = request(body) ?? combinations(body)
  if (fault !== null) throw toError(fault)
  const toolbox = readTools((body['tools'] ?? []) as Members[])
  const reasoning = (body['reasoning'] ?? {}) as Members
  const include = (body['include'] ?? []) as string[]
  const warnings = [...toolbox.warnings]
  for (const name of include) if (name !== 'message.output_text.logprobs' && name !== 'message.input_image.image_url') warnings.push(`include: ${name} is not served`)
  return {
    ...whatIsAsked(body),
    hasSummary: reasoning['summary'] !== undefined || reasoning['generate_summary'] !== undefined,
    toolbox,
    warnings,
    echo: echoOf(body, toolbox)
  }
}

/** The same, as far as a backend that speaks the dialect leaves something to be checked. @throws GatewayError that names the parameter */
export function readNative (body: Members): ResponseRequest {
  const fault = nativeRequest(body) ?? combinations(body)
  if (fault !== null) throw toError(fault)
  return { ...whatIsAsked(body), hasSummary: false, toolbox: readTools([]), warnings: [], echo: {} }
}

function whatIsAsked (body: Members): Pick<ResponseRequest, 'model' | 'items' | 'previousId' | 'store' | 'stream' | 'body'> {
  return {
    model: body['model'] as string,
    items: itemsOf(body['input'] ?? []),
    previousId: (body['previous_response_id'] ?? null) as string | null,
    store: (body['store'] ?? null) as boolean | null,
    stream: body['stream'] === true,
    body
  }
}

function combinations (body: Members): Fault | null {
  if (body['input'] === undefined && body['previous_response_id'] === undefined) return missing('input')
  if (Array.isArray(body['input']) && body['input'].length === 0 && body['previous_response_id'] === undefined) return { ...invalidValue('there is nothing in it to answer.'), path: 'input' }
  if (body['stream_options'] !== undefined && body['stream'] !== true) {
    return { code: 'invalid_value', path: 'stream_options', says: () => "The 'stream_options' parameter is only allowed when 'stream' is enabled." }
  }
  return null
}

/**
 * @param earlier items of the responses before this one, oldest first
 * @throws GatewayError
 */
export function toChat ({ body, items, toolbox, stream }: ResponseRequest, earlier: readonly Members[] = []): { chat: Members, warnings: readonly string[] } {
  const { messages, warnings } = toMessages((body['instructions'] ?? null) as string | null, items, earlier)
  if (messages.length === 0) throw new GatewayError('invalid_value', "Invalid value for 'input': there is nothing in it to answer.", { param: 'input' })
  const chat: Members = { messages }
  for (const name in body) if (!TRANSLATED.has(name)) chat[name] = body[name]
  if (body['max_output_tokens'] !== undefined) chat['max_completion_tokens'] = body['max_output_tokens']
  const { effort } = (body['reasoning'] ?? {}) as Members
  if (effort !== undefined) chat['reasoning_effort'] = effort
  const { format: wanted, verbosity } = (body['text'] ?? {}) as Members
  if (verbosity !== undefined) chat['verbosity'] = verbosity
  if (wanted !== undefined && (wanted as Members)['type'] !== 'text') chat['response_format'] = responseFormat(wanted as Members)
  Object.assign(chat, logprobsOf(body))
  if (toolbox.tools.length > 0) chat['tools'] = toolbox.tools
  else delete chat['parallel_tool_calls']
  const choice = readChoice(body['tool_choice'], toolbox)
  if (choice !== undefined) chat['tool_choice'] = choice
  if (stream) chat['stream_options'] = { include_usage: true }
  return { chat, warnings }
}

function responseFormat ({ type, ...schema }: Members): Members {
  return type === 'json_schema' ? { type, json_schema: schema } : { type }
}

function logprobsOf (body: Members): Members {
  const top = (body['top_logprobs'] ?? 0) as number
  const isIncluded = ((body['include'] ?? []) as string[]).includes('message.output_text.logprobs')
  return isIncluded || top > 0 ? { logprobs: true, top_logprobs: top } : {}
}

/** Every member a response has of its request; what the caller left out is what holds without it. */
function echoOf (body: Members, toolbox: Toolbox): Members {
  const given = (name: string, otherwise: unknown) => body[name] ?? otherwise
  const { effort = null, summary = null } = (body['reasoning'] ?? {}) as Members
  const written = (body['text'] ?? {}) as Members
  return {
    background: false,
    instructions: given('instructions', null),
    max_output_tokens: given('max_output_tokens', null),
    max_tool_calls: given('max_tool_calls', null),
    model: body['model'],
    parallel_tool_calls: given('parallel_tool_calls', true),
    previous_response_id: given('previous_response_id', null),
    prompt_cache_key: given('prompt_cache_key', null),
    reasoning: { effort, summary },
    safety_identifier: given('safety_identifier', null),
    service_tier: given('service_tier', 'default'),
    temperature: given('temperature', 1),
    top_p: given('top_p', 1),
    presence_penalty: given('presence_penalty', 0),
    frequency_penalty: given('frequency_penalty', 0),
    top_logprobs: given('top_logprobs', 0),
    text: { ...written, format: written['format'] ?? { type: 'text' } },
    tool_choice: given('tool_choice', 'auto'),
    tools: toolbox.echo,
    truncation: 'disabled',
    user: given('user', null),
    metadata: given('metadata', {})
  }
}
