import type { ServerResponse } from 'node:http'

/**
 * Aborts when the client leaves before the whole answer was sent; never on a normal end.
 * `onLeave` is told first. Watches the response, not the request: for a POST the request closes as soon as its body is read, which is why
 * Fastify's own `request.signal` aborts every POST (fastify/fastify#6725).
 */
export function disconnectSignal (response: ServerResponse, onLeave: () => void): AbortSignal {
  const controller = new AbortController()
  response.once('close', () => {
    if (response.writableFinished) return
    onLeave()
    controller.abort()
  })
  return controller.signal
}
