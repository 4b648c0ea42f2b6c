import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../errors.ts'
import type { ErrorDialect } from '../listener/errors.ts'
import type { Services } from '../pipeline/chat.ts'
import { countInput } from '../pipeline/count.ts'
import { MessageStream, PING, toMessage, type AnswerFacts } from '../wire/messages/answer.ts'
import { blamed } from '../wire/messages/blame.ts'
import { errorBody, errorStatus } from '../wire/messages/errors.ts'
import { showsThoughts, toChat, toCountedChat } from '../wire/messages/request.ts'
import { parseBody } from '../wire/parse.ts'
import { validateChat } from '../wire/validate.ts'
import { TranslatingOutlet, type Asked, type Dialect } from './dialect.ts'
import { countedIn } from './counted.ts'
import { disconnectSignal } from './disconnect.ts'

const errors: ErrorDialect = {
  status: errorStatus,
  body: errorBody,
  headers: requestId => ({ 'request-id': requestId })
}

/** POST /v1/messages: Anthropic's Messages API, for every backend. */
export const messages: Dialect = {
  path: '/v1/messages',
  endpoint: 'messages',
  errors,
  toChat,
  blamed,
  outlet (inner, asked) {
    const facts = factsOf(asked)
    const stream = new MessageStream(facts)
    return new TranslatingOutlet(inner, {
      whole: completion => toMessage(completion, facts),
      chunk: chunk => stream.chunk(chunk),
      end: () => stream.end(),
      beginning: () => stream.beginning(),
      sign: PING,
      failed: error => stream.failed(error)
    })
  }
}

function factsOf ({ body, call }: Asked): AnswerFacts {
  return {
    id: call.id,
    model: body['model'] as string,
    stopSequences: (body['stop_sequences'] ?? []) as string[],
    showsThoughts: showsThoughts(body),
    counted: () => call.record.usage ?? call.counted
  }
}

/** POST /v1/messages/count_tokens: by the model's own vocabulary where it is local, else an estimate. */
export async function countTokensRoute (server: FastifyInstance, { services }: { services: Services }): Promise<void> {
  server.post('/v1/messages/count_tokens', { config: { scope: 'inference', errors } }, async (request, reply) => {
    if (request.body === undefined) throw new GatewayError('invalid_json', 'The body is empty; expected a JSON object.')
    const chat = validateChat(toCountedChat(parseBody(request.body as Buffer)))
    const { tenant } = request.principal!
    const counted = await countInput(services, { tenant, chat, callId: request.id, signal: disconnectSignal(reply.raw, () => {}) })
    void reply.header(...countedIn(counted))
    return { input_tokens: counted.tokens }
  })
}
