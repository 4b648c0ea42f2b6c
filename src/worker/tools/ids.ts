/** Mistral's templates take ids of calls of nine letters and digits only, and refuse all others. */
import { createHash } from 'node:crypto'

type Message = Readonly<Record<string, unknown>>

export function wantsShortIds (template: string): boolean { return /length\s*!=\s*9/.test(template) }

/** The same id becomes the same short one everywhere, so that calls and their results stay together. */
export function withShortIds (messages: readonly Message[]): Message[] {
  return messages.map(message => {
    const { tool_calls: calls, tool_call_id: id } = message
    return {
      ...message,
      ...Array.isArray(calls) && { tool_calls: calls.map(withShortId) },
      ...typeof id === 'string' && { tool_call_id: shortId(id) }
    }
  })
}

function withShortId (call: unknown): unknown {
  if (typeof call !== 'object' || call === null || !('id' in call) || typeof call.id !== 'string') return call
  return { ...call, id: shortId(call.id) }
}

function shortId (id: string): string {
  if (/^[a-zA-Z0-9]{9}$/.test(id)) return id
  return createHash('sha256').update(id).digest('hex').slice(0, 9)
}
