/**
 * How much a model may think: what a request says, in the words of several servers, and what is made of it. Its chat
 * template is told what it knows of; beyond that, tokens are counted, and a thought that has had its own is ended.
 */
import { GatewayError } from '../errors.ts'
import { thinksUnread } from './thoughts.ts'
import { speaksInChannels } from './tools/family.ts'

type Body = Readonly<Record<string, unknown>>

export const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const
export type Effort = (typeof EFFORTS)[number]

/** Most tokens of thought by effort; `default` where a call names none. Without a number there is no limit. */
export type ThinkingTokens = Partial<Readonly<Record<Exclude<Effort, 'none'> | 'default', number>>>

/** As many as the gateway lets models of Anthropic think at each effort. */
export const THINKING_TOKENS: ThinkingTokens = { minimal: 1024, low: 2048, medium: 8192, high: 16_384, xhigh: 32_768, max: 32_768 }

/**
 * @param text `low=2048,default=8192`
 * @throws Error where it is none of this
 */
export function thinkingTokensOf (text: string): ThinkingTokens {
  return Object.fromEntries(text.split(',').filter(part => part !== '').map(part => {
    const [, effort = '', tokens] = /^(\w+)=(\d{1,9})$/.exec(part) ?? []
    if (effort !== 'default' && (effort === 'none' || !EFFORTS.includes(effort as Effort))) throw new Error(`thinking tokens ${part}: expected such as low=2048 or default=8192.`)
    return [effort, Number(tokens)]
  }))
}

export interface AskedThought {
  readonly effort: Effort | null
  /** Most tokens; null when nothing is said of them. */
  readonly mostTokens: number | null
  /** The member of the request that says so. */
  readonly param: string
}

export const NOTHING_ASKED: AskedThought = { effort: null, mostTokens: null, param: 'reasoning_effort' }

/** One way in which a request can say it. */
interface Said { readonly param: string, readonly effort?: Effort, readonly mostTokens?: number }

/** @throws GatewayError with `param` naming the member at fault, also where two of them disagree */
export function readThought (body: Body): AskedThought {
  const said = [...effortIn(body, 'reasoning_effort', 'reasoning_effort'), ...reasoningIn(body), ...thinkingIn(body),
    ...tokensIn(body, 'thinking_token_budget', 'thinking_token_budget'), ...tokensIn(body, 'thinking_budget_tokens', 'thinking_budget_tokens')]
  return said.reduce<AskedThought>((all, { param, effort = all.effort, mostTokens = all.mostTokens }) => {
    const differs = (all.effort !== null && effort !== all.effort) || (all.mostTokens !== null && mostTokens !== all.mostTokens)
    if (differs || (effort === 'none' && (mostTokens ?? 0) > 0)) throw invalid(param, `${param} and ${all.param} disagree; send one of them.`)
    return { effort, mostTokens, param }
  }, NOTHING_ASKED)
}

function effortIn (body: Body, name: string, param: string): Said[] {
  const effort = body[name] ?? null
  if (effort === null) return []
  if (!EFFORTS.includes(effort as Effort)) throw invalid(param, `${param}: expected one of ${EFFORTS.join(', ')}.`)
  return [{ param, effort: effort as Effort }]
}

/** -1 is no limit, as for llama-server. */
function tokensIn (body: Body, name: string, param: string): Said[] {
  const tokens = body[name] ?? null
  if (tokens === null) return []
  if (typeof tokens !== 'number' || !Number.isInteger(tokens) || tokens < -1) throw invalid(param, `${param}: expected a whole number of tokens, or -1 for no limit.`)
  return [{ param, mostTokens: tokens === -1 ? Infinity : tokens }]
}

/** As OpenRouter has it, and OpenAI on its other route. */
function reasoningIn (body: Body): Said[] {
  const reasoning = objectIn(body, 'reasoning', ['effort', 'max_tokens', 'enabled'])
  if (reasoning === null) return []
  return [
    ...effortIn(reasoning, 'effort', 'reasoning.effort'),
    ...tokensIn(reasoning, 'max_tokens', 'reasoning.max_tokens'),
    ...reasoning['enabled'] === false ? [{ param: 'reasoning.enabled', effort: 'none' } as const] : []
  ]
}

