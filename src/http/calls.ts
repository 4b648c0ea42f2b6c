import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import { GatewayError, toGatewayError } from '../errors.ts'
import { Call } from '../pipeline/call.ts'
import { serveChat, type Services } from '../pipeline/chat.ts'
import { clientIdOf } from '../listener/headers.ts'
import { clientClosed } from '../pipeline/dispatch.ts'
import type { Endpoint, Recorder } from '../usage/record.ts'
import { parseBody } from '../wire/parse.ts'
import { KeepingOutlet, KEY_HEADER, replay, Turn, type Answers } from './answers.ts'
import { chat } from './chat.ts'
import type { CallerOutlet, Dialect } from './dialect.ts'
import { disconnectSignal } from './disconnect.ts'
import type { Heartbeats } from './heartbeats.ts'
import { countTokensRoute, messages } from './messages.ts'
import { HttpOutlet } from './outlet.ts'

/** All that can be spoken to a model. */
const DIALECTS: readonly Dialect[] = [chat, messages]

/** Whose streams are events; a sign of life would be noise in sound. */
const EVENT_STREAMS: ReadonlySet<Endpoint> = new Set(['chat_completions', 'completions', 'messages', 'responses'])

export interface CallRouteParts {
  readonly services: Services
  readonly heartbeats: Heartbeats
  readonly answers: Answers
  readonly recorders: readonly Recorder[]
  readonly onStart: () => void
}

declare module 'fastify' {
  interface FastifyRequest { left: AbortSignal | null }
}

/** The routes that answer calls, one for each dialect. A call is open from its headers on, so a refused one has its record too. */
export async function callRoutes (server: FastifyInstance, parts: CallRouteParts): Promise<void> {
  server.decorateRequest('left', null)
  for (const dialect of DIALECTS) {
    server.post(dialect.path, {
      config: { scope: 'inference', errors: dialect.errors },
      onRequest: opening(dialect, parts)
    }, (request, reply) => answer(dialect, parts, request, reply))
  }
  await server.register(countTokensRoute, parts)
}

export function opening ({ endpoint, errors }: Pick<Dialect, 'endpoint' | 'errors'>, { recorders, onStart }: CallRouteParts): onRequestHookHandler {
  return (request, reply, done) => {
    const call = request.call = new Call(request.id, endpoint, recorders, errors.status)
    // A caller that leaves while its body is still coming reaches no handler.
    request.left = disconnectSignal(reply.raw, () => { call.end(clientClosed()) })
    const clientId = clientIdOf(request.raw)
    if (clientId !== null) {
      call.record.clientId = clientId
      reply.raw.setHeader('x-client-request-id', clientId)
    }
    onStart()
    done()
  }
}

async function answer (dialect: Dialect, parts: CallRouteParts, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const body = bodyOf(request)
  const chatBody = dialect.toChat(body)
  const outlet = (inner: HttpOutlet) => dialect.outlet(inner, { body, chat: chatBody, call: request.call! })
  const life = dialect.blamed === undefined ? serveChat : blaming(dialect.blamed, body, chatBody)
  await serve(parts, request, reply, { chat: chatBody, life, claimedClass: claimedClass(request), headers: dialect.errors.headers, outlet })
}

function blaming (blamed: NonNullable<Dialect['blamed']>, body: Record<string, unknown>, asked: Record<string, unknown>): typeof serveChat {
  return (...call) => serveChat(...call).catch((error: unknown) => { throw blamed(error, asked, body) })
}

/** Notes whose call it is. */
export function note (request: FastifyRequest): void {
  const { record, elapsedMs } = request.call!
  const principal = request.principal!
  record.tenant = principal.tenant.name
  record.keyId = principal.keyId
  record.receivedMs = elapsedMs
}

/**
 * The same, and parses what was sent.
 * @throws GatewayError
 */
export function bodyOf (request: FastifyRequest): Record<string, unknown> {
  note(request)
  if (request.body === undefined) throw new GatewayError('invalid_json', 'The body is empty; expected a JSON object.')
  return parseBody(request.body as Buffer)
}

export function claimedClass (request: FastifyRequest): string | undefined { return header(request, 'x-torchgate-class') }

/** One call as chat completions know it, and where its answer goes. */
export interface Asking {
  readonly chat: Record<string, unknown>
  /** For what is no chat: then `chat` is the body of that kind. */
  readonly life?: typeof serveChat
  readonly claimedClass: string | undefined
  readonly headers: (callId: string) => Readonly<Record<string, string>>
  readonly outlet: (inner: HttpOutlet) => CallerOutlet
}

/** Answers the call; what goes wrong after the first byte is said in the answer. */
export function serve (parts: ServeParts, request: FastifyRequest, reply: FastifyReply, asking: Asking): Promise<void> {
  if (request.headers[KEY_HEADER] !== undefined) return serveOnce(parts, request, reply, asking)
  return answerTo(new HttpOutlet(reply.raw, request.call!, request.left!, asking.headers), parts, request, reply, asking)
}

type ServeParts = Pick<CallRouteParts, 'services' | 'heartbeats' | 'answers'>

/** The same for a call with an `Idempotency-Key`. */
async function serveOnce (parts: ServeParts, request: FastifyRequest, reply: FastifyReply, asking: Asking): Promise<void> {
  const call = request.call!
  const turn = await parts.answers.begin(request)
  if (turn !== null && !(turn instanceof Turn)) {
    reply.hijack()
    replay(reply.raw, call, turn, asking.headers(call.id))
    return
  }
  const whole = [reply.raw, call, request.left!, asking.headers] as const
  if (turn === null) {
    call.warnings = ['Idempotency-Key has no effect: this tenant keeps no answers (tenants[].idempotency)']
    await answerTo(new HttpOutlet(...whole), parts, request, reply, asking)
    return
  }
  try {
    await answerTo(new KeepingOutlet(turn, ...whole), parts, request, reply, asking)
  } finally {
    await turn.end()
  }
}

async function answerTo (inner: HttpOutlet, { services, heartbeats }: ServeParts, request: FastifyRequest, reply: FastifyReply, asking: Asking): Promise<void> {
  const call = request.call!
  const signal = request.left!
  const outlet = asking.outlet(inner)
  const watched = asking.chat['stream'] === true && EVENT_STREAMS.has(call.record.endpoint) ? heartbeats.watch(inner, outlet) : null
  try {
    await (asking.life ?? serveChat)(services, call, { principal: request.principal!, body: asking.chat, claimedClass: asking.claimedClass, signal }, outlet)
    reply.hijack()
  } catch (thrown) {
    if (!inner.begun && !signal.aborted) throw thrown
    reply.hijack()
    outlet.fail(toGatewayError(thrown))
  } finally {
    if (watched !== null) heartbeats.leave(watched)
  }
}

function header (request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name]
  return Array.isArray(value) ? value.join(',') : value
}
