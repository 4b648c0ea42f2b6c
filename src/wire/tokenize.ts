/**
 * Text to tokens and back, as llama-server has it; `prompt` and `add_special_tokens` are vLLM's names for the same.
 * Sources: llama.cpp, tools/server/README.md, "POST /tokenize"; vLLM, "Tokenizer API"; read 2026-11-22.
 */
import { boolean, isObject, line, missing, shape, text, toError, type Members } from './check.ts'
import { tokenIds } from './embeddings.ts'
import { OPERATORS_OWN } from './parameters.ts'
import { schemaOf } from './schema.ts'

export interface TokenizeRequest {
  readonly model: string
  readonly content: string
  /** With the token that a prompt begins with. Default: false. */
  readonly add_special?: boolean
  /** The texts of control tokens become those. Default: true. */
  readonly parse_special?: boolean
  readonly [extra: string]: unknown
}

export interface DetokenizeRequest { readonly model: string, readonly tokens: readonly number[], readonly [extra: string]: unknown }

const model = line({ least: 1, most: 256 })
const tokenize = shape({
  model, content: text(), prompt: text(), add_special: boolean, add_special_tokens: boolean, parse_special: boolean, ...OPERATORS_OWN
}, 'model')
const detokenize = shape({ model, tokens: tokenIds, ...OPERATORS_OWN }, 'model', 'tokens')
export const tokenizeSchema = () => schemaOf(tokenize)!
export const detokenizeSchema = () => schemaOf(detokenize)!

/** @throws GatewayError that names the parameter at fault */
export function validateTokenize (body: Members): TokenizeRequest {
  const fault = tokenize(body) ?? (body['content'] === undefined && body['prompt'] === undefined ? missing('content') : null)
  if (fault !== null) throw toError(fault)
  const { prompt, add_special_tokens: special, ...rest } = body
  return { content: prompt, ...special !== undefined && { add_special: special }, ...rest } as unknown as TokenizeRequest
}

/** Is this a whole answer? */
export function isTokens (value: unknown): boolean {
  return isObject(value) && Array.isArray(value['tokens'])
}

/** Is this a whole answer? */
export function isText (value: unknown): boolean {
  return isObject(value) && typeof value['content'] === 'string'
}

/** Is this a whole answer? */
export function isCount (value: unknown): boolean {
  return isObject(value) && Number.isSafeInteger(value['count'])
}

/** @throws GatewayError that names the parameter at fault */
export function validateDetokenize (body: Members): DetokenizeRequest {
  const fault = detokenize(body)
  if (fault !== null) throw toError(fault)
  return body as unknown as DetokenizeRequest
}
