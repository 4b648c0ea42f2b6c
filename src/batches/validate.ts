/** The input of a batch, line by line: what is asked, and in which order it is answered. */
import { GatewayError, toGatewayError } from '../errors.ts'
import type { NewLine } from '../store/store.ts'
import { prefixOf, readLine, type LineFault } from '../wire/batches.ts'
import { parseBody } from '../wire/parse.ts'

export interface ValidateParts {
  readonly endpoint: string
  readonly maxLines: number
  readonly maxLineBytes: number
  /** @throws GatewayError why the tenant cannot call the model */
  readonly assertModel: (model: string) => void
}

/** As `errors.data` of a batch lists it. */
export interface Complaint extends LineFault { readonly line: number | null }

export type Validated =
  /** Some lines, in the order in which they are answered. `model` is null where they name several. */
  | { readonly kind: 'good', readonly lines: readonly NewLine[], readonly model: string | null }
  /** The first that are wrong, at most MOST_COMPLAINTS. */
  | { readonly kind: 'bad', readonly complaints: readonly Complaint[] }

const MOST_COMPLAINTS = 100

/** @throws what `content` throws, or `signal` was aborted with */
export async function validate (content: AsyncIterable<Buffer>, parts: ValidateParts, signal: AbortSignal): Promise<Validated> {
  const reading = new Reading(parts)
  for await (const line of linesOf(content, parts.maxLineBytes)) {
    signal.throwIfAborted()
    reading.line(line)
    if (reading.isHopeless) break
  }
  return reading.end()
}

interface Found { readonly number: number, readonly offset: number, readonly length: number, /** Null when it is too long. */ readonly bytes: Buffer | null }

class Reading {
  readonly #parts: ValidateParts
  readonly #complaints: Complaint[] = []
  readonly #lines: { readonly line: Omit<NewLine, 'place'>, readonly prefix: string }[] = []
  readonly #ids = new Set<string>()
  /** Why not; null where it may be called. */
  readonly #models = new Map<string, LineFault | null>()

  constructor (parts: ValidateParts) { this.#parts = parts }

  get isHopeless (): boolean { return this.#complaints.length >= MOST_COMPLAINTS || this.#lines.length > this.#parts.maxLines }

  line (found: Found): void {
    const fault = this.#read(found)
    if (fault !== null) this.#complaints.push({ ...fault, line: found.number })
  }

  end (): Validated {
    const { maxLines } = this.#parts
    if (this.#lines.length > maxLines) return bad('too_many_tasks', `The input file has more than ${maxLines} requests (batches.maxLines).`)
    if (this.#complaints.length > 0) return { kind: 'bad', complaints: this.#complaints }
    if (this.#lines.length === 0) return bad('empty_file', 'The input file is empty. Please ensure that the batch contains at least one request.')
    const ordered = this.#lines.toSorted((a, b) => compare(a.line.model, b.line.model) || compare(a.prefix, b.prefix) || a.line.line - b.line.line)
    const lines = ordered.map(({ line }, place) => ({ ...line, place }))
    return { kind: 'good', lines, model: this.#models.size === 1 ? lines[0]!.model : null }
  }

  #read ({ number, offset, length, bytes }: Found): LineFault | null {
    if (bytes === null) return { code: 'line_too_long', message: `This line is longer than ${this.#parts.maxLineBytes} bytes (server.bodyLimitBytes).`, param: null }
    const members = parsed(bytes)
    if (members instanceof GatewayError) return { code: 'invalid_json_line', message: members.message.replace(/^The body/, 'This line'), param: null }
    const line = readLine(members, this.#parts.endpoint)
    if ('code' in line) return line
    const { customId, model, body } = line
    if (this.#ids.has(customId)) {
      return { code: 'duplicate_custom_id', message: 'The custom_id for this request is a duplicate of another request; it must be unique in a batch.', param: 'custom_id' }
    }
    this.#ids.add(customId)
    const refusal = this.#refusalOf(model)
    if (refusal !== null) return refusal
    this.#lines.push({ line: { line: number, customId, model, byteOffset: offset, byteLength: length }, prefix: prefixOf(body) })
    return null
  }

  #refusalOf (model: string): LineFault | null {
    const known = this.#models.get(model)
    if (known !== undefined) return known
    const refusal = refused(() => { this.#parts.assertModel(model) })
    this.#models.set(model, refusal)
    return refusal
  }
}

function refused (check: () => void): LineFault | null {
  try {
    check()
    return null
  } catch (error) {
    const { code, message } = toGatewayError(error)
    return { code, message, param: 'body.model' }
  }
}

function parsed (bytes: Buffer): Record<string, unknown> | GatewayError {
  try {
    return parseBody(bytes)
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
}

function bad (code: string, message: string): Validated {
  return { kind: 'bad', complaints: [{ code, message, param: null, line: null }] }
}

/** By code units: fast, and the same everywhere. */
function compare (a: string, b: string): number { return a < b ? -1 : a > b ? 1 : 0 }

const LINE_FEED = 10

/** Lines that say something, without their end. No more than one of them is in memory, and what was read with it. */
async function * linesOf (content: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<Found> {
  let parts: Buffer[] = []
  let offset = 0
  let length = 0
  let number = 1
  const take = (): Found | null => {
    const bytes = length > maxBytes ? null : trimmed(Buffer.concat(parts))
    const found = bytes?.length === 0 ? null : { number, offset, length: bytes?.length ?? length, bytes }
    parts = []
    return found
  }
  for await (const chunk of content) {
    for (let at = 0; at < chunk.length;) {
      const end = chunk.indexOf(LINE_FEED, at)
      const piece = chunk.subarray(at, end === -1 ? chunk.length : end)
      length += piece.length
      if (length <= maxBytes) parts.push(piece)
      at += piece.length
      if (end === -1) break
      const found = take()
      if (found !== null) yield found
      at++
      offset += length + 1
      length = 0
      number++
    }
  }
  const last = take()
  if (last !== null) yield last
}

/** Without the white space at its end; a line of nothing else says nothing. */
function trimmed (bytes: Buffer): Buffer {
  let end = bytes.length
  while (end > 0 && [13, 32, 9].includes(bytes[end - 1]!)) end--
  return bytes.subarray(0, end)
}
