/**
 * States of slots on disk: a prompt that was read once is not read again, though its slot was taken by another or the
 * worker was started anew. What was said can be read from these files; they are of this user alone.
 */
import { createHash } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { commonPrefix } from './prefix.ts'

/** The engine, as far as it writes and reads states. */
export interface StateFiles {
  readonly needsMarks: boolean
  /** @returns bytes of the file */
  save (slot: number, path: string): Promise<number>
  /** @returns the tokens that the slot then holds. @throws when the file is none; the slot then holds nothing */
  load (slot: number, path: string): Promise<readonly number[]>
}

export interface SpillOptions {
  readonly folder: string
  /** Of all files together. */
  readonly bytes: number
  /** Under this name the files are found again. */
  readonly model: string
  /** All that a state depends on: the model file, the configuration of the worker, the library. */
  readonly kind: string
  /** What is not worth a file. */
  readonly leastTokens?: number
  readonly log: (line: string) => void
}

interface Held { readonly id: number, readonly tokens: readonly number[], readonly isolation: string }
interface Kept { readonly path: string, readonly domain: string, readonly tokens: readonly number[], readonly bytes: number }

/** Reading so many tokens takes longer than a state of them does from disk, with every model that was measured. */
const LEAST_TOKENS = 256
const MOST_FILES = 4096
/** `LLAMA_STATE_SEQ_MAGIC` of llama.h; version and number of tokens follow, then the tokens, each of 32 bits. */
const MAGIC = 0x67677371
const HEAD_BYTES = 12
const MOST_TOKENS = 2 ** 20
/** Beside a file that is being read. One that is found at the start is of a file that ended its worker. */
const BUSY = '.busy'
/** Beside a file that is whole; it says how many bytes that are. llama.cpp ends the process over one that was cut short. */
const WHOLE = '.bytes'

export class Spill {
  readonly #options: SpillOptions
  readonly #files: StateFiles
  readonly #folder: string
  readonly #leastTokens: number
  /** The one used longest ago first. */
  readonly #kept = new Set<Kept>()
  #names = 0

