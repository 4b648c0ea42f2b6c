/**
 * `reasoning_effort` as Anthropic's thinking. Older models take a budget of tokens, newer ones only an effort, and think as much as
 * they see fit. Source: "Extended thinking", "Adaptive thinking" and "Effort", and the types of Anthropic's SDK, read 2026-11-22.
 */
import type { Members } from '../check.ts'
import { unsupported } from '../untranslatable.ts'

/** `auto` tells by the name of the model. */
export type ThinkingStyle = 'auto' | 'budget' | 'adaptive'

/** What is sent; `effort` goes into `output_config`. */
export interface Thinking { readonly thinking?: Members, readonly effort?: string, readonly maxTokens: number }

export interface Room {
  readonly model: string
  /** What the caller allows for the whole answer, thoughts included; null when it says nothing. */
  readonly asked: number | null
  /** What an answer may take where the caller says nothing. */
  readonly otherwise: number
}

/** The least that Anthropic takes. */
const LEAST_BUDGET = 1024

const BUDGETS: Readonly<Record<string, number>> = { minimal: LEAST_BUDGET, low: 2048, medium: 8192, high: 16_384, xhigh: 32_768, max: 32_768 }
const EFFORTS: Readonly<Record<string, string>> = { minimal: 'low', low: 'low', medium: 'medium', high: 'high', xhigh: 'xhigh', max: 'max' }

/** Claude 3 and 4 up to 4.5; `claude-sonnet-4-20250514` is 4.0. */
const TAKES_BUDGET = /claude-3|claude-(?:opus|sonnet|haiku)-4(?:-[0-5])?(?!-?\d(?!\d{7}))/

export function toThinking (effort: string | undefined, style: ThinkingStyle, { model, asked, otherwise }: Room): Thinking {
  const maxTokens = asked ?? otherwise
  if (effort === undefined) return { maxTokens }
  const hasBudget = style === 'budget' || (style === 'auto' && takesBudget(model))
  if (effort === 'none') return hasBudget ? { maxTokens } : { maxTokens, thinking: { type: 'disabled' } }
  // Left to themselves, the newer models do not show what they think.
  if (!hasBudget) return { maxTokens, thinking: { type: 'adaptive', display: 'summarized' }, effort: EFFORTS[effort]! }
  const budget = BUDGETS[effort]!
  if (asked === null) return { maxTokens: otherwise + budget, thinking: { type: 'enabled', budget_tokens: budget } }
  if (asked <= LEAST_BUDGET) throw unsupported('reasoning_effort', `${model} thinks with ${LEAST_BUDGET} tokens at least; allow more than that in max_completion_tokens.`)
  // Half of a small answer, so that the other half is left for words.
  return { maxTokens, thinking: { type: 'enabled', budget_tokens: Math.max(LEAST_BUDGET, Math.min(budget, Math.floor(asked / 2))) } }
}

export function takesBudget (model: string): boolean {
  return TAKES_BUDGET.test(model)
}
