/** From the choices of an answer to the work they take, also where the answer was begun by another worker. */
import type { Batch } from './batch.ts'
import type { Choice } from './choice.ts'
import type { Sampling, Scores } from './engine.ts'
import type { Earlier, EarlierChoice } from './marks.ts'
import { seedOf } from './request.ts'
import type { Done, Work } from './slot.ts'

export interface Repeated extends EarlierChoice {
  /** It ends here, but has not said so. */
  readonly isComplete: boolean
  /** What has to come next. */
  readonly due: readonly number[]
}

const NOTHING: EarlierChoice = { said: [], isOver: false }

/** Leads each choice to where it was; to its beginning where there is nothing earlier. */
export function repeat (choices: readonly Choice[], earlier: Earlier | null): Repeated[] {
  return choices.map((choice, index) => {
    const { said, isOver } = earlier?.choices[index] ?? NOTHING
    const wanted = said.map(token => choice.take(token))
    const last = wanted.at(-1)
    return { said, isOver, isComplete: wanted.includes(false), due: typeof last === 'object' && !isOver ? last : [] }
  })
}

/** Tokens of answers that were said before, or have to come next. */
export function tokensOf (before: readonly Repeated[]): number {
  return before.reduce((sum, { said, due }) => sum + said.length + due.length, 0)
}

/** Is told how the answers come along; what the choices say, they say themselves. */
export interface Listener {
  begin (): void
  took (index: number, token: number): void
  over (index: number): void
}

export interface Course {
  readonly prompt: readonly number[]
  readonly isolation: string
  readonly sampling: Sampling
  readonly maxTokens: number
  readonly contextTokens: number
  readonly before: readonly Repeated[]
}

/** Of the choices that are not over. One that only has not said so says it now. */
export function worksOf ({ prompt, isolation, sampling, maxTokens, contextTokens, before }: Course, choices: readonly Choice[], listener: Listener): Work[] {
  const room = Math.min(maxTokens, contextTokens - prompt.length)
  return choices.flatMap((choice, index): Work[] => {
    const { said: saidBefore, isOver, isComplete, due } = before[index]!
    const said = [...saidBefore, ...due]
    const take = (token: number, scores?: Scores): boolean | readonly number[] => {
      const wanted = choice.take(token, scores)
      listener.took(index, token)
      return wanted
    }
    const end = (reason: Done['reason']): void => {
      choice.end(reason)
      listener.over(index)
    }
    if (isOver) return []
    for (const token of due) take(token)
    if (isComplete || said.length >= room) {
      end(isComplete ? 'stop' : 'length')
      return []
    }
    return [{
      prompt: said.length === 0 ? prompt : [...prompt, ...said],
      isolation,
      sampling: { ...sampling, seed: seedOf(index, sampling), said },
      maxTokens: maxTokens - said.length,
      take (token, scores) {
        listener.begin()
        return take(token, scores)
      },
      end ({ reason }) { end(reason) }
    }]
  })
}

/** Works of one call. Those that were begun elsewhere do not begin with the same tokens any more. When one fails, all fail. */
export async function run (batch: Batch, works: readonly Work[], { isContinued, signal }: { isContinued: boolean, signal: AbortSignal }): Promise<Done[]> {
  if (!isContinued) return batch.runAll(works, { signal })
  const broken = new AbortController()
  const either = AbortSignal.any([signal, broken.signal])
  try {
    return await Promise.all(works.map(work => batch.run(work, { signal: either })))
  } catch (thrown) {
    broken.abort(thrown)
    throw thrown
  }
}
