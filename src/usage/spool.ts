import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import type { UsageRow } from '../store/store.ts'
import { fromLine, toLine } from './rows.ts'

/**
 * Usage rows on disk, for when the store does not take them. `usage-spool.jsonl` names a family of files,
 * `usage-spool.<time>-<random>.jsonl`: each appears whole, by a rename, and is never written again, so that several
 * processes may share a folder and a crash leaves no half line. Every method is synchronous and throws what the disk says.
 */
export class Spool {
  readonly path: string
  readonly #maxBytes: number
  readonly #folder: string
  readonly #stem: string
  readonly #ending: string

  constructor (path: string, maxBytes: number) {
    this.path = path
    this.#maxBytes = maxBytes
    this.#folder = dirname(path)
    this.#ending = extname(path)
    this.#stem = `${basename(path, this.#ending)}.`
  }

  write (rows: readonly UsageRow[]): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    const text = rows.map(row => `${toLine(row)}\n`).join('')
    const bytes = this.#bytes() + Buffer.byteLength(text)
    if (bytes > this.#maxBytes) throw new Error(`the spool would have ${bytes} bytes, at most ${this.#maxBytes} are allowed`)
    const piece = join(this.#folder, `${this.#stem}${String(Date.now()).padStart(15, '0')}-${randomUUID()}${this.#ending}`)
    const draft = `${piece}.draft`
    try {
      writeFileSync(draft, text, { flag: 'wx', mode: 0o600 })
      renameSync(draft, piece)
    } catch (error) {
      rmSync(draft, { force: true })
      throw error
    }
  }

  /** Paths of what waits here, oldest first. */
  pieces (): string[] {
    try {
      return readdirSync(this.#folder)
        .filter(name => name.startsWith(this.#stem) && name.endsWith(this.#ending) && name.length > this.#stem.length + this.#ending.length)
        .toSorted().map(name => join(this.#folder, name))
    } catch (error) {
      if (isAbsent(error)) return []
      throw error
    }
  }

  /** `bad`: lines that are no usage rows. Null when another process was faster. */
  read (piece: string): { rows: UsageRow[], bad: number } | null {
    try {
      const lines = readFileSync(piece, 'utf8').split('\n').filter(line => line !== '')
      const rows = lines.map(fromLine).filter(row => row !== null)
      return { rows, bad: lines.length - rows.length }
    } catch (error) {
      if (isAbsent(error)) return null
      throw error
    }
  }

  remove (piece: string): void {
    rmSync(piece, { force: true })
  }

  /** @returns the new path, under which nobody reads it again */
  putAside (piece: string): string {
    const aside = `${piece}.rejected`
    try {
      renameSync(piece, aside)
    } catch (error) {
      if (!isAbsent(error)) throw error
    }
    return aside
  }

  #bytes (): number {
    return this.pieces().reduce((sum, piece) => sum + (statSync(piece, { throwIfNoEntry: false })?.size ?? 0), 0)
  }
}

function isAbsent (error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT'
}
