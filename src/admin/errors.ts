import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError, toGatewayError } from '../errors.ts'

/** Told of every failure that is the gateway's own. */
export type OnFailure = (error: GatewayError, requestId: string) => void

/** Errors of this listener have the shape of OpenAI's too, so that one client reads both. */
export function handleErrors (server: FastifyInstance, onFailure: OnFailure): void {
  server.setErrorHandler((thrown, request, reply) => answerError(thrown as FastifyError, request, reply, onFailure))
  server.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0]!
    const allowed = (['GET', 'POST'] as const).filter(method => server.findRoute({ method, url: path }) !== null)
    if (allowed.length === 0) throw new GatewayError('unknown_route', 'No such route on this listener; the API stands on another one, under /v1.')
    reply.header('allow', allowed.join(', '))
    throw new GatewayError('method_not_allowed', `Expected ${allowed.join(' or ')} here.`)
  })
}

type Thrown = FastifyError | GatewayError

export async function answerError (thrown: Thrown, request: FastifyRequest, reply: FastifyReply, onFailure: OnFailure): Promise<FastifyReply> {
  const error = fromFramework(thrown)
  if (error.code === 'internal_error') onFailure(error, request.id)
  reply.header('x-request-id', request.id)
  if (error.status === 401) reply.header('www-authenticate', 'Bearer')
  return await reply.code(error.status).send(error.toBody())
}

const FRAMEWORK: Readonly<Record<string, () => GatewayError>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: () => new GatewayError('request_too_large', 'The body is larger than this listener accepts.'),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () => new GatewayError('unsupported_media_type', 'Expected application/json.'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () => new GatewayError('invalid_json', 'The body is not as long as Content-Length says.'),
  FST_ERR_BAD_URL: () => new GatewayError('unknown_route', 'The path is not a valid URL path.'),
  FST_ERR_MAX_PARAM_LENGTH: () => new GatewayError('unknown_route', 'The path is too long.')
}

function fromFramework (thrown: Thrown): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  return FRAMEWORK[thrown.code]?.() ?? toGatewayError(thrown)
}
