/** One chat completion: from the request to the works of its choices, and from their tokens to the answer. */
import type { ServerResponse } from 'node:http'
import { GatewayError } from '../errors.ts'
import { BodyOutlet, StreamOutlet, type Outlet } from './answer.ts'
import type { Batch } from './batch.ts'
import { Choice } from './choice.ts'
import type { CompiledGrammar, Scores } from './engine.ts'
import type { Model } from './load.ts'
import { TokenLog } from './logprobs.ts'
import type { Earlier, EarlierChoice } from './marks.ts'
import type { Prompt } from './reader.ts'
import { readRequest, seedOf, type Request } from './request.ts'
import type { Done, Work } from './slot.ts'

export interface ChatTask {
  readonly body: Readonly<Record<string, unknown>>
  /** Work of different domains never shares cached prompt state. */
  readonly isolation: string
  /** The stream is to be marked, so that it can go on elsewhere (marks.ts). */
  readonly wantsMarks: boolean
  /** The stream that this one goes on with, or null. */
  readonly earlier: Earlier | null
}

const NOTHING: EarlierChoice = { said: [], isOver: false }

export async function answerChat (model: Model, task: ChatTask, response: ServerResponse, signal: AbortSignal): Promise<void> {
  const { body, wantsMarks, earlier } = task
  const call = readRequest(body, model.vocabularySize)
  const prompt = model.prompt(call.conversation)
  const grammar = model.held(call, prompt)
  const hasLogprobs = call.sampling.topLogprobs !== null
  // The likelihoods of what was said are not known any more.
  const canGoOn = call.stream && !hasLogprobs
  if (earlier !== null && (!canGoOn || earlier.choices.length !== call.choices)) {
    throw new GatewayError('invalid_value', 'choices: this answer cannot go on from here.', { param: 'choices' })
  }
  const envelope = { model: call.model, fingerprint: model.fingerprint, hasLogprobs }
  const outlet: Outlet = call.stream
    ? new StreamOutlet(response, envelope, call.includeUsage, { isMarked: wantsMarks && canGoOn, earlier })
    : new BodyOutlet(response, envelope)
  const choices = choicesOf(model, call, prompt, outlet)
  const before = choices.map((choice, index) => repeated(choice, earlier?.choices[index] ?? NOTHING))
  outlet.goOn()
  const works = worksOf(model, { call, prompt, grammar, isolation: task.isolation, before }, choices, outlet)
  const done = earlier === null ? await model.batch.runAll(works, { signal }) : await runApart(model.batch, works, signal)
  outlet.finish({
    promptTokens: prompt.tokens.length,
    completionTokens: sum(before.map(({ said, due }) => said.length + due.length)) + sum(done.map(({ generatedTokens }) => generatedTokens)),
    cachedTokens: Math.min(prompt.tokens.length, done[0]?.cachedTokens ?? 0),
    reasoningTokens: sum(choices.map(({ reasoningTokens }) => reasoningTokens))
  })
}

function choicesOf (model: Model, call: Request, prompt: Prompt, outlet: Outlet): Choice[] {
  const caller = call.tools === null ? () => null : model.speech.caller(call.tools)
  const spell = call.sampling.topLogprobs === null ? null : model.spell
  const budget = model.budget(prompt, call.tools)
  return Array.from({ length: call.choices }, (_, index) => new Choice({
    detokenize: model.detokenize,
    thoughts: model.speech.splitter(prompt, call.tools),
    calls: caller(),
    isParallel: call.tools?.isParallel ?? true,
    stops: call.stops,
    log: spell === null ? null : new TokenLog(spell),
    budget
  }, outlet.choice(index)))
}

interface Plan {
  readonly call: Request
  readonly prompt: Prompt
  readonly grammar: CompiledGrammar | null
  readonly isolation: string
  readonly before: readonly Repeated[]
}

/** Of the choices that are not over. One that only has not said so says it now. */
function worksOf (model: Model, { call, prompt, grammar, isolation, before }: Plan, choices: readonly Choice[], outlet: Outlet): Work[] {
  const room = Math.min(call.maxTokens, model.contextTokens - prompt.tokens.length)
  return choices.flatMap((choice, index): Work[] => {
    const { said: saidBefore, isOver, isComplete, due } = before[index]!
    const said = [...saidBefore, ...due]
    const take = (token: number, scores?: Scores): boolean | readonly number[] => {
      const wanted = choice.take(token, scores)
      outlet.took(index, token)
      return wanted
    }
    const end = (reason: Done['reason']): void => {
      choice.end(reason)
      outlet.over(index)
    }
    if (isOver) return []
    for (const token of due) take(token)
    if (isComplete || said.length >= room) {
      end(isComplete ? 'stop' : 'length')
      return []
    }
    return [{
      prompt: said.length === 0 ? prompt.tokens : [...prompt.tokens, ...said],
      isolation,
      sampling: { ...call.sampling, seed: seedOf(index, call.sampling), grammar, said },
      maxTokens: call.maxTokens - said.length,
      take (token, scores) {
        outlet.begin()
        return take(token, scores)
      },
      end ({ reason }) { end(reason) }
    }]
  })
}

interface Repeated extends EarlierChoice {
  /** It ends here, but has not said so. */
  readonly isComplete: boolean
  /** What has to come next. */
  readonly due: readonly number[]
}

/** Leads a choice to where it was. */
function repeated (choice: Choice, { said, isOver }: EarlierChoice): Repeated {
  const wanted = said.map(token => choice.take(token))
  const last = wanted.at(-1)
  return { said, isOver, isComplete: wanted.includes(false), due: typeof last === 'object' && !isOver ? last : [] }
}

/** Works of one call that do not begin with the same tokens any more. When one fails, all fail. */
async function runApart (batch: Batch, works: readonly Work[], signal: AbortSignal): Promise<Done[]> {
  const broken = new AbortController()
  const either = AbortSignal.any([signal, broken.signal])
  try {
    return await Promise.all(works.map(work => batch.run(work, { signal: either })))
  } catch (thrown) {
    broken.abort(thrown)
    throw thrown
  }
}

function sum (numbers: readonly number[]): number { return numbers.reduce((all, number) => all + number, 0) }
