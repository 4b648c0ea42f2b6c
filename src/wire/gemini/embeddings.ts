/** Embeddings in the words of Gemini's batchEmbedContents, and back. Pure. Source: Gemini API reference, "Embeddings", read 2026-11-22. */
import { isObject, type Members } from '../check.ts'
import { encoded, inputsOf, type EmbeddingsRequest, type EncodingFormat } from '../embeddings.ts'
import { unsupported } from '../untranslatable.ts'

/** `user` only labels the call. */
const TRANSLATED: ReadonlySet<string> = new Set(['model', 'input', 'encoding_format', 'dimensions', 'user'])

/** @throws GatewayError `unsupported_value` naming what cannot be translated */
export function toBatch (request: EmbeddingsRequest): Members {
  for (const name in request) {
    if (TRANSLATED.has(name) || request[name] === undefined || request[name] === null) continue
    throw unsupported(/^[\w.-]{1,64}$/.test(name) ? name : '?', 'Gemini\'s embeddings have nothing like it. Leave it out, or call another model.')
  }
  const { model, dimensions } = request
  return {
    requests: inputsOf(request.input).map(text => {
      if (typeof text !== 'string') throw unsupported('input', 'Gemini takes texts, not tokens.')
      return { model: `models/${model}`, content: { parts: [{ text }] }, ...dimensions !== undefined && { outputDimensionality: dimensions } }
    })
  }
}

/** Tokens stand there only where Gemini counts them. @returns null for what are no embeddings */
export function toEmbeddings (value: unknown, model: string, format: EncodingFormat): Members | null {
  if (!isObject(value) || !Array.isArray(value['embeddings'])) return null
  const vectors = value['embeddings'].map((item: unknown) => isObject(item) ? item['values'] : null)
  if (!vectors.every((vector): vector is number[] => Array.isArray(vector) && vector.every(part => typeof part === 'number'))) return null
  const tokens = isObject(value['usageMetadata']) ? value['usageMetadata']['promptTokenCount'] : null
  return {
    object: 'list',
    data: vectors.map((vector, index) => ({ object: 'embedding', index, embedding: encoded(vector, format) })),
    model,
    ...typeof tokens === 'number' && { usage: { prompt_tokens: tokens, total_tokens: tokens } }
  }
}