/** As Anthropic has it. */
function thinkingIn (body: Body): Said[] {
  const thinking = objectIn(body, 'thinking', ['type', 'budget_tokens', 'display'])
  if (thinking === null) return []
  switch (thinking['type']) {
    case 'adaptive': return []
    case 'disabled': return [{ param: 'thinking.type', effort: 'none' }]
    case 'enabled': return tokensIn(thinking, 'budget_tokens', 'thinking.budget_tokens')
    default: throw invalid('thinking.type', 'thinking.type: expected "enabled", "disabled" or "adaptive".')
  }
}

function objectIn (body: Body, name: string, known: readonly string[]): Body | null {
  const value = body[name] ?? null
  if (value === null) return null
  if (typeof value !== 'object' || Array.isArray(value)) throw invalid(name, `${name}: expected an object.`)
  const other = Object.keys(value).find(member => !known.includes(member))
  if (other !== undefined) throw unsupported(`${name}.${other}`, `${name}.${other}: local models know ${known.join(', ')} here.`)
  return value as Body
}

export interface ThoughtPlan {
  /** For the chat template. */
  readonly variables: Body
  /** Of thought; 0 when there is to be none, Infinity without a limit. */
  readonly mostTokens: number
}

interface Thinker {
  /** For messages. */
  readonly name: string
  readonly template: string
  readonly configured: ThinkingTokens
}

/**
 * @param given variables for the template that the request has, which go before all others
 * @throws GatewayError where the model can do nothing of the kind, or `given` says otherwise
 */
export function planThought (asked: AskedThought, given: Body, { name, template, configured }: Thinker): ThoughtPlan {
  const { effort, mostTokens, param } = asked
  const told = given['enable_thinking'] ?? given['thinking']
  const isOff = effort === 'none' || mostTokens === 0 || told === false
  const isOn = !isOff && (effort !== null || mostTokens !== null)
  if (isOff && told === true) {
    throw invalid(param, `${param} and chat_template_kwargs disagree; send one of them.`)
  }
  const [knob, knowsEffort] = [switchOf(template), /\breasoning_effort\b/.test(template)]
  if (thinksUnread(template) && (isOff || isOn) && knob === null && !(knowsEffort && mostTokens === null)) {
    throw unsupported(param, `${param}: ${name} thinks in a form that is not told from its answer here, so nobody can tell how much; leave it out.`)
  }
  return {
    variables: {
      ...knob !== null && (isOff || isOn) && { [knob]: isOn },
      ...knowsEffort && (effort !== null || isOff) && { reasoning_effort: speaksInChannels(template) ? channelEffort(effort ?? 'none', param) : effort ?? 'none' },
      ...given
    },
    mostTokens: isOff ? 0 : mostTokens ?? (effort === null ? configured.default : configured[effort as keyof ThinkingTokens]) ?? Infinity
  }
}

/** gpt-oss knows three. Of less than its least the rest is done by counting. */
function channelEffort (effort: Effort, param: string): string {
  if (effort === 'none' || effort === 'minimal') return 'low'
  if (effort === 'low' || effort === 'medium' || effort === 'high') return effort
  throw unsupported(param, `${param}: this model knows none, minimal, low, medium and high, not ${effort}.`)
}

/** The variable by which a template lets its model think or not: Qwen 3, GLM and most others; DeepSeek V3.1 and Granite. */
function switchOf (template: string): string | null {
  if (/\benable_thinking\b/.test(template)) return 'enable_thinking'
  return /\b(?:if|not|and|or)\s+thinking\b|\bthinking\s+is\s+(?:not\s+)?defined\b/.test(template) ? 'thinking' : null
}

function invalid (param: string, message: string): GatewayError { return new GatewayError('invalid_value', message, { param }) }
function unsupported (param: string, message: string): GatewayError { return new GatewayError('unsupported_value', message, { param }) }
