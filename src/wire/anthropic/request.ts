/**
 * A chat completion asked in the words of Anthropic's Messages API. Pure. What has no counterpart there is refused by name.
 * Source: Messages API reference, "Create a Message", and the types of Anthropic's SDK, read 2026-11-22.
 */
import type { ChatRequest } from '../chat.ts'
import { isObject, type Members } from '../check.ts'
import { toThinking, type ThinkingStyle } from './thinking.ts'
import { toTools } from './tools.ts'
import { toConversation, type Block } from './turns.ts'
import { refuseUntranslatable, unsupported } from '../untranslatable.ts'
import { MESSAGES } from './unsupported.ts'

/** How long what stands before the conversation is kept ready at Anthropic. */
export type PromptCache = 'off' | '5m' | '1h'

export interface MessagesOptions {
  /** Longest answer where the caller sets no limit; Anthropic demands one. */
  readonly maxTokens: number
  readonly promptCache: PromptCache
  readonly thinking: ThinkingStyle
}

/** @throws GatewayError `unsupported_value` naming what cannot be translated */
export function toMessages (request: ChatRequest, { maxTokens: otherwise, promptCache, thinking: style }: MessagesOptions): Members {
  const asked = request as Members
  refuseUntranslatable(asked, MESSAGES)
  const { system, turns } = toConversation(request.messages)
  const room = { model: request.model, asked: request.max_completion_tokens ?? request.max_tokens ?? null, otherwise }
  const { maxTokens, thinking, effort } = toThinking(request.reasoning_effort ?? undefined, style, room)
  const format = toFormat(asked['response_format'] as Members | undefined)
  const user = asked['safety_identifier'] ?? asked['user']
  return withCache({
    model: request.model,
    max_tokens: maxTokens,
    ...system.length > 0 && { system },
    messages: turns,
    ...toTools(asked),
    ...thinkingOf(asked['thinking'], thinking),
    ...(effort !== undefined || format !== null) && { output_config: { ...effort !== undefined && { effort }, ...format !== null && { format } } },
    ...sampling(asked, isThinking(asked['thinking'] ?? thinking)),
    ...request.stop !== undefined && request.stop !== null && { stop_sequences: stops(request.stop) },
    ...user !== undefined && user !== null && { metadata: { user_id: user } },
    ...tier(asked['service_tier']),
    ...request.stream === true && { stream: true }
  }, promptCache)
}

/** Whoever knows Anthropic's own `thinking` may say it so; beside it `reasoning_effort` would say it twice. */
function thinkingOf (own: unknown, thinking: Members | undefined): Members {
  if (own === undefined || own === null) return thinking === undefined ? {} : { thinking }
  if (!isObject(own)) throw unsupported('thinking', 'expected an object, as Anthropic defines it.')
  if (thinking !== undefined) throw unsupported('thinking', 'reasoning_effort says the same; send one of them.')
  return { thinking: own }
}

function isThinking (thinking: unknown): boolean {
  return isObject(thinking) && thinking['type'] !== 'disabled'
}

function sampling ({ temperature, top_p, top_k }: Members, thinks: boolean): Members {
  if (typeof temperature === 'number' && temperature > 1) throw unsupported('temperature', `Anthropic takes 0 to 1, and this is ${temperature}.`)
  if (thinks && typeof temperature === 'number' && temperature !== 1) throw unsupported('temperature', 'Anthropic\'s models think at temperature 1 only; leave it out, or reasoning_effort.')
  if (top_k !== undefined && top_k !== null && !(Number.isSafeInteger(top_k) && (top_k as number) >= 0)) throw unsupported('top_k', 'expected a whole number.')
  if (thinks && top_k !== undefined && top_k !== null) throw unsupported('top_k', 'Anthropic\'s models do not think with it; leave it out, or reasoning_effort.')
  return Object.fromEntries(Object.entries({ temperature, top_p, top_k }).filter(([, value]) => value !== undefined && value !== null))
}

function stops (stop: string | readonly string[]): readonly string[] {
  const all = typeof stop === 'string' ? [stop] : stop
  if (all.some(one => one.trim() === '')) throw unsupported('stop', 'Anthropic takes none that is only white space.')
  return all
}

function toFormat (format: Members | undefined): Members | null {
  if (format === undefined || format['type'] === 'text') return null
  if (format['type'] !== 'json_schema') throw unsupported('response_format', 'Anthropic has JSON only after a schema; use json_schema.')
  const { schema, description } = format['json_schema'] as Members
  if (!isObject(schema)) throw unsupported('response_format.json_schema.schema', 'Anthropic needs the schema.')
  return { type: 'json_schema', schema: description === undefined ? schema : { description, ...schema } }
}

const TIERS: Readonly<Record<string, string>> = { auto: 'auto', default: 'standard_only' }

function tier (name: unknown): Members {
  if (name === undefined || name === null) return {}
  const service_tier = TIERS[name as string]
  if (service_tier === undefined) throw unsupported('service_tier', 'Anthropic has auto and default.')
  return { service_tier }
}

/** Tools stand before instructions and both before the conversation, so one mark at their end keeps them all. */
function withCache (body: Members, promptCache: PromptCache): Members {
  if (promptCache === 'off') return body
  const cache_control = promptCache === '5m' ? { type: 'ephemeral' } : { type: 'ephemeral', ttl: promptCache }
  const name = ['system', 'tools'].find(member => body[member] !== undefined)
  if (name === undefined) return body
  const items = body[name] as Block[]
  return { ...body, [name]: items.map((item, at) => at === items.length - 1 ? { ...item, cache_control } : item) }
}
