/** What a line of a batch can ask for: the same lives that the routes of these names give a call. */
import { GatewayError } from '../errors.ts'
import type { Call } from '../pipeline/call.ts'
import { serveChat } from '../pipeline/chat.ts'
import { serveCompletion } from '../pipeline/completions.ts'
import { serveEmbeddings } from '../pipeline/embeddings.ts'
import type { Inbound, Outlet, Services } from '../pipeline/serve.ts'
import type { Endpoint } from '../usage/record.ts'
import type { ChatCompletion } from '../wire/chat.ts'
import { ResponseAnswer } from '../wire/responses/answer.ts'
import { readRequest, toChat } from '../wire/responses/request.ts'

interface BatchEndpoint {
  /** In the record. */
  readonly endpoint: Endpoint
  serve (services: Services, call: Call, inbound: Inbound, outlet: Outlet): Promise<void>
}

export const BATCH_ENDPOINTS: ReadonlyMap<string, BatchEndpoint> = new Map([
  ['/v1/chat/completions', { endpoint: 'chat_completions', serve: serveChat }],
  ['/v1/completions', { endpoint: 'completions', serve: serveCompletion }],
  ['/v1/embeddings', { endpoint: 'embeddings', serve: serveEmbeddings }],
  ['/v1/responses', { endpoint: 'responses', serve: serveResponse }]
])

/** By way of chat completions, as the route does; but every line stands alone, and nothing but the output file is kept. */
async function serveResponse (services: Services, call: Call, inbound: Inbound, outlet: Outlet): Promise<void> {
  const asked = readRequest(inbound.body)
  if (asked.previousId !== null) {
    throw new GatewayError('unsupported_parameter', "Unsupported parameter: 'previous_response_id' in a batch; send the items in input.", { param: 'previous_response_id' })
  }
  if (asked.store === true) {
    throw new GatewayError('unsupported_value', "Unsupported value: 'store' must be false in a batch; its answers are kept in the output file alone.", { param: 'store' })
  }
  const answer = new ResponseAnswer({ request: asked, stored: false })
  const { chat } = toChat(asked)
  await serveChat(services, call, { ...inbound, body: chat }, {
    ...outlet,
    body: (bytes, completion) => { outlet.body(bytes, answer.whole(completion as ChatCompletion)) }
  })
}
