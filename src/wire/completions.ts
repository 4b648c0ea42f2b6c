/** Legacy completions: a raw prompt that is continued. Source: OpenAI API reference, "Create completion", read 2026-11-22. */
import { boolean, decimal, integer, line, list, shape, text, toError, wrongType } from './check.ts'
import type { Check, Fault, Members } from './check.ts'
import { tokenIds } from './embeddings.ts'
import { logitBias, onlyWhen, OPERATORS_OWN, seed, stop } from './parameters.ts'
import { schemaOf, withSchema } from './schema.ts'

/** A validated request. Members that OpenAI does not define are kept as they came. */
export interface CompletionRequest {
  readonly model: string
  readonly prompt: Prompts
  readonly suffix?: string
  readonly echo?: boolean
  readonly best_of?: number
  readonly n?: number
  readonly logprobs?: number
  readonly max_tokens?: number
  readonly stream?: boolean
  readonly stream_options?: { readonly include_usage?: boolean }
  readonly [extra: string]: unknown
}

/** Token ids are those of the model. */
export type Prompts = string | readonly string[] | readonly number[] | ReadonlyArray<readonly number[]>

/** Of tokens to generate, when the request says nothing. */
export const DEFAULT_MAX_TOKENS = 16
const MOST_PROMPTS = 128

const texts = list(text(), { of: 'strings', most: MOST_PROMPTS })
const lists = list(tokenIds, { of: 'arrays of integers', most: MOST_PROMPTS })

/** The first item decides what the others have to be. */
const prompts: Check = withSchema(value => {
  if (typeof value === 'string') return null
  if (!Array.isArray(value)) return wrongType('one of a string, array of strings, array of integers or array of arrays of integers', value)
  const first: unknown = value[0]
  return (typeof first === 'number' ? tokenIds : Array.isArray(first) ? lists : texts)(value)
}, () => ({ anyOf: [{ type: 'string' }, schemaOf(texts), schemaOf(tokenIds), schemaOf(lists)] }))

const request = shape({
  model: line({ least: 1, most: 256 }),
  prompt: prompts,
  best_of: integer(1, 20),
  echo: boolean,
  frequency_penalty: decimal(-2, 2),
  logit_bias: logitBias,
  logprobs: integer(0, 5),
  max_tokens: integer(0, Number.MAX_SAFE_INTEGER),
  n: integer(1, 128),
  presence_penalty: decimal(-2, 2),
  seed,
  stop,
  stream: boolean,
  stream_options: shape({ include_usage: boolean, include_obfuscation: boolean }),
  suffix: text(),
  temperature: decimal(0, 2),
  top_p: decimal(0, 1),
  user: line({ most: 512 }),
  ...OPERATORS_OWN
}, 'model', 'prompt')
export const completionSchema = () => schemaOf(request)!

/**
 * Checks every parameter of completions as OpenAI does. The body itself is returned; members that are null are removed
 * from it, members that nobody here knows are kept.
 * @throws GatewayError with OpenAI's code, `param` and wording
 */
export function validateCompletion (body: Members): CompletionRequest {
  const fault = request(body) ?? combinations(body as unknown as CompletionRequest)
  if (fault !== null) throw toError(fault)
  return body as unknown as CompletionRequest
}

function combinations ({ stream, stream_options: options, best_of: best, n = 1 }: CompletionRequest): Fault | null {
  if (options !== undefined && stream !== true) return onlyWhen('stream_options', 'stream')
  if (best !== undefined && best < n) return { code: 'invalid_value', path: 'best_of', says: () => `Invalid 'best_of': it is ${best}, but 'n' is ${n}; expected at least as many.` }
  if (best !== undefined && best > n && stream === true) return { code: 'invalid_value', path: 'best_of', says: () => "The best of several cannot be streamed; set 'best_of' to 'n' or leave it out." }
  return null
}

/** Is this a whole answer? */
export function isTextCompletion (value: unknown): boolean {
  if (typeof value !== 'object' || value === null || !('choices' in value) || !Array.isArray(value.choices)) return false
  return value.choices.length > 0 && value.choices.every(choice => typeof choice === 'object' && choice !== null && typeof choice.text === 'string')
}
