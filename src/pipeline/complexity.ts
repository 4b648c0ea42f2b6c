import type { Config, ModelConfig } from '../config/schema.ts'
import { HEURISTIC, score, type Scorer } from '../policy/complexity.ts'
import type { Complexity } from '../policy/decide.ts'
import { readScorer } from '../policy/scorer.ts'
import type { ChatRequest } from '../wire/chat.ts'

/** Trained scorers by the path that the configuration gives them. */
export type Scorers = ReadonlyMap<string, Scorer>

/** Reads all that the configuration names. @throws Error that names the file and what is wrong with it */
export function scorersOf ({ models }: Pick<Config, 'models'>): Scorers {
  const paths = models.flatMap(({ complexity }) => complexity?.scorer ?? [])
  return new Map([...new Set(paths)].map(path => [path, readScorer(path)]))
}

const HEURISTIC_THRESHOLD = 1

/** How hard the prompt looks; null where the order of the model does not ask, or there is no prompt. */
export function complexityOf (scorers: Scorers, model: ModelConfig, promptOf: () => string | null): Complexity | null {
  if (model.order !== 'complexity') return null
  const prompt = promptOf()
  return prompt === null ? null : { score: score(scorerOf(scorers, model), prompt), threshold: model.complexity?.threshold ?? HEURISTIC_THRESHOLD }
}

export function scorerOf (scorers: Scorers, { complexity }: ModelConfig): Scorer {
  return complexity?.scorer === undefined ? HEURISTIC : scorers.get(complexity.scorer)!
}

/** What the user asked last; null when that has no text. */
export function lastPrompt ({ messages }: Pick<ChatRequest, 'messages'>): string | null {
  const content = messages.findLast(({ role }) => role === 'user')?.content
  if (content === undefined || content === null || typeof content === 'string') return content ?? null
  const texts = content.flatMap(part => part.type === 'text' ? [part.text] : [])
  return texts.length === 0 ? null : texts.join('\n')
}
