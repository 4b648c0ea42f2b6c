/** What a model is computing for whom: a slot holds the tokens of one sequence, and the job that is being computed in it. */
import type { Sampling, Scores } from './engine.ts'

export interface Work {
  /** At least one token, and fewer than the context. */
  readonly prompt: readonly number[]
  /** Work of different domains never shares cached prompt state. */
  readonly isolation: string
  readonly sampling: Sampling
  readonly maxTokens: number
  /**
   * Called with every token of the answer, also with those it asks for itself.
   * @returns false when the answer is complete; or tokens that have to come next, whatever the model would say
   */
  take (token: number, scores?: Scores): boolean | readonly number[]
  /** Called once, when the answer is complete, in the order of its tokens. What it throws breaks the answer off. */
  end? (done: Done): void
}

export interface Done {
  /** `length`: `maxTokens` or the context is used up. */
  readonly reason: 'stop' | 'length'
  /** Tokens of the prompt that did not have to be computed. */
  readonly cachedTokens: number
  readonly generatedTokens: number
}

export interface Job {
  readonly work: Work
  readonly call: Call
  readonly signal: AbortSignal
  readonly done: PromiseWithResolvers<Done>
  /** Rises with every call. */
  readonly arrival: number
  /** Tokens of the prompt that are in the slot. */
  read: number
  /** Where the slot is to be marked on the way through the prompt, in their order. */
  marks: readonly number[]
  cached: number
  generated: number
  /** How the next token is chosen: the work's, until tokens were put in that the model did not choose. */
  sampling: Sampling
  /** Sampled last, or put in, and not yet in the slot; null while the prompt is read. */
  next: readonly number[] | null
}

/** Answers to one prompt: the first job reads it, the others wait and get a copy of its state. */
export interface Call {
  readonly jobs: Job[]
  /** Ends all when one fails. */
  readonly broken: AbortController
  isShared: boolean
}

export interface Slot { readonly id: number, tokens: number[], isolation: string, usedAt: number, job: Job | null }

export interface SlotView {
  readonly id: number
  readonly busy: boolean
  readonly phase: 'idle' | 'prompt' | 'generating'
  readonly promptTokens: number
  readonly generatedTokens: number
  /** Of the prompt while busy; held for the next prompt while idle. */
  readonly cachedTokens: number
}

/** For the state of the first answer to the same prompt. */
export function isWaiting (job: Job): boolean { return !job.call.isShared && job !== job.call.jobs[0] }
export function isReading ({ job }: Slot): boolean { return job!.next === null }

export function viewOf ({ id, job, tokens }: Slot): SlotView {
  if (job === null) return { id, busy: false, phase: 'idle', promptTokens: 0, generatedTokens: 0, cachedTokens: tokens.length }
  return {
    id,
    busy: true,
    phase: job.next === null ? 'prompt' : 'generating',
    promptTokens: job.work.prompt.length,
    generatedTokens: job.generated,
    cachedTokens: job.cached
  }
}
