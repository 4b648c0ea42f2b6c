/** Files that tenants keep: their bytes in a folder, what is known of them in the store. */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { open, opendir, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { GatewayError } from '../errors.ts'
import type { FileRow, FileStore, Page } from '../store/store.ts'

export interface FilesParts {
  readonly store: FileStore
  /** Made when it is not there. Nobody else may write in it. */
  readonly folder: string
  readonly maxBytes: number
  readonly perTenantBytes: number
  readonly perTenant: number
  readonly retentionHours: number
  /** Expired files could not be deleted. */
  readonly onError: (error: unknown) => void
}

export interface NewFile {
  readonly tenant: string
  readonly purpose: string
  readonly filename: string
  readonly dataClass: string
  /** Seconds; null for as long as usual. */
  readonly lastsS: number | null
}

/** Where the bytes of a file that is being made go. It is ended by `keep` or by `discard`. */
export interface Draft {
  readonly id: string
  readonly bytes: number
  /** @throws GatewayError `file_too_large`, `storage_full` where the file is an upload */
  write (bytes: Buffer): Promise<void>
  /** Everything is on disk, under the name that the row gives it; the row itself is the caller's to insert. */
  keep (file: NewFile): Promise<FileRow>
  discard (): Promise<void>
}

const SWEEP_MS = 60_000
/** Deleted, or looked at, in one go. */
const SWEPT_AT_ONCE = 1000
/** Bytes that no row knows, untouched for so long: whoever wrote them was killed. */
const FORGOTTEN_MS = 3_600_000
const UNFINISHED = '.part'

export class Files {
  readonly #parts: FilesParts
  readonly #timers: readonly NodeJS.Timeout[]
  /** Sweeps that are not over. */
  readonly #sweeping = new Set<Promise<void>>()
  #isClosed = false
  /** Bytes of uploads that have no row yet, by tenant. */
  readonly #arriving = new Map<string, number>()

  constructor (parts: FilesParts) {
    this.#parts = parts
    mkdirSync(parts.folder, { recursive: true, mode: 0o700 })
    const run = (work: () => Promise<void>) => {
      const sweeping = work().catch(parts.onError).finally(() => this.#sweeping.delete(sweeping))
      this.#sweeping.add(sweeping)
    }
    const often = (work: () => Promise<void>, ms: number) => {
      run(work)
      return setInterval(() => { run(work) }, ms).unref()
    }
    this.#timers = [often(() => this.sweep(), SWEEP_MS), often(() => this.sweepForgotten(), FORGOTTEN_MS)]
  }

  /** The store must outlive it. */
  async close (): Promise<void> {
    this.#isClosed = true
    for (const timer of this.#timers) clearInterval(timer)
    await Promise.all(this.#sweeping)
  }

  get retentionHours (): number { return this.#parts.retentionHours }

  /**
   * Keeps what comes. However it fails, nothing of it stays.
   * @param describe asked when all has come
   * @throws GatewayError `file_too_large`, `storage_full`, or what `content` and `describe` throw
   */
  async upload (tenant: string, content: AsyncIterable<Buffer>, describe: () => NewFile | Promise<NewFile>): Promise<FileRow> {
    const usedBytes = await this.#parts.store.usedBytes(tenant)
    const draft = await this.#draft((bytes, soFar) => { this.#admit(tenant, usedBytes, bytes, soFar) })
    try {
      for await (const part of content) await draft.write(part)
      const row = await draft.keep(await describe())
      const { perTenant, perTenantBytes } = this.#parts
      if (!await this.#parts.store.insert(row, { files: perTenant, bytes: perTenantBytes })) throw this.#full(tenant)
      return row
    } catch (error) {
      await draft.discard()
      throw error
    } finally {
      this.#arrived(tenant, draft.bytes)
    }
  }

  /** For what a batch answers: no bound but the one that was held when it was created. */
  draft (): Promise<Draft> { return this.#draft(() => {}) }

  /** @throws GatewayError `storage_full` when the tenant has no room for anything more */
  async assertRoom (tenant: string): Promise<void> {
    if (await this.#parts.store.usedBytes(tenant) >= this.#parts.perTenantBytes) throw this.#full(tenant, null)
  }

  /** @throws GatewayError `file_not_found` */
  async find (tenant: string, id: string, param: string): Promise<FileRow> {
    const row = await this.#parts.store.find(tenant, id, new Date())
    if (row === null) throw notFound(id, param)
    return row
  }

  list (tenant: string, page: Page & { readonly purpose: string | null, readonly ascending: boolean }): Promise<readonly FileRow[]> {
    return this.#parts.store.list(tenant, { ...page, now: new Date() })
  }

  /** @throws GatewayError `file_not_found`, `file_in_use` */
  async delete (tenant: string, id: string): Promise<void> {
    const outcome = await this.#parts.store.delete(tenant, id)
    if (outcome === 'missing') throw notFound(id, 'file_id')
    if (outcome === 'in_use') throw new GatewayError('file_in_use', `The file${named(id)} is read by a batch that has not ended; cancel the batch first.`, { param: 'file_id' })
    await rm(this.#pathOf(id), { force: true })
  }

  /** The bytes of a file that was found, as they come from the disk. The reader ends the stream. */
  async content ({ id }: FileRow): Promise<Readable> {
    return (await this.#open(id)).createReadStream({ highWaterMark: 65_536 })
  }

  /** A part of a file. @throws GatewayError `internal_error` when it is not there */
  async slice (id: string, offset: number, length: number): Promise<Buffer> {
    await using handle = await this.#open(id)
    const bytes = Buffer.alloc(length)
    const { bytesRead } = await handle.read(bytes, 0, length, offset)
    if (bytesRead < length) throw new GatewayError('internal_error', `The file ${id} ends at ${offset + bytesRead} bytes, where ${offset + length} were expected.`)
    return bytes
  }

  /** Deletes what has expired. */
  async sweep (now = new Date()): Promise<void> {
    for (const id of await this.#parts.store.sweep(now, SWEPT_AT_ONCE)) await rm(this.#pathOf(id), { force: true })
  }

  /** Deletes what a gateway has left that was killed before the row was there, or after it was gone. */
  async sweepForgotten (now = new Date()): Promise<void> {
    let names: string[] = []
    for await (const { name } of await opendir(this.#parts.folder)) {
      if (this.#isClosed) return
      if (names.push(name) < SWEPT_AT_ONCE) continue
      await this.#deleteForgotten(names, now)
      names = []
    }
    await this.#deleteForgotten(names, now)
  }

  async #deleteForgotten (names: readonly string[], now: Date): Promise<void> {
    const known = await this.#parts.store.known(names)
    for (const name of names.filter(each => !known.has(each))) {
      const path = join(this.#parts.folder, name)
      const { mtimeMs } = await stat(path).catch(ignoreMissing) ?? { mtimeMs: Infinity }
      if (now.getTime() - mtimeMs > FORGOTTEN_MS) await rm(path, { force: true })
    }
  }

  /** @param admit asked for each part, before it is written and counted */
  async #draft (admit: (bytes: number, soFar: number) => void): Promise<Draft> {
    const id = `file-${randomBytes(16).toString('hex')}`
    const temporary = this.#pathOf(id) + UNFINISHED
    const handle = await open(temporary, 'wx', 0o600)
    let bytes = 0
    return {
      id,
      get bytes () { return bytes },
      write: async part => {
        admit(part.length, bytes)
        bytes += part.length
        await writeAll(handle, part)
      },
      keep: async file => {
        await handle.sync()
        await handle.close()
        await rename(temporary, this.#pathOf(id))
        return this.#rowOf(id, bytes, file)
      },
      discard: async () => {
        await handle.close()
        for (const path of [temporary, this.#pathOf(id)]) await rm(path, { force: true })
      }
    }
  }

  #admit (tenant: string, usedBytes: number, bytes: number, soFar: number): void {
    const { maxBytes, perTenantBytes } = this.#parts
    if (soFar + bytes > maxBytes) throw new GatewayError('file_too_large', `The file is larger than ${maxBytes} bytes (files.maxBytes).`, { param: 'file' })
    const arriving = (this.#arriving.get(tenant) ?? 0) + bytes
    if (usedBytes + arriving > perTenantBytes) throw this.#full(tenant)
    this.#arriving.set(tenant, arriving)
  }

  #arrived (tenant: string, bytes: number): void {
    const left = (this.#arriving.get(tenant) ?? 0) - bytes
    if (left > 0) this.#arriving.set(tenant, left)
    else this.#arriving.delete(tenant)
  }

  #rowOf (id: string, bytes: number, { tenant, purpose, filename, dataClass, lastsS }: NewFile): FileRow {
    const createdAt = new Date()
    const lastsMs = Math.min(lastsS === null ? Infinity : lastsS * 1000, this.#parts.retentionHours * 3_600_000)
    return { id, tenant, purpose, filename, dataClass, bytes, createdAt, expiresAt: new Date(createdAt.getTime() + lastsMs) }
  }

  #full (tenant: string, param: string | null = 'file'): GatewayError {
    const { perTenant, perTenantBytes } = this.#parts
    const most = `${perTenant} files (files.perTenant) of ${perTenantBytes} bytes together (files.perTenantBytes)`
    return new GatewayError('storage_full', `The tenant ${tenant} may keep ${most}; delete some first.`, { param })
  }

  async #open (id: string): Promise<FileHandle> {
    try {
      return await open(this.#pathOf(id), 'r')
    } catch (error) {
      throw new GatewayError('internal_error', `The file ${id} cannot be read.`, { cause: error })
    }
  }

  /** @param id of a row, or made here: nothing that a caller wrote ever becomes a path */
  #pathOf (id: string): string { return join(this.#parts.folder, id) }
}

async function writeAll (handle: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await handle.write(bytes, at)).bytesWritten
}

function ignoreMissing (error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null
  throw error
}

/** Ids are repeated only where they look like ids. */
function named (id: string): string { return /^[\w.-]{1,64}$/.test(id) ? ` ${id}` : '' }

function notFound (id: string, param: string): GatewayError {
  return new GatewayError('file_not_found', `No file${named(id)} is kept for this tenant.`, { param })
}
