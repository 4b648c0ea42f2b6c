/** Answers /v1/embeddings. */
import { setImmediate as turn } from 'node:timers/promises'
import { GatewayError } from '../errors.ts'
import { encoded, inputsOf, validateEmbeddings, type EmbeddingsRequest } from '../wire/embeddings.ts'
import type { Model } from './load.ts'

/**
 * A unit vector for each input, in their order.
 * @throws GatewayError `context_length_exceeded` for an input that does not fit whole, before any is computed; nothing is
 *   ever cut off. Others name the parameter at fault
 */
export async function answerEmbeddings (model: Model, body: Record<string, unknown>, signal: AbortSignal): Promise<Record<string, unknown>> {
  const request = validateEmbeddings(body)
  const dimensions = dimensionsOf(request, model)
  const inputs = await tokensOf(request, model)
  const data: unknown[] = []
  for (const [index, tokens] of inputs.entries()) {
    const vector = unit((await model.embedder.vector(tokens, signal)).slice(0, dimensions))
    data.push({ object: 'embedding', index, embedding: encoded(vector, request.encoding_format ?? 'float') })
  }
  const promptTokens = inputs.reduce((sum, { length }) => sum + length, 0)
  return { object: 'list', data, model: request.model, usage: { prompt_tokens: promptTokens, total_tokens: promptTokens } }
}

/** The first numbers of a vector are one by themselves where the model was trained so (Matryoshka); elsewhere they are worth less. */
function dimensionsOf ({ dimensions }: EmbeddingsRequest, { name, embedder }: Model): number {
  if (dimensions === undefined || dimensions <= embedder.dimensions) return dimensions ?? embedder.dimensions
  throw new GatewayError('unsupported_value', `dimensions is ${dimensions}; the vectors of ${name} have ${embedder.dimensions}.`, { param: 'dimensions' })
}

async function tokensOf ({ input: asked }: EmbeddingsRequest, model: Model): Promise<ReadonlyArray<readonly number[]>> {
  const inputs = inputsOf(asked)
  const isList = Array.isArray(asked) && typeof asked[0] !== 'number'
  const all: Array<readonly number[]> = []
  for (const [index, one] of inputs.entries()) {
    all.push(model.embedder.framed(model.inputTokens(one, isList ? `input[${index}]` : 'input')))
    if (all.at(-1)!.length > model.contextTokens) throw tooLong(all.at(-1)!.length, isList ? `input[${index}]` : 'input', model)
    // Between two inputs the answers under way may go on.
    await turn()
  }
  return all
}

function tooLong (tokens: number, param: string, { name, contextTokens }: Model): GatewayError {
  return new GatewayError('context_length_exceeded',
    `${param} has ${tokens} tokens; ${name} takes at most ${contextTokens}. Send it in several inputs.`, { param })
}

/** Of length one, in 32-bit floats written as short as they can be. */
function unit (vector: readonly number[]): number[] {
  const length = Math.hypot(...vector)
  return vector.map(value => Number((length === 0 ? 0 : value / length).toPrecision(9)))
}
