/** GET /openapi.json, and GET /openapi for people: made of the routes that are registered, when somebody first asks. */
import type { FastifyInstance } from 'fastify'
import { OPENAI_ERRORS } from '../../listener/errors.ts'
import { documentOf, type Registered } from './document.ts'
import { pageOf, POLICY } from './page.ts'

/** To be called before there are routes. */
export function describeRoutes (server: FastifyInstance): void {
  const routes: Registered[] = []
  server.addHook('onRoute', ({ method, url, config }) => {
    // Of those that Fastify adds to GET nothing is to be said.
    for (const one of [method].flat()) if (one !== 'HEAD') routes.push({ method: one, url, isPublic: config?.scope === 'public', isAnthropic: (config?.errors ?? OPENAI_ERRORS) !== OPENAI_ERRORS })
  })
  let made: { readonly json: string, readonly page: string } | null = null
  const make = () => {
    const document = documentOf(routes)
    return { json: JSON.stringify(document), page: pageOf(document) }
  }
  const headers = { 'cache-control': 'no-cache', 'x-content-type-options': 'nosniff' }
  const config = { scope: 'public' } as const
  server.get('/openapi.json', { config }, (_request, reply) => reply.headers(headers).type('application/json; charset=utf-8').send((made ??= make()).json))
  server.get('/openapi', { config }, (_request, reply) => {
    return reply.headers({ ...headers, 'content-security-policy': POLICY, 'referrer-policy': 'no-referrer' }).type('text/html; charset=utf-8').send((made ??= make()).page)
  })
}
