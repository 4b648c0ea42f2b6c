/** Answers /v1/rerank. */
import { setImmediate as turn } from 'node:timers/promises'
import { GatewayError } from '../errors.ts'
import { validateRerank, type RerankRequest } from '../wire/rerank.ts'
import type { Model } from './load.ts'

/** What other servers know and would change the ranking. */
const REFUSED = ['rank_fields', 'max_chunks_per_doc', 'truncate_prompt_tokens', 'truncation', 'instruction']

/**
 * The best documents first. Each score is from 0 to 1, and says the same whatever stands beside it in the list.
 * @throws GatewayError `context_length_exceeded` for a document that does not fit together with the query, before any is
 *   computed; only `max_tokens_per_doc` cuts something off. Others name the parameter at fault
 */
export async function answerRerank (model: Model, body: Record<string, unknown>, signal: AbortSignal): Promise<Record<string, unknown>> {
  const request = validateRerank(body)
  refuseUnsupported(request)
  const documents = request.documents.map(textOf)
  const pairs = await pairsOf(request, documents, model)
  const scored: Scored[] = []
  for (const [index, tokens] of pairs.entries()) scored.push({ index, relevance_score: await model.ranker.score(tokens, signal) })
  const best = scored.toSorted((a, b) => b.relevance_score - a.relevance_score || a.index - b.index).slice(0, request.top_n)
  const results = request.return_documents === true ? best.map(one => ({ ...one, document: { text: documents[one.index] } })) : best
  const promptTokens = pairs.reduce((sum, { length }) => sum + length, 0)
  return { object: 'list', model: request.model, results, usage: { prompt_tokens: promptTokens, total_tokens: promptTokens } }
}

interface Scored { readonly index: number, readonly relevance_score: number }

function refuseUnsupported (request: RerankRequest): void {
  const name = REFUSED.find(each => (request[each] ?? null) !== null)
  if (name !== undefined) throw new GatewayError('unsupported_value', `${name} is not supported by local models; leave it out.`, { param: name })
}

function textOf (document: RerankRequest['documents'][number], index: number): string {
  if (typeof document === 'string') return document
  const { text } = document
  if (typeof text === 'string') return text
  const param = `documents[${index}].text`
  throw new GatewayError('unsupported_value', `${param} is no string; local models rank texts, given as strings or as objects with a text.`, { param })
}

type Pair = readonly number[]

async function pairsOf ({ query, max_tokens_per_doc: most }: RerankRequest, documents: readonly string[], model: Model): Promise<readonly Pair[]> {
  const pairs: Pair[] = []
  for (const [index, document] of documents.entries()) {
    pairs.push(model.pairs.tokens(query, document, { param: `documents[${index}]`, mostTokens: most ?? Infinity }))
    // Between two documents the answers under way may go on.
    await turn()
  }
  return pairs
}
