/** The model on HTTP: chat completions as OpenAI has them, and what the pool and an operator look at. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { GatewayError, toGatewayError } from '../errors.ts'
import { parseBody } from '../wire/parse.ts'
import { sendError, sendJson } from './answer.ts'
import { answerChat, type Task } from './chat.ts'
import { answerCompletion } from './completion.ts'
import { answerEmbeddings } from './embeddings.ts'
import type { Model } from './load.ts'
import { readContinuation } from './marks.ts'
import { answerRerank } from './rerank.ts'
import type { Reader } from './reader.ts'
import { count, detokenize, tokenize } from './tokens.ts'

const MAX_BODY_BYTES = 16 * 1024 * 1024
const MAX_DISCARDED_BYTES = 128 * 1024 * 1024
/** Longer than a pool keeps an idle connection, so that it is never the worker that closes under a request. */
const KEEP_ALIVE_MS = 120_000
const SWEEP_MS = 50

type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>

export interface Service {
  readonly server: Server
  /** Refuses new calls, waits for those under way; breaks them off when `signal` aborts. */
  drain (signal: AbortSignal): Promise<void>
}

/** @param log takes what went wrong inside, one line each, never with text of a prompt */
export function serveModel (model: Model, log: (line: string) => void): Service {
  let isDraining = false
  const breakOff = new AbortController()
  /** Aborts when the caller leaves, or is broken off. */
  const begin = (response: ServerResponse): AbortSignal => {
    if (isDraining) throw new GatewayError('draining', 'This worker is stopping.', { retryAfterS: 1 })
    return AbortSignal.any([breakOff.signal, leaving(response)])
  }
  const routes: [string, Handler][] = [
    ['POST /v1/chat/completions', async (request, response) => {
      const signal = begin(response)
      await answerChat(model, await taskOf(request, model), response, signal)
    }],
    ['POST /v1/completions', async (request, response) => {
      const signal = begin(response)
      await answerCompletion(model, await taskOf(request, model), response, signal)
    }],
    ['POST /v1/embeddings', async (request, response) => {
      const signal = begin(response)
      sendJson(response, 200, await answerEmbeddings(model, await bodyOf(request), signal))
    }],
    ['POST /v1/rerank', async (request, response) => {
      const signal = begin(response)
      sendJson(response, 200, await answerRerank(model, await bodyOf(request), signal))
    }],
    ['GET /slots', (_, response) => { sendJson(response, 200, model.batch.view()) }],
    ['GET /stats', (_, response) => { sendJson(response, 200, { queued: model.batch.queued, ...model.batch.stats }) }]
  ]
  const stop = (): void => { isDraining = true }
  return serviceOf([...routes, ...readingRoutes(model, () => isDraining)], { log, stop, breakOff })
}

/** A vocabulary on HTTP: what can be told of texts without computing anything. */
export function serveReader (reader: Reader, log: (line: string) => void): Service {
  let isDraining = false
  const stop = (): void => { isDraining = true }
  return serviceOf(readingRoutes(reader, () => isDraining), { log, stop, breakOff: new AbortController() })
}

function readingRoutes (reader: Reader, isDraining: () => boolean): [string, Handler][] {
  return [
    // llama-server has them beside /v1.
    ...['', '/v1'].flatMap((prefix): [string, Handler][] => [
      [`POST ${prefix}/tokenize`, async (request, response) => { sendJson(response, 200, tokenize(reader, await bodyOf(request))) }],
      [`POST ${prefix}/detokenize`, async (request, response) => { sendJson(response, 200, detokenize(reader, await bodyOf(request))) }]
    ]),
    // Not for callers: the gateway counts for those of other dialects as well.
    ['POST /v1/count', async (request, response) => { sendJson(response, 200, count(reader, await bodyOf(request))) }],
    ['GET /v1/models', (_, response) => {
      sendJson(response, 200, { object: 'list', data: [{ id: reader.name, object: 'model', created: 0, owned_by: 'torchgate' }] })
    }],
    ['GET /health', (_, response) => { sendJson(response, isDraining() ? 503 : 200, { status: isDraining() ? 'draining' : 'ok' }) }]
  ]
}

interface Stopping {
  readonly log: (line: string) => void
  /** No more calls are taken. */
  stop (): void
  /** Ends those under way. */
  readonly breakOff: AbortController
}

function serviceOf (handlers: readonly [string, Handler][], { log, stop, breakOff }: Stopping): Service {
  const routes = new Map(handlers)
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
    void handle(routes, request, response, log)
  })
  return {
    server,
    async drain (signal) {
      stop()
      const closed = new Promise(resolve => { server.close(resolve) })
      // A connection that is kept alive would keep the server open after its last answer.
      const sweep = setInterval(() => { server.closeIdleConnections() }, SWEEP_MS)
      signal.addEventListener('abort', () => {
        breakOff.abort(new GatewayError('draining', 'This worker has stopped.'))
        setTimeout(() => { server.closeAllConnections() }, SWEEP_MS * 2).unref()
      }, { once: true })
      await closed
      clearInterval(sweep)
    }
  }
}

type Routes = ReadonlyMap<string, Handler>

async function handle (routes: Routes, request: IncomingMessage, response: ServerResponse, log: (line: string) => void): Promise<void> {
  const path = (request.url ?? '').split('?', 1)[0] ?? ''
  try {
    const route = routes.get(`${request.method} ${path}`)
    if (route === undefined) throw new GatewayError('unknown_route', `There is no ${request.method} ${path} here.`)
    await route(request, response)
  } catch (thrown) {
    const error = toGatewayError(thrown)
    // Whoever has left hears no error, and there is none to log.
    if (error.code === 'client_closed' || response.destroyed) { response.destroy(); return }
    if (error.status >= 500 && error.cause !== undefined) log(`${error.code}: ${error.cause instanceof Error ? error.cause.stack : String(error.cause)}`)
    // A request that was not read to its end would be taken for the next one.
    if (!request.complete && !response.headersSent) response.setHeader('connection', 'close')
    sendError(response, error)
  }
}

/**
 * Aborts when the client leaves before the answer was sent. Watches the response, not the request: for a POST the
 * request closes as soon as its body is read.
 */
function leaving (response: ServerResponse): AbortSignal {
  const controller = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(new GatewayError('client_closed', 'The client left before the answer was complete.'))
  })
  return controller.signal
}

async function bodyOf (request: IncomingMessage): Promise<Record<string, unknown>> {
  return parseBody(await readBody(request))
}

/**
 * A body that is too large is read on to its end, within reason: a client that is cut off while it sends sees a broken
 * connection and tries again, instead of the answer.
 */
async function readBody (request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk)
    else if (bytes > MAX_DISCARDED_BYTES) break
    else chunks.length = 0
  }
  if (bytes > MAX_BODY_BYTES) throw new GatewayError('request_too_large', `The body is larger than ${MAX_BODY_BYTES} bytes.`)
  return Buffer.concat(chunks)
}

/** Going on is not for callers: the pool has a stream go on here whose worker ended. */
async function taskOf (request: IncomingMessage, model: Model): Promise<Task> {
  const marks = header(request, 'x-torchgate-marks')
  const body = await bodyOf(request)
  const asked = marks === 'continue' ? readContinuation(body, model) : { request: body, earlier: null }
  return { body: asked.request, isolation: isolationOf(request), wantsMarks: marks !== '', earlier: asked.earlier }
}

function isolationOf (request: IncomingMessage): string { return header(request, 'x-torchgate-isolation') }

function header (request: IncomingMessage, name: string): string {
  const value = request.headers[name]
  return typeof value === 'string' ? value : ''
}