  /** Reads what earlier workers have left, and removes what they left for other states. @throws Error when the folder cannot be used */
  constructor (files: StateFiles, options: SpillOptions) {
    this.#files = files
    this.#options = options
    this.#leastTokens = options.leastTokens ?? LEAST_TOKENS
    const all = join(options.folder, digest(options.model))
    this.#folder = join(all, digest(options.kind))
    // Native code makes the files.
    process.umask(0o077)
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(all)) if (name !== digest(options.kind)) rmSync(join(all, name), { recursive: true, force: true })
    this.#read()
  }

  get bytes (): number { return [...this.#kept].reduce((sum, { bytes }) => sum + bytes, 0) }

  /** Keeps what a slot holds, unless little of it is lost when it is cut to `keep` tokens. A disk that is full costs the state, no answer. */
  async put ({ id, tokens, isolation }: Held, keep: number): Promise<void> {
    if (tokens.length - keep < this.#leastTokens || this.#wouldBurst(tokens.length)) return
    const domain = digest(isolation)
    const own = [...this.#kept].filter(kept => kept.domain === domain)
    if (own.some(kept => commonPrefix(kept.tokens, tokens) === tokens.length)) return
    const path = join(this.#folder, `${domain}-${process.pid}-${Date.now()}-${this.#names++}.state`)
    try {
      const bytes = await this.#files.save(id, path)
      writeFileSync(path + WHOLE, String(bytes))
      this.#kept.add({ path, domain, tokens: tokens.slice(), bytes })
    } catch (thrown) {
      this.#complain('written', thrown)
      removeAll(path)
      return
    }
    for (const kept of own) if (commonPrefix(kept.tokens, tokens) === kept.tokens.length) this.#drop(kept)
    this.#shrink()
  }

  /**
   * Gives a slot the state that saves most of reading `prompt`.
   * @param keep tokens of it that the slot holds already
   * @returns what the slot then holds, or null when it is left as it is
   */
  async take (slot: number, prompt: readonly number[], isolation: string, keep: number): Promise<readonly number[] | null> {
    const domain = digest(isolation)
    const [best] = [...this.#kept].filter(kept => kept.domain === domain)
      .map(kept => ({ kept, use: this.#use(kept.tokens, prompt) })).toSorted((a, b) => b.use - a.use)
    if (best === undefined || best.use < keep + this.#leastTokens) return null
    const { path, tokens } = best.kept
    this.#kept.delete(best.kept)
    try {
      writeFileSync(path + BUSY, '')
      const held = await this.#files.load(slot, path)
      remove(path + BUSY)
      if (held.length !== tokens.length || commonPrefix(held, tokens) !== tokens.length) throw new Error('It holds other tokens than it did.')
      this.#kept.add(best.kept)
      return held
    } catch (thrown) {
      this.#complain('read', thrown)
      removeAll(path)
      return []
    }
  }

  /** Tokens that need not be computed. Networks that cannot go back can only go on. */
  #use (tokens: readonly number[], prompt: readonly number[]): number {
    const shared = Math.min(commonPrefix(tokens, prompt), prompt.length - 1)
    return this.#files.needsMarks && shared < tokens.length ? 0 : shared
  }

  #wouldBurst (tokens: number): boolean {
    const last = [...this.#kept].at(-1)
    return last !== undefined && last.bytes / last.tokens.length * tokens > this.#options.bytes
  }

  #shrink (): void {
    for (const kept of this.#kept) {
      if (this.bytes <= this.#options.bytes && this.#kept.size <= MOST_FILES) return
      this.#drop(kept)
    }
  }

  #drop (kept: Kept): void {
    this.#kept.delete(kept)
    removeAll(kept.path)
  }

  #read (): void {
    const names = readdirSync(this.#folder)
    for (const name of names) if (!name.endsWith('.state') && !names.includes(name.slice(0, name.lastIndexOf('.')))) remove(join(this.#folder, name))
    const found = names.filter(name => name.endsWith('.state')).map(name => this.#found(name, names.includes(name + BUSY)))
    for (const { kept } of found.filter(each => each !== null).toSorted((a, b) => a.usedAt - b.usedAt)) this.#kept.add(kept)
    this.#shrink()
  }

  #found (name: string, isBusy: boolean): { kept: Kept, usedAt: number } | null {
    const path = join(this.#folder, name)
    const { size, mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? { size: null, mtimeMs: 0 }
    const tokens = isBusy || size === null || sizeIn(path + WHOLE) !== size ? null : unlessGone(() => tokensIn(path))
    if (tokens === null) removeAll(path)
    return size === null || tokens === null ? null : { kept: { path, domain: name.slice(0, name.indexOf('-')), tokens, bytes: size }, usedAt: mtimeMs }
  }

  #complain (what: string, thrown: unknown): void {
    this.#options.log(`A state could not be ${what}, its prompt is read again when it comes: ${thrown instanceof Error ? thrown.message : String(thrown)}`)
  }
}

/** Of the head of a state file; null when it is none. */
function tokensIn (path: string): readonly number[] | null {
  const file = openSync(path, 'r')
  try {
    const head = Buffer.alloc(HEAD_BYTES)
    if (readSync(file, head) < HEAD_BYTES || head.readUInt32LE(0) !== MAGIC) return null
    const count = head.readUInt32LE(8)
    if (count > MOST_TOKENS) return null
    const tokens = Buffer.alloc(count * 4)
    if (readSync(file, tokens, 0, tokens.length, HEAD_BYTES) < tokens.length) return null
    return Array.from({ length: count }, (_, at) => tokens.readInt32LE(at * 4))
  } finally {
    closeSync(file)
  }
}

function digest (text: string): string { return createHash('sha256').update(text).digest('hex').slice(0, 32) }

/** @returns null where there is none */
function sizeIn (path: string): number | null { return unlessGone(() => Number(readFileSync(path, 'utf8'))) }

function removeAll (path: string): void { for (const part of ['', BUSY, WHOLE]) remove(path + part) }
function remove (path: string): void { unlessGone(() => { unlinkSync(path) }) }

/** Another worker with the same folder may have been before us. */
function unlessGone<T> (work: () => T): T | null {
  try {
    return work()
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown
    return null
  }
}
