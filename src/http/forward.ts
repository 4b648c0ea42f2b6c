/** Moderations, audio and images: passed to a backend that serves them, as calls like all others. */
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.ts'
import { OPENAI_ERRORS } from '../listener/errors.ts'
import { serveForm, serveTold } from '../pipeline/forward.ts'
import type { Endpoint } from '../usage/record.ts'
import { FORWARDED, type Forwarded, type Told } from '../wire/forward.ts'
import { bodyOf, claimedClass, note, opening, serve, type Asking, type CallRouteParts } from './calls.ts'
import { Form } from './form.ts'
import type { HttpOutlet } from './outlet.ts'
import { Parts } from './parts.ts'
import { Spools } from './spool.ts'

export interface ForwardRouteParts extends CallRouteParts {
  readonly bodyLimitBytes: number
  /** Where forms wait whose model comes last. */
  readonly folder: string
}

const ENDPOINTS: Readonly<Record<Forwarded, Endpoint>> = {
  moderations: 'moderations',
  speech: 'audio',
  transcriptions: 'audio',
  translations: 'audio',
  image_generations: 'images',
  image_edits: 'images',
  image_variations: 'images'
}

/** Forms that wait at once, of all and of one tenant: each takes `server.bodyLimitBytes` of disk at most. */
const SPOOLS = { most: 64, mostOfOne: 16 }

export async function forwardRoutes (server: FastifyInstance, parts: ForwardRouteParts): Promise<void> {
  server.decorateRequest('left', null)
  server.addContentTypeParser('multipart/form-data', (_request, payload, done) => { done(null, payload) })
  const spools = new Spools(parts.folder, SPOOLS)
  for (const [name, { path, file }] of Object.entries(FORWARDED)) {
    const what = name as Forwarded
    const errors = OPENAI_ERRORS
    const options = { config: { scope: 'inference', errors } as const, onRequest: opening({ endpoint: ENDPOINTS[what], errors }, parts) }
    const answer = file === null
      ? (request: FastifyRequest, reply: FastifyReply) => serve(parts, request, reply, asking(request, serveTold(what as Told, told(request))))
      : (request: FastifyRequest, reply: FastifyReply) => answerForm({ what, file, spools }, parts, request, reply)
    server.post(`/v1${path}`, options, answer)
  }
}

interface Wanted { readonly what: Forwarded, readonly file: string, readonly spools: Spools }

async function answerForm ({ what, file, spools }: Wanted, parts: ForwardRouteParts, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  note(request)
  if (!isForm(request)) throw new GatewayError('unsupported_media_type', 'Expected multipart/form-data; got another content type.')
  const rules = { hint: hintOf(request), file, spools, tenant: request.principal!.tenant.name }
  const form = await Form.read(new Parts(request.body as IncomingMessage, parts.bodyLimitBytes), rules)
  try {
    await serve(parts, request, reply, asking(request, serveForm(what, form.model, form)))
  } finally {
    await form.close()
  }
}

function told (request: FastifyRequest): Record<string, unknown> {
  if (isForm(request)) throw new GatewayError('unsupported_media_type', 'Expected application/json in UTF-8, uncompressed; got another content type.')
  return bodyOf(request)
}

function isForm ({ headers }: FastifyRequest): boolean {
  return /^multipart\/form-data\b/i.test(headers['content-type'] ?? '')
}

/** What the model is, where a caller says so before its form does. */
function hintOf ({ headers, query }: FastifyRequest): string | null {
  const { model } = query as Record<string, unknown>
  const hint = headers['x-torchgate-model'] ?? model
  return typeof hint === 'string' && hint !== '' ? hint : null
}

function asking (request: FastifyRequest, life: NonNullable<Asking['life']>): Asking {
  return { life, chat: {}, claimedClass: claimedClass(request), headers: OPENAI_ERRORS.headers, outlet: (inner: HttpOutlet) => inner }
}
