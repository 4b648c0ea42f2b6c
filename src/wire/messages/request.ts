/**
 * A request to Anthropic's Messages API as the chat completion that asks for the same. Pure.
 * Members that steer what only Anthropic runs (cache_control, context_management, betas) mean nothing to other models and
 * are left out; what changes an answer and cannot be carried is refused by name.
 * Source: Messages API reference and the types of @anthropic-ai/sdk 1.12.0, read 2026-11-22.
 */
import { boolean, decimal, integer, invalidValue, isObject, line, list, object, oneOf, shape, stringOr, text, toError, variant, within, wrongType } from '../check.ts'
import type { Check, Fault, Members } from '../check.ts'
import { schemaOf } from '../schema.ts'
import { OPERATORS_OWN, tokens } from '../parameters.ts'
import { messages, notCarried, textBlocks } from './blocks.ts'
import { toChatMessages } from './conversation.ts'

const anyText = text()
const MOST_TOOLS = 128

const customTool = shape({
  // Chat completions take no longer ones, and a shortened name would be another one.
  name: text({ least: 1, most: 64, pattern: /^[a-zA-Z0-9_-]+$/ }),
  description: anyText,
  input_schema: object,
  strict: boolean
}, 'name', 'input_schema')

const tool: Check = value => {
  if (!isObject(value)) return wrongType('an object', value)
  const type = value['type'] ?? 'custom'
  if (type === 'custom') return customTool(value)
  if (typeof type !== 'string') return within('type', wrongType('a string', type))
  return within('type', notCarried("is a tool that Anthropic defines or runs; only tools of the type 'custom' are carried to other models.")(type)!)
}

const choice = variant('type', {
  auto: shape({ disable_parallel_tool_use: boolean }),
  any: shape({ disable_parallel_tool_use: boolean }),
  tool: shape({ name: anyText, disable_parallel_tool_use: boolean }, 'name'),
  none: object
})

const display = oneOf('summarized', 'omitted')
const thinking = variant('type', {
  enabled: shape({ budget_tokens: tokens, display }, 'budget_tokens'),
  adaptive: shape({ display }),
  between_tools: object,
  disabled: object
})

const outputFormat = variant('type', { json_schema: shape({ schema: object }, 'schema') })

const elsewhere = notCarried('is chosen by the operator of this gateway; leave it out.')
const anthropicsOwn = notCarried('works at Anthropic only; leave it out.')
const emptyOr = (check: Check): Check => value => Array.isArray(value) && value.length === 0 ? null : check(value)

const PARAMETERS: Record<string, Check> = {
  ...OPERATORS_OWN,
  container: anthropicsOwn,
  inference_geo: elsewhere,
  max_tokens: tokens,
  mcp_servers: emptyOr(anthropicsOwn),
  messages,
  metadata: shape({ user_id: line({ most: 512 }) }),
  model: line({ least: 1, most: 256 }),
  output_config: shape({ effort: oneOf('low', 'medium', 'high', 'xhigh', 'max'), format: outputFormat }),
  output_format: outputFormat,
  stop_sequences: list(text({ least: 1, most: 1024 }), { of: 'strings', least: 0, most: 4 }),
  stream: boolean,
  system: stringOr(textBlocks, 'objects'),
  temperature: decimal(0, 1),
  thinking,
  tool_choice: choice,
  tools: list(tool, { of: 'objects', least: 0, most: MOST_TOOLS }),
  top_k: integer(0, 1_000_000),
  top_p: decimal(0, 1)
}

const counted = shape(PARAMETERS, 'model', 'messages')
const asked = shape(PARAMETERS, 'model', 'messages', 'max_tokens')
export const messagesSchema = () => schemaOf(asked)!
export const countedSchema = () => schemaOf(counted)!

/**
 * @param body checked, and null members taken out of it
 * @throws GatewayError that names the parameter at fault
 */
export function toChat (body: Members): Members {
  return translated(body, asked)
}

/** The same for a request whose tokens are to be counted: it need not say how many may be answered. */
export function toCountedChat (body: Members): Members {
  return translated(body, counted)
}

