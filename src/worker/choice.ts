/** One choice of an answer: from the tokens of the model to what the caller sees. */
import type { ChoiceOutlet } from './answer.ts'
import type { Scores } from './engine.ts'
import type { TokenLog } from './logprobs.ts'
import { StopMatcher } from './stop.ts'
import { TextOfTokens, type Detokenize } from './text.ts'
import type { SplitPart, Splitter } from './thoughts.ts'
import type { CallParser, Part } from './tools/calls.ts'

/** How much may be thought. */
export interface Budget {
  readonly tokens: number
  /** What is put in when they are used up, and when the model then thinks again; each once. Never empty. */
  readonly ends: readonly (readonly number[])[]
}

export interface ChoiceOptions {
  readonly detokenize: Detokenize
  /** Tokens of a raw prompt that the answer goes on from. */
  readonly before?: readonly number[]
  readonly stops: readonly string[]
  readonly thoughts: Splitter
  /** Null when no tool may be called. */
  readonly calls: CallParser | null
  /** More than one call; otherwise the answer ends with the first. */
  readonly isParallel: boolean
  /** Null when no logprobs are wanted. */
  readonly log: TokenLog | null
  /** No limit if left out. */
  readonly budget?: Budget | null
}

export class Choice {
  readonly #text: TextOfTokens
  readonly #thoughts: Splitter
  readonly #calls: CallParser | null
  readonly #stops: StopMatcher
  readonly #isParallel: boolean
  readonly #outlet: ChoiceOutlet
  readonly #log: TokenLog | null
  /** In characters of the answer as the model writes it: what is heard, what is understood, and where the content begins that is shown next. */
  #heard = 0
  #understood = 0
  #nextContent = 0
  #reasoningTokens = 0
  #hasCalls = false
  #isOver = false
  readonly #budget: Budget | null
  /** Of the ends in the budget, how many were put in. */
  #ended = 0
  /** Of the last one, what has not come yet. */
  #due: readonly number[] = []

  constructor ({ detokenize, before, stops, thoughts, calls, isParallel, log, budget = null }: ChoiceOptions, outlet: ChoiceOutlet) {
    this.#text = new TextOfTokens(detokenize, before)
    this.#thoughts = thoughts
    this.#calls = calls
    this.#stops = new StopMatcher(stops)
    this.#isParallel = isParallel
    this.#log = log
    this.#outlet = outlet
    this.#budget = budget
  }

  /** @returns false when the answer is complete, or the tokens that have to come next: a thought that has had its own is ended */
  take (token: number, scores?: Scores): boolean | readonly number[] {
    if (scores !== undefined) this.#log?.add(token, scores)
    const wasThinking = this.#thoughts.isThinking
    const text = this.#text.push(token)
    this.#hear(text)
    if (wasThinking || this.#thoughts.isThinking) this.#reasoningTokens++
    if (this.#budget !== null && !this.#isOver) return this.#limit(this.#budget, token, text)
    return !this.#isOver
  }

  /** A character that is not whole yet is waited for. */
  #limit ({ tokens, ends }: Budget, token: number, text: string): true | readonly number[] {
    if (this.#due.length > 0) this.#due = token === this.#due[0] ? this.#due.slice(1) : []
    else if (this.#thoughts.isThinking && this.#reasoningTokens >= tokens && text !== '') this.#due = ends[this.#ended++] ?? []
    return this.#due.length === 0 || this.#due
  }

  /** Those that begin and end the thought among them. */
  get reasoningTokens (): number { return this.#reasoningTokens }

  /** @param reason why the model stopped, unless it was stopped here */
  end (reason: 'stop' | 'length'): void {
    const why = this.#isOver ? 'stop' : reason
    if (!this.#isOver) this.#hear(this.#text.flush())
    if (!this.#isOver) this.#think(this.#thoughts.flush())
    if (!this.#isOver && this.#calls !== null) this.#say(this.#calls.flush())
    if (!this.#isOver) this.#show(this.#stops.flush())
    this.#outlet.finish(why === 'stop' && this.#hasCalls ? 'tool_calls' : why, this.#stops.matched)
  }

  #hear (text: string): void {
    if (text === '') return
    this.#heard += text.length
    this.#log?.settle(this.#heard)
    this.#think(this.#thoughts.push(text))
  }

  #think (parts: readonly SplitPart[]): void {
    for (const part of parts) {
      if (this.#isOver) return
      const { kind, raw } = part
      if (kind === 'text') this.#say(this.#calls === null ? [{ kind, raw }] : this.#calls.push(raw))
      else if (kind === 'calls') this.#say([part])
      else this.#understood += raw.length
      if (kind === 'reasoning') this.#outlet.reasoning(raw)
    }
  }

  #say (parts: readonly Part[]): void {
    for (const part of parts) {
      if (this.#isOver) return
      if (part.kind === 'text') this.#content(part.raw)
      else if (part.kind === 'calls') this.#call(part)
      this.#understood += part.raw.length
    }
  }

  /** Stop strings are looked for in what the caller sees as content alone, not in thoughts, markers and calls. */
  #content (text: string): void {
    if (!this.#stops.isHolding) this.#nextContent = this.#understood
    const found = this.#stops.push(text)
    this.#isOver = found.stopped
    this.#show(found.text)
  }

  #call ({ calls }: Extract<Part, { kind: 'calls' }>): void {
    this.#show(this.#stops.flush())
    this.#hasCalls = true
    for (const call of this.#isParallel ? calls : calls.slice(0, 1)) this.#outlet.call(call)
    this.#isOver = !this.#isParallel
  }

  #show (text: string): void {
    if (text === '') return
    const end = this.#nextContent + text.length
    this.#outlet.content(text, this.#log?.take(this.#nextContent, end) ?? [])
    this.#nextContent = end
  }
}
