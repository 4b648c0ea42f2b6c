/** Answers /tokenize and /detokenize, and counts prompts: what a text costs, and what tokens say. */
import { validateDetokenize, validateTokenize } from '../wire/tokenize.ts'
import type { Reader } from './reader.ts'
import { readConversation } from './request.ts'

type Body = Record<string, unknown>

/** @throws GatewayError `context_length_exceeded` for a text beyond any context, which is not counted for its own sake */
export function tokenize (model: Reader, body: Body): Body {
  const { content, add_special: isPrompt, parse_special: hasControls } = validateTokenize(body)
  const tokens = model.promptTokens(content, { isPrompt: isPrompt ?? false, hasControls: hasControls ?? true, param: 'content' })
  return { tokens, count: tokens.length, max_model_len: model.contextTokens }
}

export function detokenize (model: Reader, body: Body): Body {
  const { tokens } = validateDetokenize(body)
  const content = model.textOf(model.inputTokens(tokens, 'tokens'))
  return { content, prompt: content }
}

/** What a chat completion with this body would find its prompt to have, whatever it is to answer. */
export function count (model: Reader, body: Body): Body {
  return { count: model.count(readConversation(body)) }
}
