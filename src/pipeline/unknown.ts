import type { Backend } from '../backends/backend.ts'
import type { TenantConfig } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import type { ChatRequest } from '../wire/chat.ts'
import { BINDING, shownMember, unknownIn } from '../wire/unknown.ts'
import type { Call } from './call.ts'

/**
 * The request without what this backend does not know; the caller is told with the answer. May change the request.
 * @throws GatewayError `unsupported_value` where the answer would be another one, or the tenant wants nothing left out; another target may know it
 */
export function fit (request: ChatRequest, { name: backend, members }: Backend, call: Call, { unknownFields = 'drop' }: TenantConfig): ChatRequest {
  call.leftOut = null
  const unknown = members === undefined ? null : unknownIn(request, members)
  if (unknown === null) return request
  const refused = unknownFields === 'refuse' ? unknown[0] : unknown.find(name => BINDING.has(name))
  if (refused !== undefined) {
    const param = shownMember(refused)
    throw new GatewayError('unsupported_value', `Unsupported parameter: '${param}' means nothing to ${backend}.`, { param })
  }
  for (const name of unknown) delete request[name]
  call.leftOut = [`left out, unknown to ${backend}: ${unknown.slice(0, MOST_NAMED).map(shownMember).join(', ')}${unknown.length > MOST_NAMED ? ' and others' : ''}`]
  return request
}

const MOST_NAMED = 8
