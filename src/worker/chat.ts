/** One chat completion: from the request to the works of its choices, and from their tokens to the answer. */
import type { ServerResponse } from 'node:http'
import { GatewayError } from '../errors.ts'
import { BodyOutlet, StreamOutlet, type Outlet } from './answer.ts'
import { Choice } from './choice.ts'
import { repeat, run, tokensOf, worksOf } from './course.ts'
import type { Model } from './load.ts'
import { TokenLog } from './logprobs.ts'
import type { Earlier } from './marks.ts'
import type { Prompt } from './reader.ts'
import { readRequest, type Request } from './request.ts'

/** One call, as the worker gets it. */
export interface Task {
  readonly body: Readonly<Record<string, unknown>>
  /** Work of different domains never shares cached prompt state. */
  readonly isolation: string
  /** The stream is to be marked, so that it can go on elsewhere (marks.ts). */
  readonly wantsMarks: boolean
  /** The stream that this one goes on with, or null. */
  readonly earlier: Earlier | null
}

export async function answerChat (model: Model, task: Task, response: ServerResponse, signal: AbortSignal): Promise<void> {
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
  const before = repeat(choices, earlier)
  outlet.goOn()
  const { tokens } = prompt
  const { contextTokens } = model
  const course = { prompt: tokens, isolation: task.isolation, sampling: { ...call.sampling, grammar }, maxTokens: call.maxTokens, contextTokens, before }
  const works = worksOf(course, choices, outlet)
  const done = await run(model.batch, works, { isContinued: earlier !== null, signal })
  outlet.finish({
    promptTokens: tokens.length,
    completionTokens: tokensOf(before) + sum(done.map(({ generatedTokens }) => generatedTokens)),
    cachedTokens: Math.min(tokens.length, done[0]?.cachedTokens ?? 0),
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

function sum (numbers: readonly number[]): number { return numbers.reduce((all, number) => all + number, 0) }
