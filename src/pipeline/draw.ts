import type { ModelConfig } from '../config/schema.ts'
import type { ChatMessage } from '../wire/chat.ts'

export interface Caller { readonly tenant: string, readonly keyId: string, readonly callId: string }

/** Of a beginning that says which conversation it is, this much. */
const MOST = 1024

/** What decides by lot: calls of the same draw get the same order. */
export function drawOf ({ order, sticky = 'call' }: ModelConfig, { tenant, keyId, callId }: Caller, request: object): string {
  if (order !== 'weighted' || sticky === 'call') return callId
  if (sticky === 'key') return keyId
  const said = request as Readonly<Record<string, unknown>>
  const named = sticky === 'user' ? said['safety_identifier'] ?? said['user'] : said['prompt_cache_key'] ?? beginning(said['messages'])
  return typeof named === 'string' ? `${tenant} ${named}` : keyId
}

/** Instructions and the first question: what all turns of a conversation share. */
function beginning (messages: unknown): string | undefined {
  if (!Array.isArray(messages)) return undefined
  const all = messages as readonly ChatMessage[]
  const first = all.findIndex(({ role }) => role === 'user')
  return all.slice(0, first + 1).map(({ content }) => typeof content === 'string' ? content : JSON.stringify(content)).join('\n').slice(0, MOST)
}
