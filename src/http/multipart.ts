/** A form with one file, read as it comes: nothing of the file is held back in memory. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { Busboy, type BusboyFileStream, type BusboyHeaders, type BusboyInstance } from '@fastify/busboy'
import { GatewayError } from '../errors.ts'

/** The fields of a form, in no order, and its file. */
export interface Form {
  /** Complete once the file has come to its end and `done` is resolved. */
  readonly fields: Readonly<Record<string, string>>
  readonly filename: string
  readonly file: AsyncIterable<Buffer>
  /** Rejects with a GatewayError when the rest is no such form. */
  readonly done: Promise<void>
}

const MOST_FIELDS = 16
const MOST_FIELD_BYTES = 1024
const LIMITS = { fieldNameSize: 100, fieldSize: MOST_FIELD_BYTES, fields: MOST_FIELDS, files: 1, parts: MOST_FIELDS + 1, headerPairs: 20, headerSize: 8192 }

/**
 * Resolves when the file begins. The caller reads it to its end, or destroys `payload`.
 * @param name of the part that is the file
 * @throws GatewayError naming what is missing or too much
 */
export function readForm (headers: IncomingHttpHeaders, payload: Readable, name: string): Promise<Form> {
  const parser = parserOf(headers)
  const { promise, resolve, reject } = Promise.withResolvers<Form>()
  const done = Promise.withResolvers<void>()
  // Whoever waits for the form is told as well; a caller that never got one does not wait for its end.
  done.promise.catch(() => {})
  const fields: Record<string, string> = Object.create(null)
  let file: BusboyFileStream | null = null
  const fail = (error: GatewayError) => {
    payload.unpipe(parser)
    file?.destroy(error)
    done.reject(error)
    reject(error)
  }
  parser.on('field', (field, value, isNameCut, isValueCut) => {
    if (isNameCut || isValueCut) fail(tooMuch(`a field of more than ${MOST_FIELD_BYTES} bytes`))
    else if (Object.hasOwn(fields, field)) fail(new GatewayError('invalid_value', 'The form has two fields of one name.', { param: plain(field) }))
    else fields[field] = value
  })
  parser.on('file', (field, stream, filename) => {
    if (field !== name) { stream.resume(); fail(new GatewayError('unsupported_parameter', `The form has a file under another name than '${name}'.`, { param: plain(field) })); return }
    file = stream
    // Whoever reads it, or waits for `done`, is told; after its end nobody listens, and an error that nobody hears ends the process.
    file.on('error', () => {})
    resolve({ fields, filename: filename ?? '', file: stream, done: done.promise })
  })
  for (const event of ['fieldsLimit', 'filesLimit', 'partsLimit'] as const) parser.on(event, () => { fail(tooMuch('more parts than the request has parameters')) })
  parser.on('error', error => { fail(broken(error)) })
  parser.on('finish', () => {
    if (file === null) fail(new GatewayError('missing_required_parameter', `Missing required parameter: '${name}'.`, { param: name }))
    else done.resolve()
  })
  payload.on('error', error => { fail(broken(error)) })
  payload.on('close', () => { if (!payload.readableEnded) fail(broken(undefined)) })
  payload.pipe(parser)
  return promise
}

function parserOf (headers: IncomingHttpHeaders): BusboyInstance {
  try {
    return new Busboy({ headers: headers as BusboyHeaders, limits: LIMITS })
  } catch (error) {
    throw broken(error)
  }
}

function broken (cause: unknown): GatewayError {
  return new GatewayError('invalid_value', 'The body is no whole multipart/form-data with a boundary.', { cause })
}

function tooMuch (what: string): GatewayError {
  return new GatewayError('invalid_value', `The form has ${what}.`)
}

/** A caller's own name that is no plain word is not repeated. */
function plain (name: string): string { return /^[\w.[\]-]{1,64}$/.test(name) ? name : '?' }
