/**
 * What a worker makes of a chat-completions request. The gateway has validated it already; a worker that stands alone
 * has nobody before it. What would change the meaning of an answer and is not supported is refused by name.
 */
import { randomInt } from 'node:crypto'
import { GatewayError } from '../errors.ts'
import { readThought } from './effort.ts'
import type { Sampling } from './engine.ts'
import { readFormat, type Format } from './format.ts'
import type { Conversation } from './template.ts'
import { readTools, type ToolUse } from './tools/use.ts'

export interface Request {
  /** As the caller called it; echoed. */
  readonly model: string
  readonly conversation: Conversation
  /** Null when none may be called. */
  readonly tools: ToolUse | null
  /** What the answer is held to, unless it is a call; null for text. */
  readonly format: Format | null
  readonly sampling: Sampling
  /** At least one. */
  readonly choices: number
  /** Infinity without a limit. */
  readonly maxTokens: number
  readonly stops: readonly string[]
  readonly stream: boolean
  readonly includeUsage: boolean
}

type Body = Readonly<Record<string, unknown>>

/** Without a `top_k`: all that matters of a distribution, at a tenth of the time that sorting a whole vocabulary takes. */
const TOP_K = 256
const MAX_STOPS = 4
const MAX_CHOICES = 128
const MAX_TOP_LOGPROBS = 20
const MAX_STOP_CHARACTERS = 1000
const MAX_MESSAGES = 10_000
const MAX_BIASES = 1024

/** @throws GatewayError with `param` naming the member at fault */
export function readRequest (body: Body, vocabularySize: number): Request {
  refuseUnsupported(body)
  const stream = boolean(body, 'stream') ?? false
  const tools = readTools(body)
  return {
    model: text(body, 'model') ?? missing('model'),
    conversation: readConversation(body, tools),
    tools,
    format: readFormat(body['response_format']),
    sampling: readSampling(body, vocabularySize),
    choices: integer(body, 'n', 1, MAX_CHOICES) ?? 1,
    maxTokens: integer(body, 'max_completion_tokens', 1, Number.MAX_SAFE_INTEGER) ?? integer(body, 'max_tokens', 1, Number.MAX_SAFE_INTEGER) ?? Infinity,
    stops: readStops(body['stop']),
    stream,
    includeUsage: readIncludeUsage(body['stream_options'], stream)
  }
}

function refuseUnsupported (body: Body): void {
  boolean(body, 'parallel_tool_calls')
  for (const name of ['functions', 'function_call', 'audio', 'web_search_options'] as const) {
    const value = body[name] ?? null
    const harmless = value === null || (name === 'functions' && Array.isArray(value) && value.length === 0) || (name === 'function_call' && value === 'none')
    if (!harmless) throw unsupported(name, `${name} is not supported by local models.`)
  }
  const modalities = list(body, 'modalities') ?? []
  if (modalities.some(modality => modality !== 'text')) throw unsupported('modalities', 'Local models answer with text only.')
}

export function readSampling (body: Body, vocabularySize: number): Sampling {
  return {
    temperature: number(body, 'temperature', 0, 2) ?? 1,
    topP: number(body, 'top_p', 0, 1) ?? 1,
    topK: Math.min(readTopK(body), vocabularySize),
    minP: number(body, 'min_p', 0, 1) ?? 0,
    seed: readSeed(body),
    frequencyPenalty: number(body, 'frequency_penalty', -2, 2) ?? 0,
    presencePenalty: number(body, 'presence_penalty', -2, 2) ?? 0,
    logitBias: readLogitBias(body['logit_bias'], vocabularySize),
    grammar: null,
    topLogprobs: readTopLogprobs(body)
  }
}

function readTopLogprobs (body: Body): number | null {
  const top = integer(body, 'top_logprobs', 0, MAX_TOP_LOGPROBS)
  if (boolean(body, 'logprobs') === true) return top ?? 0
  if (top !== null) throw invalid('top_logprobs', 'top_logprobs is allowed only when logprobs is true.')
  return null
}

