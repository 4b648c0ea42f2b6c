/**
 * What the scheduler needs of a model: sequences, one to a slot, that grow together by steps. Implemented on
 * llama.cpp in llama.ts, and by a fake in the tests of the scheduler.
 */
export interface Engine {
  readonly slots: number
  /** Longest sequence in tokens. */
  readonly contextTokens: number
  /** Most tokens of one step, all slots together. At least `slots`. */
  readonly batchTokens: number
  /**
   * Computes the items as one batch. At most one item to a slot. Never rejects: each item has its own result.
   * A slot whose item failed has to be rewound to 0 before its next.
   */
  step (items: readonly StepItem[]): Promise<readonly StepResult[]>
  /**
   * Forgets all but the first `keep` tokens of a slot, between steps only.
   * @returns how many are really kept: fewer, down to none, where the network cannot go back so far
   */
  rewind (slot: number, keep: number): Promise<number>
  /** The network cannot go back to where it was, unless that was marked: it has a sliding window, or a state instead of a cache. */
  readonly needsMarks: boolean
  /** Remembers a slot as it is, so that `rewind` can come back to it, between steps only. The oldest marks of a slot are given up for new ones. */
  mark (slot: number): Promise<void>
  /**
   * Gives slot `to` the `length` tokens that slot `from` holds, instead of its own, between steps only.
   * @returns how many it then has: none where this cannot be done
   */
  copy (from: number, to: number, length: number): Promise<number>
  /** The answer in this slot is over: forgets its sampling state, keeps its tokens. */
  release (slot: number): void
  /** Is this a token that ends an answer? */
  isEnd (token: number): boolean
}

export interface StepItem {
  readonly slot: number
  /** What to append to the sequence: a piece of the prompt, or the token sampled last. Never empty. */
  readonly tokens: readonly number[]
  /** How to choose the next token, or null in the midst of a prompt. The same object throughout one answer. */
  readonly sampling: Sampling | null
}

export type StepResult = { readonly token: number | null, readonly scores?: Scores } | { readonly error: unknown }

/** Natural logarithms of what the model alone thinks, before temperature and all other settings. */
export interface Scores {
  /** Of the token that was chosen. */
  readonly logprob: number
  /** The likeliest tokens, likeliest first. */
  readonly top: readonly (readonly [token: number, logprob: number])[]
}

/** OpenAI's sampling parameters, and the two extras that local servers have. */
export interface Sampling {
  /** 0 takes the most likely token always. */
  readonly temperature: number
  readonly topP: number
  readonly topK: number
  readonly minP: number
  /** 32 bits, unsigned. */
  readonly seed: number
  readonly frequencyPenalty: number
  readonly presencePenalty: number
  /** Token → what is added to its logit. */
  readonly logitBias: ReadonlyMap<number, number>
  /** What the answer is held to, as the engine has compiled it, or null. */
  readonly grammar: CompiledGrammar | null
  /** How many of the likeliest tokens are told with each token's score; null when no scores are wanted. */
  readonly topLogprobs: number | null
  /** Tokens of the answer that were chosen elsewhere and stand at the end of its prompt; they count for penalties and seed. */
  readonly said?: readonly number[]
}

/** A grammar that the engine has understood. Only the engine looks inside. */
export interface CompiledGrammar { readonly gbnf: string }

/** The most likely token always. */
export const GREEDY: Sampling = {
  temperature: 0, topP: 1, topK: 1, minP: 0, seed: 0, frequencyPenalty: 0, presencePenalty: 0, logitBias: new Map(), grammar: null, topLogprobs: null
}
