/**
 * Which documents answer a query best: Cohere's shape (v1 and v2), which Jina, vLLM and others share.
 * Sources: Cohere API reference, "Rerank"; Jina API, "Reranker"; read 2026-11-22.
 */
import { boolean, integer, isObject, line, list, shape, text, toError, wrongType } from './check.ts'
import type { Check, Members } from './check.ts'
import { OPERATORS_OWN } from './parameters.ts'
import { schemaOf, withSchema } from './schema.ts'

/** A validated request. Members that nobody here knows are kept as they came. */
export interface RerankRequest {
  readonly model: string
  readonly query: string
  /** Texts, or objects of which a text is a member. */
  readonly documents: ReadonlyArray<string | Members>
  readonly top_n?: number
  readonly return_documents?: boolean
  /** Cohere's: a longer document is cut off there. */
  readonly max_tokens_per_doc?: number
  readonly [extra: string]: unknown
}

const MOST_DOCUMENTS = 1000

const document: Check = withSchema(
  value => typeof value === 'string' || isObject(value) ? null : wrongType('one of a string or object', value),
  () => ({ type: ['string', 'object'] })
)

const request = shape({
  model: line({ least: 1, most: 256 }),
  query: text({ least: 1 }),
  documents: list(document, { of: 'strings or objects', most: MOST_DOCUMENTS }),
  top_n: integer(1, Number.MAX_SAFE_INTEGER),
  return_documents: boolean,
  max_tokens_per_doc: integer(1, Number.MAX_SAFE_INTEGER),
  ...OPERATORS_OWN
}, 'model', 'query', 'documents')
export const rerankSchema = () => schemaOf(request)!

/** @throws GatewayError that names the parameter at fault */
export function validateRerank (body: Members): RerankRequest {
  const fault = request(body)
  if (fault !== null) throw toError(fault)
  return body as unknown as RerankRequest
}

/** Is this a whole answer? */
export function isRanking (value: unknown): boolean {
  if (!isObject(value) || !Array.isArray(value['results'])) return false
  return value['results'].every(result => isObject(result) && Number.isInteger(result['index']) && typeof result['relevance_score'] === 'number')
}