/** 0 and -1 mean "all" to other servers. */
function readTopK (body: Body): number {
  const topK = integer(body, 'top_k', -1, 1_000_000) ?? 0
  return topK > 0 ? topK : TOP_K
}

function readSeed (body: Body): number {
  const seed = integer(body, 'seed', -Infinity, Infinity)
  if (seed === null) return randomInt(HIGHEST_SEED)
  if (!Number.isSafeInteger(seed)) throw unsupported('seed', `seed is ${seed}; local models take seeds from -(2^53 - 1) to 2^53 - 1.`)
  return folded(BigInt(seed))
}

/** Each choice has a seed of its own, and the first the one that was asked for. */
export function seedOf (choice: number, { seed }: Sampling): number { return folded(BigInt(seed) + BigInt(choice)) }

/** llama.cpp takes 32 bits, of which the highest number means "draw one yourself". */
const HIGHEST_SEED = 2 ** 32 - 1

function folded (seed: bigint): number { return Number(BigInt.asUintN(32, seed)) % HIGHEST_SEED }

function readLogitBias (value: unknown, vocabularySize: number): Map<number, number> {
  const biases = new Map<number, number>()
  if (value === undefined || value === null) return biases
  if (!isObject(value)) throw wrongType('logit_bias', 'an object of token ids', value)
  const entries = Object.entries(value)
  if (entries.length > MAX_BIASES) throw unsupported('logit_bias', `logit_bias has ${entries.length} members; at most ${MAX_BIASES} are taken.`)
  for (const [name, bias] of entries) {
    const token = Number(name)
    if (!/^\d{1,10}$/.test(name)) throw invalid('logit_bias', 'logit_bias: member names are token ids.')
    if (token >= vocabularySize) throw unsupported('logit_bias', `logit_bias: this model has token ids from 0 to ${vocabularySize - 1}.`)
    if (typeof bias !== 'number' || bias < -100 || bias > 100) throw invalid('logit_bias', 'logit_bias: values are numbers from -100 to 100.')
    biases.set(token, bias)
  }
  return biases
}

export function readStops (value: unknown): readonly string[] {
  if (value === undefined || value === null) return []
  const stops: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (stops.length > MAX_STOPS) throw invalid('stop', `stop has ${stops.length} strings; at most ${MAX_STOPS} are taken.`)
  return stops.map(stop => {
    if (typeof stop !== 'string') throw wrongType('stop', 'a string or an array of strings', stop)
    if (stop === '') throw invalid('stop', 'stop: an empty string stops nothing.')
    if (stop.length > MAX_STOP_CHARACTERS) throw unsupported('stop', `stop: local models take strings of at most ${MAX_STOP_CHARACTERS} characters.`)
    return stop
  })
}

function readIncludeUsage (value: unknown, stream: boolean): boolean {
  if (value === undefined || value === null) return false
  if (!isObject(value)) throw wrongType('stream_options', 'an object', value)
  if (!stream) throw invalid('stream_options', 'stream_options is allowed only when stream is true.')
  return boolean(value, 'include_usage', 'stream_options.include_usage') ?? false
}

/** What of a request the model reads. @throws GatewayError with `param` naming the member at fault */
export function readConversation (body: Body, tools: ToolUse | null = readTools(body)): Conversation {
  const messages = list(body, 'messages') ?? missing('messages')
  if (messages.length === 0) throw invalid('messages', 'messages is empty; expected at least one message.')
  if (messages.length > MAX_MESSAGES) throw invalid('messages', `messages has ${messages.length} members; at most ${MAX_MESSAGES} are taken.`)
  const kwargs = body['chat_template_kwargs'] ?? {}
  if (!isObject(kwargs)) throw wrongType('chat_template_kwargs', 'an object', kwargs)
  // Templates that know this variable honour it; to others it means nothing.
  const hints = typeof body['verbosity'] === 'string' ? { verbosity: body['verbosity'] } : {}
  return {
    messages: messages.map((message, i) => readMessage(message, `messages[${i}]`)),
    tools: tools === null ? null : tools.offered.map(({ given }) => given),
    variables: { ...hints, ...kwargs },
    thought: readThought(body)
  }
}

