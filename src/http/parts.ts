/** The parts of a multipart form, as they come. */
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { Busboy, type BusboyHeaders, type BusboyInstance } from '@fastify/busboy'
import { GatewayError } from '../errors.ts'
import { clientClosed } from '../pipeline/dispatch.ts'

export interface FieldPart { readonly kind: 'field', readonly name: string, readonly value: string }
/** Its bytes are read to their end before the next part is asked for. */
export interface FilePart { readonly kind: 'file', readonly name: string, readonly filename: string | undefined, readonly type: string, readonly bytes: AsyncIterable<Buffer> }
export type Part = FieldPart | FilePart

/** A field may hold a few seconds of speech as a data URL. */
const LIMITS = { fields: 256, files: 32, parts: 288, fieldNameSize: 200, fieldSize: 4_194_304, headerPairs: 16, headerSize: 16_384 }

/** Reads no faster than its parts are taken; what is held is bounded by one piece of the body. */
export class Parts {
  readonly #queue: Part[] = []
  readonly #files = new Set<Readable>()
  #end: { readonly error: GatewayError | null } | null = null
  #wake: () => void = () => {}

  /** @throws GatewayError `invalid_value` where the media type has no boundary, `request_too_large` where the length says so */
  constructor (source: IncomingMessage, limitBytes: number) {
    if (Number(source.headers['content-length'] ?? 0) > limitBytes) throw tooLarge(limitBytes)
    const boy = this.#reader(source)
    void this.#pump(source, boy, limitBytes)
  }

  /** Null after the last. @throws GatewayError for what is no form, or too much of one */
  async next (): Promise<Part | null> {
    while (this.#queue.length === 0 && this.#end === null) {
      await new Promise<void>(resolve => { this.#wake = resolve })
    }
    const error = this.#end?.error ?? null
    if (error !== null) throw error
    return this.#queue.shift() ?? null
  }

  /** Nobody wants the rest: it is read and dropped, so that the caller comes to read the answer. */
  close (): void {
    this.#queue.length = 0
    this.#finish(null)
    for (const file of this.#files) file.resume()
  }

  #reader (source: IncomingMessage): BusboyInstance {
    let boy: BusboyInstance
    try {
      boy = new Busboy({ headers: source.headers as BusboyHeaders, limits: LIMITS, preservePath: true })
    } catch (error) {
      throw malformed('The form has no boundary in its Content-Type.', error)
    }
    boy.on('field', (name, value, _nameCut, isCut) => {
      if (isCut) this.#finish(malformed(`A field of the form is longer than ${LIMITS.fieldSize} bytes.`))
      else if (typeof name !== 'string' || name === '') this.#finish(malformed('A field of the form has no name.'))
      else this.#add({ kind: 'field', name, value })
    })
    boy.on('file', (name, file, filename, _encoding, type) => { this.#addFile(name, file, filename, type) })
    for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const) {
      boy.on(limit, () => { this.#finish(malformed(`The form has more than ${LIMITS.fields} fields or ${LIMITS.files} files.`)) })
    }
    boy.on('finish', () => { this.#finish(null) })
    boy.on('error', (error: unknown) => { this.#finish(malformed('The form is cut off, or is none.', error)) })
    return boy
  }

  #addFile (name: string, file: Readable, filename: string | undefined, type: string): void {
    this.#files.add(file)
    file.on('error', () => {})
    file.once('close', () => { this.#files.delete(file) })
    if (this.#end !== null) { file.resume(); return }
    if (typeof name !== 'string' || name === '') { this.#finish(malformed('A file of the form has no name.')); return }
    this.#add({ kind: 'file', name, filename, type, bytes: this.#bytesOf(file) })
  }

  async * #bytesOf (file: Readable): AsyncGenerator<Buffer, void, undefined> {
    try {
      for await (const piece of file) yield piece as Buffer
    } catch (error) {
      throw this.#end?.error ?? malformed('The form is cut off.', error)
    } finally {
      file.resume()
    }
  }

  #add (part: Part): void {
    if (this.#end === null) this.#queue.push(part)
    this.#wake()
  }

  #finish (error: GatewayError | null): void {
    this.#end ??= { error }
    if (error !== null) for (const file of this.#files) file.destroy(error)
    this.#wake()
  }

  async #pump (source: IncomingMessage, boy: BusboyInstance, limitBytes: number): Promise<void> {
    let bytes = 0
    try {
      for await (const piece of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        bytes += piece.length
        if (bytes > limitBytes) throw tooLarge(limitBytes)
        if (this.#end !== null && this.#end.error !== null) throw this.#end.error
        await new Promise<void>(resolve => { boy.write(piece, () => { resolve() }) })
      }
      boy.end()
    } catch (error) {
      this.#finish(error instanceof GatewayError ? error : clientClosed())
      source.resume()
    }
  }
}

function malformed (message: string, cause?: unknown): GatewayError {
  return new GatewayError('invalid_value', message, { cause })
}

function tooLarge (limitBytes: number): GatewayError {
  return new GatewayError('request_too_large', `The body is larger than ${limitBytes} bytes (server.bodyLimitBytes).`)
}
