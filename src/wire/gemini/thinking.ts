/**
 * `reasoning_effort` as Gemini's thinking: a budget of tokens up to Gemini 2.5, a level since. Source: "Gemini thinking" and the
 * table of efforts in "OpenAI compatibility", read 2026-11-22.
 */
import type { Members } from '../check.ts'
import { unsupported } from '../untranslatable.ts'

/** `auto` tells by the name of the model. */
export type ThinkingStyle = 'auto' | 'budget' | 'level'

const BUDGETS: Readonly<Record<string, number>> = { none: 0, minimal: 1024, low: 1024, medium: 8192, high: 24_576, xhigh: 24_576, max: 24_576 }
const LEVELS: Readonly<Record<string, string>> = { minimal: 'minimal', low: 'low', medium: 'medium', high: 'high', xhigh: 'high', max: 'high' }

/** Thoughts are shown only where an effort was asked for. @returns `thinkingConfig`, null where nothing was asked for */
export function toThinking (effort: string | null | undefined, style: ThinkingStyle, model: string): Members | null {
  if (effort === null || effort === undefined) return null
  const hasBudget = style === 'budget' || (style === 'auto' && takesBudget(model))
  if (effort === 'none' && (!hasBudget || /2\.5-pro/.test(model))) throw unsupported('reasoning_effort', `${model} always thinks; ask for "minimal" or "low".`)
  if (hasBudget) return { thinkingBudget: BUDGETS[effort]!, ...effort !== 'none' && { includeThoughts: true } }
  return { thinkingLevel: LEVELS[effort]!, includeThoughts: true }
}

export function takesBudget (model: string): boolean { return /gemini-[12][.-]/.test(model) }
