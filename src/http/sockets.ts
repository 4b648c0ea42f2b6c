/** WebSockets on GET /v1/responses. A request to become one goes through the same hooks as every other: keys, floods, draining. */
import { ServerResponse, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { WebSocketServer } from 'ws'
import { GatewayError } from '../errors.ts'
import { credentialOf, hopsOf } from '../listener/headers.ts'
import { refuseKey } from './answers.ts'
import { Remembering } from './remembering.ts'
import { ResponseSocket, type SocketParts } from './socket.ts'

const PATH = /^\/v1\/responses(?:\?|$)/
/** Characters of all that all connections remember. */
const MOST_REMEMBERED = 134_217_728
/** The header was checked when the connection was made. */
const ANY_HOPS = Infinity

interface Upgrade { readonly socket: Socket, readonly head: Buffer }

export async function responseSockets (server: FastifyInstance, given: Omit<SocketParts, 'remembering'>): Promise<void> {
  const parts = { ...given, remembering: new Remembering(MOST_REMEMBERED) }
  const upgrades = new WeakMap<IncomingMessage, Upgrade>()
  const open = new Set<ResponseSocket>()
  // Compression is off: it costs memory for each connection, and would tell how alike secrets and answers are.
  const options = { noServer: true, clientTracking: false, perMessageDeflate: false, handleProtocols: () => false as const }
  const sockets = new WebSocketServer({ ...options, maxPayload: parts.limits.bodyLimitBytes })
  sockets.on('wsClientError', (_error, socket) => { refuse(socket as Socket) })

  // Other upgrades are offers (h2c of some clients) that may be ignored: those requests are answered as if they made none.
  Object.assign(server.server, { shouldUpgradeCallback: isWebSocket })
  server.server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    response.once('finish', () => { end(socket) })
    socket.on('error', () => { socket.destroy() })
    upgrades.set(request, { socket, head })
    server.routing(request, response)
  })
  let isClosing = false
  server.addHook('preClose', async () => {
    isClosing = true
    for (const socket of open) socket.leave()
  })

  server.get('/v1/responses', { config: { scope: 'inference' } }, (request, reply) => {
    const upgrade = upgrades.get(request.raw)
    if (upgrade === undefined) {
      reply.header('allow', 'POST')
      throw new GatewayError('method_not_allowed', 'GET is for WebSockets here (Upgrade: websocket); a response is asked for with POST.')
    }
    refuseKey(request, 'WebSockets')
    reply.hijack()
    reply.raw.detachSocket(upgrade.socket)
    const header = request.headers['x-torchgate-class']
    const caller = {
      id: request.id,
      credential: credentialOf(request.raw),
      claimedClass: Array.isArray(header) ? header.join(',') : header,
      hops: hopsOf(request.raw, ANY_HOPS)
    }
    sockets.handleUpgrade(request.raw, upgrade.socket, upgrade.head, webSocket => {
      const socket = new ResponseSocket(webSocket, caller, parts)
      open.add(socket)
      webSocket.once('close', () => { open.delete(socket) })
      // Its request was taken just before.
      if (isClosing) socket.leave()
    })
  })
}

function isWebSocket ({ method, url, headers }: IncomingMessage): boolean {
  return method === 'GET' && PATH.test(url ?? '') && /^websocket$/i.test(headers.upgrade ?? '')
}

/** Its key was good, its handshake is not. */
function refuse (socket: Socket): void {
  const body = JSON.stringify(new GatewayError('malformed_request', 'The handshake of the WebSocket is not valid: expected version 13 and a key of 16 bytes.').toBody())
  end(socket, `HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}

/** Time for a refused caller to read why. */
const LINGER_MS = 1_000

/** Nobody else watches a connection that was to become a WebSocket: a caller that keeps its half open would hold it for good, and the listener with it. */
function end (socket: Socket, words = ''): void {
  socket.end(words)
  setTimeout(() => { socket.destroy() }, LINGER_MS).unref()
}
