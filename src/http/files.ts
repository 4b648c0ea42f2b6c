import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest, RequestPayload } from 'fastify'
import { GatewayError } from '../errors.ts'
import type { Files, NewFile } from '../files/files.ts'
import { classOf } from '../policy/classify.ts'
import type { FileRow } from '../store/store.ts'
import type { Principal } from '../tenants/tenants.ts'
import { readFileFields } from '../wire/files.ts'
import { pageOf, readPage } from '../wire/pages.ts'
import { refuseKey } from './answers.ts'
import { claimedClass } from './calls.ts'
import { ascii } from './decision.ts'
import { readForm } from './multipart.ts'

type WithId = { Params: { id: string } }
type WithQuery = { Querystring: Readonly<Record<string, unknown>> }

const PAGE = { most: 10_000, usual: 10_000 }

/** /v1/files, for the tenants whose policy keeps any. */
export async function fileRoutes (server: FastifyInstance, { files }: { files: Files }): Promise<void> {
  const config = { scope: 'inference' } as const
  // Here alone: the body is handed on as it comes.
  server.addContentTypeParser('multipart/form-data', (_request, payload, done) => { done(null, payload) })

  // Before the body is read.
  const preParsing = async (request: FastifyRequest, _reply: unknown, payload: RequestPayload) => {
    assertKept(request.principal!)
    refuseKey(request, 'uploads')
    return payload
  }
  server.post('/v1/files', { config, preParsing }, async request => {
    return shown(await upload(files, request))
  })

  server.get<WithQuery>('/v1/files', { config }, async request => {
    const tenant = tenantOf(request)
    const { most, ...page } = readPage(request.query, PAGE)
    return pageOf((await files.list(tenant, { ...page, most: most + 1 })).map(shown), most)
  })

  server.get<WithId>('/v1/files/:id', { config }, async request => shown(await files.find(tenantOf(request), request.params.id, 'file_id')))

  server.get<WithId>('/v1/files/:id/content', { config }, async (request, reply) => {
    const row = await files.find(tenantOf(request), request.params.id, 'file_id')
    reply.headers({
      'content-type': 'application/octet-stream',
      'content-length': String(row.bytes),
      'content-disposition': `attachment; filename="${ascii(row.filename).replace(/["\\]/g, '?')}"`,
      'x-content-type-options': 'nosniff'
    })
    return reply.send(await files.content(row))
  })

  server.delete<WithId>('/v1/files/:id', { config }, async request => {
    await files.delete(tenantOf(request), request.params.id)
    return { id: request.params.id, object: 'file', deleted: true }
  })
}

async function upload (files: Files, request: FastifyRequest): Promise<FileRow> {
  const payload = request.body as Readable
  if (typeof payload?.pipe !== 'function') throw new GatewayError('unsupported_media_type', 'Expected multipart/form-data with a file; got another content type.')
  const { tenant } = request.principal!
  const dataClass = classOf(tenant.class, claimedClass(request))
  try {
    const form = await readForm(request.headers, payload, 'file')
    return await files.upload(tenant.name, form.file, async (): Promise<NewFile> => {
      await form.done
      return { tenant: tenant.name, filename: nameOf(form.filename), dataClass, ...readFileFields(form.fields, files.retentionHours * 3600) }
    })
  } catch (error) {
    // What is still to come is not kept, but has to be read before the caller hears why.
    payload.unpipe()
    payload.resume()
    throw error
  }
}

const MOST_NAME = 255

function nameOf (given: string): string {
  const name = given.toWellFormed().replace(/\p{Cc}/gu, '').slice(0, MOST_NAME)
  return name === '' ? 'file' : name
}

/** @throws GatewayError `files_not_kept` */
export function assertKept ({ tenant }: Principal): void {
  if (tenant.storeFiles === true) return
  throw new GatewayError('files_not_kept', `No files are kept for the tenant ${tenant.name} (tenants[].storeFiles), so it has no batches either.`)
}

function tenantOf ({ principal }: { principal: FastifyRequest['principal'] }): string { return principal!.tenant.name }

function seconds (date: Date): number { return Math.floor(date.getTime() / 1000) }

function shown (row: FileRow) {
  return {
    id: row.id,
    object: 'file',
    bytes: row.bytes,
    created_at: seconds(row.createdAt),
    expires_at: seconds(row.expiresAt),
    filename: row.filename,
    purpose: row.purpose,
    status: 'processed',
    status_details: null
  }
}
