/** Members of a chat request that OpenAI does not define, at backends that read a closed list. Others get them as they came. */
import type { ChatRequest } from './chat.ts'
import { CHAT_MEMBERS } from './validate.ts'

/** What a worker reads. A test holds it to the worker's own reading. */
export const LOCAL_MEMBERS: ReadonlySet<string> = new Set([
  ...CHAT_MEMBERS, 'min_p', 'reasoning', 'thinking', 'thinking_budget_tokens', 'thinking_token_budget', 'top_k'
])

/** What `toMessages` translates, or refuses for a reason of its own. */
export const ANTHROPIC_MEMBERS: ReadonlySet<string> = new Set([...CHAT_MEMBERS, 'thinking', 'top_k'])

/** What `toGenerate` translates, or refuses for a reason of its own. */
export const GEMINI_MEMBERS: ReadonlySet<string> = new Set([...CHAT_MEMBERS, 'top_k'])

/**
 * Members by which engines are told what an answer may be. Without them it would be another answer, not a plainer one.
 * Sources: vLLM "Extra Parameters", SGLang "Sampling Parameters", llama-server README; read 2026-11-22.
 */
export const BINDING: ReadonlySet<string> = new Set([
  'bad_words', 'continue_final_message', 'ebnf', 'grammar', 'guided_choice', 'guided_decoding_backend', 'guided_grammar', 'guided_json', 'guided_regex',
  'ignore_eos', 'json_schema', 'logits_processors', 'min_tokens', 'prompt_embeds', 'regex', 'stop_token_ids', 'structural_tag', 'structured_outputs'
])

/** Names of those not known, null where there are none. A member that is null, or false, asks for nothing. */
export function unknownIn (request: ChatRequest, known: ReadonlySet<string>): string[] | null {
  let names: string[] | null = null
  for (const name in request) {
    if (known.has(name) || request[name] === null || request[name] === undefined || request[name] === false) continue
    names ??= []
    names.push(name)
  }
  return names
}

/** A caller's own name that is no plain word might be prompt text. */
export function shownMember (name: string): string { return /^[\w.-]{1,64}$/.test(name) ? name : '?' }