/** Has the caller asked for thoughts, and to see them? */
export function showsThoughts (body: Members): boolean {
  const asks = (body['thinking'] ?? {}) as { type?: string, display?: string }
  return asks.type !== undefined && asks.type !== 'disabled' && asks.display !== 'omitted'
}

function translated (body: Members, check: Check): Members {
  const fault = check(body) ?? chosenExists(body) ?? endsWithCaller(body)
  if (fault !== null) throw toError(fault)
  const stream = body['stream'] === true
  const stops = (body['stop_sequences'] ?? []) as string[]
  return {
    model: body['model'],
    messages: toChatMessages(body),
    ...sameNamed(body, 'temperature', 'top_p', 'top_k'),
    ...body['max_tokens'] !== undefined && { max_completion_tokens: body['max_tokens'] },
    ...stops.length > 0 && { stop: stops },
    ...stream && { stream: true, stream_options: { include_usage: true } },
    ...userOf(body),
    ...toolsOf(body),
    ...effortOf(body),
    ...formatOf(body)
  }
}

function sameNamed (body: Members, ...names: string[]): Members {
  return Object.fromEntries(names.filter(name => body[name] !== undefined).map(name => [name, body[name]]))
}

function userOf (body: Members): Members {
  const user = (body['metadata'] as Members | undefined)?.['user_id']
  return user === undefined ? {} : { user }
}

function toolsOf (body: Members): Members {
  const declared = (body['tools'] ?? []) as Members[]
  if (declared.length === 0) return {}
  const chosen = body['tool_choice'] as Members | undefined
  return {
    tools: declared.map(({ name, description, input_schema: parameters, strict }) => ({
      type: 'function',
      function: { name, ...description !== undefined && { description }, parameters, ...strict !== undefined && { strict } }
    })),
    ...chosen !== undefined && { tool_choice: choiceOf(chosen) },
    ...chosen?.['disable_parallel_tool_use'] === true && { parallel_tool_calls: false }
  }
}

function choiceOf ({ type, name }: Members): unknown {
  if (type === 'tool') return { type: 'function', function: { name } }
  return type === 'any' ? 'required' : type
}

/** Below this many tokens of thinking a model is asked for little effort, below the next for a medium one. */
const LOW_BUDGET_TOKENS = 4096
const MEDIUM_BUDGET_TOKENS = 16_384

/** What a caller asks for by name goes before what it allows in tokens. Nothing is said of effort where the caller says nothing. */
function effortOf (body: Members): Members {
  const named = (body['output_config'] as Members | undefined)?.['effort']
  if (named !== undefined) return { reasoning_effort: named }
  const { type, budget_tokens: budget } = (body['thinking'] ?? {}) as { type?: string, budget_tokens?: number }
  if (type !== 'enabled') return {}
  return { reasoning_effort: budget! < LOW_BUDGET_TOKENS ? 'low' : budget! < MEDIUM_BUDGET_TOKENS ? 'medium' : 'high' }
}

function formatOf (body: Members): Members {
  const format = ((body['output_config'] as Members | undefined)?.['format'] ?? body['output_format']) as Members | undefined
  if (format === undefined) return {}
  return { response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: format['schema'], strict: true } } }
}

function chosenExists (body: Members): Fault | null {
  const chosen = body['tool_choice'] as Members | undefined
  if (chosen === undefined) return null
  const names = ((body['tools'] ?? []) as Members[]).map(one => one['name'])
  if (names.length === 0 && chosen['type'] !== 'none' && chosen['type'] !== 'auto') return within('tool_choice', invalidValue("it is only allowed when 'tools' are specified."))
  if (chosen['type'] !== 'tool' || names.includes(chosen['name'])) return null
  return within('tool_choice', within('name', invalidValue("no tool of this name is specified in 'tools'.")))
}

/** Chat completions begin a new turn after the last message; they cannot go on with one that the caller has begun. */
function endsWithCaller (body: Members): Fault | null {
  const said = body['messages'] as Members[]
  if (said.at(-1)!['role'] !== 'assistant') return null
  return within('messages', invalidValue("the last message has the role 'assistant', and a begun answer cannot be continued; end with a message of the user."))
}
