/** A download that is not whole yet: FILE.partial with the bytes so far, FILE.json with what they are the beginning of. */
import { mkdir, open, readFile, rm, stat, truncate, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { replaceFile } from './replace.ts'

export interface PartialFacts {
  readonly source: string
  readonly name: string
  /** Digest that the whole must have; null when nobody has said. */
  readonly sha256: string | null
  /** Of the server, as it came; null when it sends none that says the bytes are the same. */
  readonly etag: string | null
  /** Digest that the server itself tells. */
  readonly told: string | null
  readonly total: number | null
}

export class Partial {
  readonly path: string
  bytes: number
  facts: PartialFacts
  readonly #handle: FileHandle

  private constructor (path: string, handle: FileHandle, bytes: number, facts: PartialFacts) {
    this.path = path
    this.#handle = handle
    this.bytes = bytes
    this.facts = facts
  }

  /** What is there of another digest is dropped: it is the beginning of another file. */
  static async open (path: string, wanted: Pick<PartialFacts, 'source' | 'name' | 'sha256'>): Promise<Partial> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const before = await factsOf(path)
    const handle = await open(path, 'a', 0o600)
    const { size } = await handle.stat()
    const partial = new Partial(path, handle, size, { etag: null, told: null, total: null, ...before, ...wanted })
    if (before === null || before.source !== wanted.source || isOther(before.sha256, wanted.sha256)) await partial.reset()
    return partial
  }

  get isWhole (): boolean { return this.bytes > 0 && this.bytes === this.facts.total }

  async describe (facts: Pick<PartialFacts, 'etag' | 'told' | 'total'>): Promise<void> {
    this.facts = { ...this.facts, ...facts }
    await replaceFile(factsPath(this.path), JSON.stringify(this.facts))
  }

  async append (chunk: Buffer): Promise<void> {
    await this.#handle.appendFile(chunk)
    this.bytes += chunk.length
  }

  async reset (): Promise<void> {
    await truncate(this.path, 0)
    this.bytes = 0
    await this.describe({ etag: null, told: null, total: null })
  }

  /** What was written is on the disk after this. */
  async close (): Promise<void> {
    try {
      await this.#handle.sync()
    } finally {
      await this.#handle.close()
    }
  }
}

function factsPath (path: string): string { return path.replace(/\.partial$/, '.json') }

/** Null when there are none, or when they cannot be read: then the bytes are worth nothing. */
export async function factsOf (path: string): Promise<PartialFacts | null> {
  try {
    const { source, name, sha256, etag, told, total } = JSON.parse(await readFile(factsPath(path), 'utf8')) as Record<string, unknown>
    if (typeof source !== 'string' || typeof name !== 'string') return null
    return { source, name, sha256: text(sha256), etag: text(etag), told: text(told), total: typeof total === 'number' && Number.isSafeInteger(total) ? total : null }
  } catch (thrown) {
    if (thrown instanceof SyntaxError || (thrown as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw thrown
  }
}

/** One that was not known before, or is not any more, is no other. */
function isOther (before: string | null, now: string | null): boolean { return before !== null && now !== null && before !== now }

function text (value: unknown): string | null { return typeof value === 'string' ? value : null }

export async function dropPartial (path: string): Promise<void> {
  await rm(path, { force: true })
  await rm(factsPath(path), { force: true })
}

export async function bytesOf (path: string): Promise<number> {
  return (await stat(path)).size
}
