import { randomUUID } from 'node:crypto'
import { open, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { GatewayError } from '../errors.ts'

/** What one part of a form took in the file. */
export interface Stretch { readonly from: number, readonly length: number }

const READ_BYTES = 65_536

/** How many there may be at once: of all tenants, and of one. */
export interface SpoolBounds { readonly most: number, readonly mostOfOne: number }

/** Temporary files for what cannot be sent on before the rest has come. */
export class Spools {
  readonly #folder: string
  readonly #bounds: SpoolBounds
  /** By tenant. */
  readonly #open = new Map<string, number>()
  #all = 0

  constructor (folder: string, bounds: SpoolBounds) {
    this.#folder = folder
    this.#bounds = bounds
  }

  /** @throws GatewayError `backend_overloaded` */
  async open (tenant: string): Promise<Spool> {
    const { most, mostOfOne } = this.#bounds
    const own = this.#open.get(tenant) ?? 0
    if (own >= mostOfOne) throw new GatewayError('backend_overloaded', `${own} forms of the tenant ${tenant} are being read already, whose files come before their model.`, { retryAfterS: 2 })
    if (this.#all >= most) throw new GatewayError('backend_overloaded', `${most} forms are being read already, whose files come before their model.`, { retryAfterS: 2 })
    this.#count(tenant, 1)
    try {
      const path = join(this.#folder, `form-${randomUUID()}.tmp`)
      const file = await open(path, 'wx+', 0o600)
      // It has no name from here on, so that nothing of it is left, however this process ends.
      await unlink(path)
      return new Spool(file, () => { this.#count(tenant, -1) })
    } catch (error) {
      this.#count(tenant, -1)
      throw error
    }
  }

  #count (tenant: string, change: number): void {
    this.#all += change
    const own = (this.#open.get(tenant) ?? 0) + change
    if (own === 0) this.#open.delete(tenant)
    else this.#open.set(tenant, own)
  }
}

export class Spool {
  readonly #file: FileHandle
  readonly #closed: () => void
  #length = 0
  #isClosed = false

  constructor (file: FileHandle, closed: () => void) {
    this.#file = file
    this.#closed = closed
  }

  async append (bytes: AsyncIterable<Buffer>): Promise<Stretch> {
    const from = this.#length
    for await (const piece of bytes) {
      // Goes on where it ended; what is read in between is read by its place.
      await this.#file.appendFile(piece)
      this.#length += piece.length
    }
    return { from, length: this.#length - from }
  }

  async * read ({ from, length }: Stretch): AsyncGenerator<Buffer, void, undefined> {
    for (let at = from; at < from + length;) {
      const { buffer, bytesRead } = await this.#file.read(Buffer.allocUnsafe(Math.min(READ_BYTES, from + length - at)), 0, null, at)
      if (bytesRead === 0) throw new GatewayError('internal_error', 'A temporary file is shorter than it was.')
      at += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  }

  /** A second time does nothing. */
  async close (): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#closed()
    await this.#file.close()
  }
}