const ROLES: readonly unknown[] = ['system', 'developer', 'user', 'assistant', 'tool']

function readMessage (message: unknown, path: string): Record<string, unknown> {
  if (!isObject(message)) throw wrongType(path, 'an object', message)
  const { role, content, tool_calls: calls } = message
  if (role === 'function') throw unsupported(`${path}.role`, 'The role function is not supported by local models; use tool.')
  if (!ROLES.includes(role)) throw invalid(`${path}.role`, `${path}.role: expected one of ${ROLES.join(', ')}.`)
  return {
    ...message,
    content: readContent(content, role, `${path}.content`),
    ...Array.isArray(calls) && { tool_calls: calls.map(withArguments) }
  }
}

/** Parts become one text: what templates make of parts differs, and between two of them a control token could arise. */
function readContent (content: unknown, role: unknown, path: string): string {
  if (typeof content === 'string') return content
  if (content === undefined || content === null) {
    if (role === 'assistant') return ''
    throw new GatewayError('missing_required_parameter', `${path} is missing.`, { param: path })
  }
  if (!Array.isArray(content)) throw wrongType(path, 'a string or an array of parts', content)
  return content.map((part: unknown, i) => {
    const at = `${path}[${i}]`
    if (!isObject(part)) throw wrongType(at, 'an object', part)
    if (part['type'] === 'refusal' && typeof part['refusal'] === 'string') return part['refusal']
    if (part['type'] !== 'text') throw unsupported(at, `${at} is no text but ${typeName(part['type'])}; local models read text only.`)
    if (typeof part['text'] !== 'string') throw wrongType(`${at}.text`, 'a string', part['text'])
    return part['text']
  }).join('')
}

/** What a caller wrote there is told only where it is one of the API's own words. */
function typeName (type: unknown): string {
  return ['image_url', 'input_audio', 'file', 'video_url'].find(known => known === type) ?? 'something else'
}

/** Templates want the arguments of a call as an object; the wire has them as JSON text. */
function withArguments (call: unknown): unknown {
  if (!isObject(call) || !isObject(call['function'])) return call
  const { arguments: json } = call['function']
  if (typeof json !== 'string') return call
  try {
    return { ...call, function: { ...call['function'], arguments: JSON.parse(json) as unknown } }
  } catch {
    // A model may have written broken JSON in an earlier turn; the template then gets it as it was.
    return call
  }
}

function isObject (value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function text (body: Body, name: string): string | null {
  const value = body[name] ?? null
  if (value !== null && typeof value !== 'string') throw wrongType(name, 'a string', value)
  return value
}

function boolean (body: Body, name: string, path = name): boolean | null {
  const value = body[name] ?? null
  if (value !== null && typeof value !== 'boolean') throw wrongType(path, 'true or false', value)
  return value
}

function list (body: Body, name: string): readonly unknown[] | null {
  const value = body[name] ?? null
  if (value !== null && !Array.isArray(value)) throw wrongType(name, 'an array', value)
  return value
}

function number (body: Body, name: string, least: number, most: number): number | null {
  const value = body[name] ?? null
  if (value === null) return null
  if (typeof value !== 'number') throw wrongType(name, 'a number', value)
  if (!(value >= least && value <= most)) throw invalid(name, `${name} is ${value}; expected ${least} to ${most}.`)
  return value
}

function integer (body: Body, name: string, least: number, most: number): number | null {
  const value = number(body, name, least, most)
  if (value !== null && !Number.isInteger(value)) throw wrongType(name, 'a whole number', value)
  return value
}

function missing (name: string): never {
  throw new GatewayError('missing_required_parameter', `${name} is missing.`, { param: name })
}

function invalid (param: string, message: string): GatewayError {
  return new GatewayError('invalid_value', message, { param })
}

function unsupported (param: string, message: string): GatewayError {
  return new GatewayError('unsupported_value', message, { param })
}

function wrongType (param: string, expected: string, actual: unknown): GatewayError {
  const kind = actual === null ? 'null' : Array.isArray(actual) ? 'an array' : typeof actual
  return new GatewayError('invalid_type', `${param}: expected ${expected}, got ${kind}.`, { param })
}
