/**
 * A whole answer of Gemini's generateContent as a chat completion. Pure.
 * Source: Gemini API reference, "GenerateContentResponse", "Candidate", "FinishReason" and "UsageMetadata", read 2026-11-22.
 */
import { isObject, type Members } from '../check.ts'

/** Gemini's `finishReason` -> OpenAI's `finish_reason`. One that is not known ends the answer all the same. */
const REASONS: Readonly<Record<string, string>> = {
  STOP: 'stop',
  MAX_TOKENS: 'length',
  SAFETY: 'content_filter',
  RECITATION: 'content_filter',
  LANGUAGE: 'content_filter',
  BLOCKLIST: 'content_filter',
  PROHIBITED_CONTENT: 'content_filter',
  SPII: 'content_filter',
  IMAGE_SAFETY: 'content_filter'
}

/** The model made nothing that could be given to anybody; another may. */
const FAILURES: ReadonlySet<unknown> = new Set(['MALFORMED_FUNCTION_CALL', 'UNEXPECTED_TOOL_CALL', 'TOO_MANY_TOOL_CALLS', 'MISSING_THOUGHT_SIGNATURE', 'MALFORMED_RESPONSE'])

export function isFailure (reason: unknown): boolean { return FAILURES.has(reason) }

export function finishReason (reason: string, hasCalls: boolean): string {
  const known = Object.hasOwn(REASONS, reason) ? REASONS[reason]! : 'stop'
  return known === 'stop' && hasCalls ? 'tool_calls' : known
}

/**
 * Gemini counts thoughts apart from the answer, and what was cached within the prompt.
 * @returns null where the counts are missing
 */
export function toUsage (usage: unknown): Members | null {
  if (!isObject(usage) || typeof usage['promptTokenCount'] !== 'number') return null
  const thoughts = count(usage['thoughtsTokenCount'])
  const input = usage['promptTokenCount'] + count(usage['toolUsePromptTokenCount'])
  const output = count(usage['candidatesTokenCount']) + thoughts
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: count(usage['cachedContentTokenCount']) },
    completion_tokens_details: { reasoning_tokens: thoughts }
  }
}

function count (value: unknown): number { return typeof value === 'number' ? value : 0 }

/** What parts of one candidate say, in OpenAI's words. */
export interface Said { readonly text: string, readonly reasoning: string, readonly calls: Members[] }

/** @param idOf gives an id to a call that has none */
export function saidIn (content: unknown, idOf: () => string): Said {
  const listed = isObject(content) && Array.isArray(content['parts']) ? content['parts'].filter(isObject) : []
  const textOf = (isThought: boolean) => listed.filter(part => (part['thought'] === true) === isThought).map(({ text }) => typeof text === 'string' ? text : '').join('')
  return { text: textOf(false), reasoning: textOf(true), calls: listed.filter(part => isObject(part['functionCall'])).map(part => toCall(part, idOf)) }
}

function toCall ({ functionCall, thoughtSignature: signature }: Members, idOf: () => string): Members {
  const { id, name, args } = functionCall as Members
  return {
    id: typeof id === 'string' && id !== '' ? id : idOf(),
    type: 'function',
    function: { name, arguments: JSON.stringify(args ?? {}) },
    ...typeof signature === 'string' && { extra_content: { google: { thought_signature: signature } } }
  }
}

/** @returns null where there are none */
export function toLogprobs (result: unknown): Members | null {
  if (!isObject(result) || !Array.isArray(result['chosenCandidates'])) return null
  const tops = Array.isArray(result['topCandidates']) ? result['topCandidates'] as unknown[] : []
  const content = result['chosenCandidates'].filter(isObject).map((chosen, at) => {
    const top = tops[at]
    const others = isObject(top) && Array.isArray(top['candidates']) ? top['candidates'].filter(isObject) : []
    return { ...toToken(chosen), top_logprobs: others.map(toToken) }
  })
  return { content, refusal: null }
}

function toToken ({ token, logProbability }: Members): Members {
  return { token, logprob: logProbability, bytes: typeof token === 'string' ? [...Buffer.from(token)] : null }
}

export interface CompletionOptions {
  readonly createdS: number
  /** Where Gemini gives none. */
  readonly id: string
  /** As many choices as were asked for. */
  readonly choices: number
}

/** A prompt that Gemini blocks has no candidates, and gets choices that say so. @returns null for what is no answer */
export function toCompletion (value: unknown, { createdS, id: ownId, choices }: CompletionOptions): Members | null {
  if (!isObject(value)) return null
  const { candidates = [], responseId, modelVersion, usageMetadata } = value
  const isBlocked = wasBlocked(value)
  if (!Array.isArray(candidates) || (candidates.length === 0 && !isBlocked)) return null
  if (candidates.some(candidate => !isObject(candidate) || typeof candidate['finishReason'] !== 'string' || isFailure(candidate['finishReason']))) return null
  const id = typeof responseId === 'string' ? responseId : ownId
  return {
    id: completionId(id),
    object: 'chat.completion',
    created: createdS,
    model: modelVersion,
    choices: candidates.length === 0 ? blocked(choices) : (candidates as Members[]).map((candidate, at) => toChoice(candidate, at, id)),
    usage: toUsage(usageMetadata)
  }
}

/** The id of an answer as one of a chat completion; what it was can be read from it. */
export function completionId (id: string): string { return `chatcmpl-${id}` }

export function wasBlocked ({ promptFeedback }: Members): boolean {
  return isObject(promptFeedback) && typeof promptFeedback['blockReason'] === 'string'
}

function blocked (choices: number): Members[] {
  return Array.from({ length: choices }, (_, index) => ({ index, message: { role: 'assistant', content: '', refusal: null }, logprobs: null, finish_reason: 'content_filter' }))
}

function toChoice (candidate: Members, at: number, id: string): Members {
  const { index = at, content, finishReason: reason, logprobsResult } = candidate
  let calls = 0
  const said = saidIn(content, () => callId(id, index, calls++))
  const message = {
    role: 'assistant',
    content: said.text === '' && said.calls.length > 0 ? null : said.text,
    refusal: null,
    ...said.reasoning !== '' && { reasoning_content: said.reasoning },
    ...said.calls.length > 0 && { tool_calls: said.calls }
  }
  return { index, message, logprobs: toLogprobs(logprobsResult), finish_reason: finishReason(reason as string, said.calls.length > 0) }
}

/** Unique among all answers, as far as `id` is. */
export function callId (id: string, choice: unknown, call: number): string { return `call_${id}_${String(choice)}_${call}` }
