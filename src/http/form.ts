/** A form on its way to a backend, under another name of its model and with a boundary of the gateway's own. */
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { GatewayError } from '../errors.ts'
import { validateField } from '../wire/forward.ts'
import type { Opened, Upload } from '../wire/upload.ts'
import type { FilePart, Part } from './parts.ts'
import type { Spool, Spools, Stretch } from './spool.ts'

type Entry = { readonly name: string, readonly value: string } | { readonly file: Omit<FilePart, 'bytes'>, readonly stretch: Stretch }

interface PartSource { next (): Promise<Part | null>, close (): void }

export interface FormRules {
  /** The model, where it is known before the form comes. */
  readonly hint: string | null
  /** A file that must be there. */
  readonly file: string
  readonly spools: Spools
  readonly tenant: string
}

/**
 * Where the model is known before the first file comes, files go on as they come, and only once; else they are put into a
 * temporary file until it is known (docs/decisions/0006-forms.md).
 */
export class Form implements Upload {
  readonly #parts: PartSource
  readonly #spools: Spools
  readonly #tenant: string
  readonly #entries: Entry[] = []
  #model: string | null
  #spool: Spool | null = null
  /** The file that has begun to come; null where all has come. */
  #coming: FilePart | null = null
  #isSpent = false

  private constructor (parts: PartSource, { hint, spools, tenant }: FormRules) {
    this.#parts = parts
    this.#spools = spools
    this.#tenant = tenant
    this.#model = hint
  }

  /** Reads up to the first file that can be sent on, or to the end. The caller closes it. @throws GatewayError */
  static async read (parts: PartSource, rules: FormRules): Promise<Form> {
    const form = new Form(parts, rules)
    try {
      await form.#begin(rules.file)
      return form
    } catch (error) {
      await form.close()
      throw error
    }
  }

  get model (): string { return this.#model! }
  get isSpent (): boolean { return this.#isSpent }
  get text (): string { return this.#entries.map(entry => 'value' in entry ? entry.value : '').join('\n') }

  open (model: string): Opened {
    if (this.#isSpent) throw new GatewayError('internal_error', 'A form was to be sent twice.')
    const boundary = `torchgate-${randomBytes(18).toString('hex')}`
    return {
      bytes: Readable.from(this.#written(boundary, model), { objectMode: false }),
      type: `multipart/form-data; boundary=${boundary}`,
      length: this.#coming === null ? this.#lengthWith(boundary, model) : null
    }
  }

  async close (): Promise<void> {
    this.#parts.close()
    await this.#spool?.close()
  }

  async #begin (required: string): Promise<void> {
    for (let part = await this.#parts.next(); part !== null; part = await this.#parts.next()) {
      if (part.kind === 'field') this.#note(part.name, part.value)
      else if (this.#model === null) await this.#put(part)
      else {
        this.#coming = part
        return
      }
    }
    if (this.#model === null) throw missing('model')
    const isThere = (entry: Entry) => 'file' in entry && entry.file.name.replace(/\[\d*\]$/, '') === required
    if (!this.#entries.some(isThere)) throw missing(required)
  }

  /** @returns whether it is more than the model, which is written anew */
  #note (name: string, value: string): boolean {
    validateField(name, value)
    if (name !== 'model') {
      this.#entries.push({ name, value })
      return true
    }
    if (this.#model !== null && this.#model !== value) {
      throw new GatewayError('invalid_value', "Invalid value for 'model': the form and what came before it name different models.", { param: 'model' })
    }
    this.#model = value
    return false
  }

  async #put ({ bytes, ...file }: FilePart): Promise<void> {
    this.#spool ??= await this.#spools.open(this.#tenant)
    this.#entries.push({ file, stretch: await this.#spool.append(bytes) })
  }

  async * #written (boundary: string, model: string): AsyncGenerator<Buffer, void, undefined> {
    const field = (name: string, value: string) => Buffer.from(`${headOf(boundary, name)}${value}\r\n`)
    yield field('model', model)
    for (const entry of this.#entries.slice()) {
      if ('value' in entry) yield field(entry.name, entry.value)
      else yield * enclosed(fileHead(boundary, entry.file), this.#spool!.read(entry.stretch))
    }
    if (this.#coming !== null) {
      this.#isSpent = true
      for (let part: Part | null = this.#coming; part !== null; part = await this.#parts.next()) {
        if (part.kind === 'file') yield * enclosed(fileHead(boundary, part), part.bytes)
        else if (this.#note(part.name, part.value)) yield field(part.name, part.value)
      }
    }
    yield endOf(boundary)
  }

  #lengthWith (boundary: string, model: string): number {
    const ofField = (name: string, value: string) => Buffer.byteLength(headOf(boundary, name)) + Buffer.byteLength(value) + 2
    const ofEntry = (entry: Entry) => 'value' in entry
      ? ofField(entry.name, entry.value)
      : Buffer.byteLength(fileHead(boundary, entry.file)) + entry.stretch.length + 2
    return this.#entries.reduce((sum, entry) => sum + ofEntry(entry), ofField('model', model) + endOf(boundary).length)
  }
}

async function * enclosed (head: string, bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  yield Buffer.from(head)
  yield * bytes
  yield Buffer.from('\r\n')
}

function endOf (boundary: string): Buffer { return Buffer.from(`--${boundary}--\r\n`) }

function headOf (boundary: string, name: string, more = ''): string {
  return `--${boundary}\r\nContent-Disposition: form-data; name="${escaped(name)}"${more}\r\n\r\n`
}

function fileHead (boundary: string, { name, filename, type }: Omit<FilePart, 'bytes'>): string {
  const named = filename === undefined ? '' : `; filename="${escaped(filename)}"`
  return headOf(boundary, name, `${named}\r\nContent-Type: ${/^[\w.+-]+\/[\w.+-]+$/.test(type) ? type : 'application/octet-stream'}`)
}

/** As browsers do. Source: HTML Living Standard, "Multipart form data", read 2026-11-22. */
function escaped (text: string): string {
  return text.replaceAll('"', '%22').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}

function missing (name: string): GatewayError {
  return new GatewayError('missing_required_parameter', `Missing required parameter: '${name}'.`, { param: name })
}
