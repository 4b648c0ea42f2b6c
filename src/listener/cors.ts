/**
 * Browsers of other origins: nothing is granted but to those that the configuration names. Keys travel in headers and never in
 * cookies, so no credentials are allowed, and wildcards may be used where the Fetch standard has them.
 */
import type { FastifyInstance } from 'fastify'

export interface Cors {
  /** Exact origins, or `*`. None turns it off. */
  readonly origins: readonly string[]
}

/** How long a browser may go on without asking again. */
const MAX_AGE_S = 600

/** To be called before any other hook, so that refusals can be read too. Answers preflights of routes that exist, without a key. */
export function grantOrigins (server: FastifyInstance, { origins }: Cors): void {
  if (origins.length === 0) return
  const granted = new Set(origins)
  server.addHook('onRequest', (request, reply, done) => {
    const { origin, 'access-control-request-method': asked } = request.headers
    // A cache must not give one origin's answer to another.
    if (!granted.has('*')) reply.raw.setHeader('vary', 'Origin')
    if (origin === undefined || !(granted.has('*') || granted.has(origin))) { done(); return }
    reply.raw.setHeader('access-control-allow-origin', granted.has('*') ? '*' : origin)
    reply.raw.setHeader('access-control-expose-headers', '*')
    const isPreflight = request.method === 'OPTIONS' && asked !== undefined
    if (!isPreflight || server.findRoute({ method: asked as 'GET', url: request.url.split('?', 1)[0]! }) === null) { done(); return }
    // The wildcard leaves out `authorization`.
    reply.code(204).headers({ 'access-control-allow-methods': asked, 'access-control-allow-headers': 'authorization, *', 'access-control-max-age': String(MAX_AGE_S) }).send()
  })
}
