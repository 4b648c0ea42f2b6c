/** What a server of the OpenAI API, and a local worker, answers: where, and what a whole answer must be. */
import { isTextCompletion } from '../wire/completions.ts'
import { isEmbeddings } from '../wire/embeddings.ts'
import { FORWARDED, type Forwarded } from '../wire/forward.ts'
import { isRanking } from '../wire/rerank.ts'
import { isResponse } from '../wire/responses/native.ts'
import { isCount, isText, isTokens } from '../wire/tokenize.ts'

export interface Route {
  /** Behind `/v1`. */
  readonly path: string
  /** For messages: what the answer is called. */
  readonly answer: string
  isAnswer (value: unknown): boolean
  /** Is this the media type, in lower case, of an answer that passes as it comes? */
  passes? (type: string): boolean
}

export const CHAT: Route = { path: '/chat/completions', answer: 'chat completion', isAnswer: isCompletion }

export const COMPLETIONS: Route = { path: '/completions', answer: 'text completion', isAnswer: isTextCompletion }

/** Local workers alone. */
export const TOKENIZE: Route = { path: '/tokenize', answer: 'list of tokens', isAnswer: isTokens }
export const DETOKENIZE: Route = { path: '/detokenize', answer: 'text of tokens', isAnswer: isText }

/** Of the prompt of a chat completion. */
export const COUNT: Route = { path: '/count', answer: 'count of tokens', isAnswer: isCount }

export const RERANK: Route = { path: '/rerank', answer: 'ranking', isAnswer: isRanking }

/** @param inputs as many as there must be vectors */
export function embeddingsRoute (inputs: number): Route {
  return { path: '/embeddings', answer: `list of ${inputs} ${inputs === 1 ? 'embedding' : 'embeddings'}`, isAnswer: value => isEmbeddings(value, inputs) }
}

/** Its events pass; a whole one is read. */
export const RESPONSES: Route = { path: '/responses', answer: 'response', isAnswer: isResponse, passes: type => /^text\/event-stream(;|$)/.test(type) }

/** Of what is passed on. JSON is read whole, to know that it is an answer and what it used; all else passes. */
export function forwardRoute (what: Forwarded): Route {
  const { path, answer, isAnswer, media } = FORWARDED[what]
  return { path, answer, isAnswer, passes: type => media.test(type) }
}

function isCompletion (value: unknown): boolean {
  if (typeof value !== 'object' || value === null || !('choices' in value) || !Array.isArray(value.choices)) return false
  return value.choices.length > 0 && value.choices.every(choice =>
    typeof choice === 'object' && choice !== null && typeof choice.message === 'object' && choice.message !== null)
}
