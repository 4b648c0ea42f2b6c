/** A chat request in the words of a server that differs from the API it speaks. Pure. */
import type { Quirks } from '../config/presets.ts'
import { GatewayError } from '../errors.ts'
import type { ChatRequest } from '../wire/chat.ts'
import { isObject } from '../wire/check.ts'

/**
 * @param name of the server, for messages
 * @throws GatewayError `unsupported_value` naming what the server does not have
 */
export function inItsWords (request: ChatRequest, { limit, seed, lacks = [], nameless }: Quirks, name: string): ChatRequest {
  const said: Record<string, unknown> = { ...request }
  if (limit !== undefined) rename(said, 'max_completion_tokens', limit)
  if (seed !== undefined) rename(said, 'seed', seed)
  for (const member of lacks) {
    if (asksForSomething(member, said[member])) throw unsupported(member, name)
    delete said[member]
  }
  if (nameless === true) refuseNames(request, name)
  return said as ChatRequest
}

/** What was said under the newer name counts. */
function rename (said: Record<string, unknown>, from: string, to: string): void {
  const value = said[from]
  delete said[from]
  if (value !== undefined && value !== null) said[to] = value
}

function asksForSomething (member: string, value: unknown): boolean {
  if (value === undefined || value === null || value === false) return false
  if (member === 'n') return value !== 1
  return member === 'top_logprobs' ? value !== 0 : !isObject(value) || Object.keys(value).length > 0
}

function refuseNames ({ messages }: ChatRequest, name: string): void {
  for (const [index, message] of messages.entries()) {
    if ('name' in message && message.name !== undefined) throw unsupported(`messages[${index}].name`, name)
  }
}

function unsupported (param: string, name: string): GatewayError {
  return new GatewayError('unsupported_value', `${param}: ${name} has nothing like it. Leave it out, or call another model.`, { param })
}
