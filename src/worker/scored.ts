/**
 * Tokens with their log-probabilities. The public functions of node-llama-cpp tell those only after temperature, top_p
 * and the like have changed them; here a second, neutral sampler looks at the same logits. Internals of 3.22.1: trying
 * out a model at its start shows whether they still do what they did.
 */
import type { Scores } from './engine.ts'

export interface NativeSampler {
  applyConfig (config: Readonly<Record<string, unknown>>): void
  dispose (): void
}

export interface NativeContext {
  /** @returns token, -, -, pairs of token and logit in one list, sum of exp(logit - highest logit) */
  sampleToken (index: number, sampler: NativeSampler, ...what: unknown[]): Promise<number | readonly [number, unknown, unknown, readonly number[], number]>
}

export interface NativeSequence {
  readonly _tokenMeter: unknown
  readonly _contextShift: unknown
  _resolveSamplerConfig (options: unknown): Readonly<Record<string, unknown>>
  _decodeTokens<T> (tokens: readonly number[], wanted: readonly boolean[], priority: number, meter: unknown, shift: unknown,
    map: (index: number) => Promise<T>): Promise<readonly T[]>
}

export interface ScoredToken { readonly token: number, readonly scores: Scores }

const PRIORITY = 5
const NEUTRAL = { temperature: 0, minP: 0, topP: 1, topK: 0, seed: 0 }

/** One answer in one sequence. */
export class ScoredAnswer {
  readonly #sequence: NativeSequence
  readonly #context: NativeContext
  readonly #chooser: NativeSampler
  readonly #looker: NativeSampler
  readonly #options: unknown
  readonly #top: number

  /** @param options as `evaluate` takes them. @param top how many of the likeliest tokens are told */
  constructor (sequence: NativeSequence, context: NativeContext, samplers: readonly [NativeSampler, NativeSampler], options: unknown, top: number) {
    this.#sequence = sequence
    this.#context = context
    this.#chooser = samplers[0]
    this.#looker = samplers[1]
    this.#options = options
    this.#top = top
    this.#looker.applyConfig(NEUTRAL)
  }

  /** Appends the tokens and chooses the next one. */
  async next (tokens: readonly number[]): Promise<ScoredToken> {
    const { _tokenMeter: meter, _contextShift: shift } = this.#sequence
    const wanted: boolean[] = []
    wanted[tokens.length - 1] = true
    const chosen = await this.#sequence._decodeTokens(tokens, wanted, PRIORITY, meter, shift, index => this.#choose(index))
    return chosen[tokens.length - 1]!
  }

  close (): void {
    this.#chooser.dispose()
    this.#looker.dispose()
  }

  async #choose (index: number): Promise<ScoredToken> {
    this.#chooser.applyConfig(this.#sequence._resolveSamplerConfig(this.#options))
    const token = await this.#context.sampleToken(index, this.#chooser)
    if (typeof token !== 'number' || token < 0) throw new Error('The model gave no token.')
    const seen = await this.#context.sampleToken(index, this.#looker, false, false, [[token], false, false, false, Math.max(1, this.#top)], true)
    if (typeof seen === 'number') throw new Error('The model gave no logits.')
    return { token, scores: scoresOf(token, seen[3], seen[4], this.#top) }
  }
}

function scoresOf (token: number, pairs: readonly number[], weight: number, top: number): Scores {
  const logits = new Map<number, number>()
  for (let at = 0; at < pairs.length; at += 2) logits.set(pairs[at]!, pairs[at + 1]!)
  const sorted = [...logits].toSorted(([, a], [, b]) => b - a)
  const whole = sorted[0]![1] + Math.log(weight)
  const logprob = (logit: number): number => Math.min(0, logit - whole)
  return { logprob: logprob(logits.get(token)!), top: sorted.slice(0, top).map(([id, logit]) => [id, logprob(logit)]) }
}
