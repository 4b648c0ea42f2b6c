/**
 * Embeddings: what is asked, and how vectors travel.
 * Sources: OpenAI API reference, "Create embeddings"; `openai` package, resources/embeddings; read 2026-11-22.
 */
import { integer, line, list, oneOf, shape, text, toError, wrongType } from './check.ts'
import type { Check, Members } from './check.ts'
import type { TokenUsage } from './chat.ts'
import { OPERATORS_OWN } from './parameters.ts'
import { schemaOf, withSchema } from './schema.ts'

/** A validated request. Members that OpenAI does not define are kept as they came. */
export interface EmbeddingsRequest {
  readonly model: string
  readonly input: EmbeddingsInput
  readonly encoding_format?: EncodingFormat
  readonly dimensions?: number
  readonly [extra: string]: unknown
}

/** Token ids are those of the model. */
export type EmbeddingsInput = string | readonly string[] | readonly number[] | ReadonlyArray<readonly number[]>
export type EncodingFormat = 'float' | 'base64'

const MOST_INPUTS = 2048
const MOST_DIMENSIONS = 65_536

const inputText = text({ least: 1 })
export const tokenIds = list(integer(0, 2 ** 31 - 1), { of: 'integers' })
const texts = list(inputText, { of: 'strings', most: MOST_INPUTS })
const lists = list(tokenIds, { of: 'arrays of integers', most: MOST_INPUTS })

/** The first item decides what the others have to be. */
const anyInput: Check = withSchema(value => {
  if (typeof value === 'string') return inputText(value)
  if (!Array.isArray(value)) return wrongType('one of a string, array of strings, array of integers or array of arrays of integers', value)
  const first: unknown = value[0]
  return (typeof first === 'number' ? tokenIds : Array.isArray(first) ? lists : texts)(value)
}, () => ({ anyOf: [schemaOf(inputText), schemaOf(texts), schemaOf(tokenIds), schemaOf(lists)] }))

const request = shape({
  model: line({ least: 1, most: 256 }),
  input: anyInput,
  encoding_format: oneOf('float', 'base64'),
  dimensions: integer(1, MOST_DIMENSIONS),
  user: line({ most: 512 }),
  ...OPERATORS_OWN
}, 'model', 'input')
export const embeddingsSchema = () => schemaOf(request)!

/**
 * Checks every parameter of embeddings as OpenAI does. The body itself is returned; members that are null are removed
 * from it, members that nobody here knows are kept.
 * @throws GatewayError with OpenAI's code, `param` and wording
 */
export function validateEmbeddings (body: Members): EmbeddingsRequest {
  const fault = request(body)
  if (fault !== null) throw toError(fault)
  return body as unknown as EmbeddingsRequest
}

/** The single inputs. A list of numbers is one input, made of tokens. */
export function inputsOf (asked: EmbeddingsInput): ReadonlyArray<string | readonly number[]> {
  if (typeof asked === 'string') return [asked]
  return typeof asked[0] === 'number' ? [asked as readonly number[]] : asked as readonly string[] | ReadonlyArray<readonly number[]>
}

/** Base64 holds 32-bit floats, lowest byte first, whatever machine this is. */
export function encoded (vector: readonly number[], format: EncodingFormat): readonly number[] | string {
  if (format === 'float') return vector
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4)
  return bytes.toString('base64')
}

/** Is this a whole answer: a vector for each of so many inputs? */
export function isEmbeddings (value: unknown, inputs: number): boolean {
  const data = dataOf(value)
  return data !== null && data.length === inputs && data.every(item => typeof item === 'object' && item !== null &&
    (Array.isArray(item.embedding) || (typeof item.embedding === 'string' && item.embedding !== '')))
}

/**
 * Some servers write floats whatever they are asked for, and SDKs that asked for base64 then read nonsense from them.
 * @returns the same body in base64, or null when it is all base64 already
 */
export function inBase64 (value: unknown): Record<string, unknown> | null {
  const data = dataOf(value)
  if (data === null || data.every(({ embedding }) => typeof embedding === 'string')) return null
  return {
    ...value as object,
    data: data.map(item => Array.isArray(item.embedding) ? { ...item, embedding: encoded(item.embedding as number[], 'base64') } : item)
  }
}

/** Embeddings have no output; null when the backend has not counted. */
export function usageOfEmbeddings (value: unknown): TokenUsage | null {
  const { usage } = value as { usage?: { prompt_tokens?: unknown, total_tokens?: unknown } | null }
  const tokens = usage?.prompt_tokens ?? usage?.total_tokens
  if (!Number.isSafeInteger(tokens) || (tokens as number) < 0 || (tokens as number) > MOST_TOKENS) return null
  return { input: tokens as number, output: 0, cachedInput: 0, reasoning: 0 }
}

/** Beyond it a count is a mistake or an attack on the ledger. */
const MOST_TOKENS = 1_000_000_000

function dataOf (value: unknown): Array<{ readonly embedding?: unknown }> | null {
  if (typeof value !== 'object' || value === null || !('data' in value) || !Array.isArray(value.data)) return null
  return value.data
}
