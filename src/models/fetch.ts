/** Bytes of a file into its partial, however often the way there breaks. Whether they are the right ones is for others to say. */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Partial } from './partial.ts'
import { persistently } from './retry.ts'
import { printable } from './source.ts'
import { assertSpace, type FreeBytes } from './space.ts'
import { faultOf, get, Interrupted, pauseAskedFor, type Reply, type WebOptions } from './web.ts'

/** What comes when a file is asked for from a byte on. */
export interface Delivery {
  /** Where the body begins; 0 when the whole file comes, asked for or not. */
  readonly offset: number
  /** Of the whole file; null when it is not said. */
  readonly total: number | null
  readonly etag: string | null
  /** Digest that the origin itself tells; null when it tells none. */
  readonly sha256: string | null
  readonly body: AsyncIterable<Buffer>
  close (): void
}

export interface Origin {
  /** For messages: a host or a path. */
  readonly name: string
  open (from: { readonly offset: number, readonly etag: string | null }, signal: AbortSignal): Promise<Delivery>
}

export interface DownloadOptions {
  readonly signal: AbortSignal
  /** Size that somebody else has announced. */
  readonly total: number | null
  readonly onProgress?: ((bytes: number, total: number | null) => void) | undefined
  /** Something a person would like to know: a pause, a new start. */
  readonly onNote?: ((text: string) => void) | undefined
  readonly pauseMs?: number | undefined
  readonly freeBytes?: FreeBytes | undefined
}

/** The file has another end than our bytes: 416. */
class OutOfRange extends Error {
  readonly total: number | null
  constructor (total: number | null) {
    super('the range is refused')
    this.total = total
  }
}

/** @throws Error when it cannot be had; `signal.reason`. Either way the partial holds what has arrived, to go on from. */
export async function download (origin: Origin, partial: Partial, options: DownloadOptions): Promise<void> {
  const { signal, onNote, pauseMs } = options
  const onPause = (why: string, ms: number) => { onNote?.(`${why} Going on at ${partial.bytes} bytes in ${(ms / 1000).toFixed(1)} s.`) }
  await persistently(() => tryOnce(origin, partial, options), { signal, pauseMs, onPause, progress: () => partial.bytes })
}

async function tryOnce (origin: Origin, partial: Partial, options: DownloadOptions): Promise<void> {
  if (partial.isWhole) return
  if (partial.bytes > 0 && !canGoOn(partial)) await startOver(partial, options, 'nothing says that its beginning is still the same')
  const delivery = await opened(origin, partial, options)
  if (delivery === null) return
  try {
    await admit(delivery, origin, partial, options)
    await store(delivery, origin, partial, options)
  } finally {
    delivery.close()
  }
  const { total } = partial.facts
  if (total !== null && partial.bytes < total) throw new Interrupted(`${origin.name}: the connection ended after ${partial.bytes} of ${total} bytes.`)
  await partial.describe({ ...partial.facts, total: partial.bytes })
}

/** A digest finds out at the end what an ETag would have said at once. */
function canGoOn ({ facts }: Partial): boolean { return isStrong(facts.etag) || facts.sha256 !== null }

function isStrong (etag: string | null): boolean { return etag !== null && !etag.startsWith('W/') }

async function startOver (partial: Partial, { onNote }: DownloadOptions, why: string): Promise<void> {
  onNote?.(`Starting over, because ${why}.`)
  await partial.reset()
}

/** @returns null when what we have is all there is */
async function opened (origin: Origin, partial: Partial, options: DownloadOptions): Promise<Delivery | null> {
  const etag = isStrong(partial.facts.etag) ? partial.facts.etag : null
  try {
    return await origin.open({ offset: partial.bytes, etag }, options.signal)
  } catch (thrown) {
    if (!(thrown instanceof OutOfRange)) throw thrown
    if (thrown.total === partial.bytes && partial.bytes > 0) {
      await partial.describe({ ...partial.facts, total: partial.bytes })
      return null
    }
    await startOver(partial, options, 'the file has become shorter')
    throw new Interrupted(`${origin.name} does not have the bytes from where we stopped.`, { cause: thrown })
  }
}

/** Holds what comes against what was announced and what we have. */
async function admit (delivery: Delivery, origin: Origin, partial: Partial, options: DownloadOptions): Promise<void> {
  const announced = options.total
  const total = delivery.total ?? announced
  if (announced !== null && delivery.total !== null && delivery.total !== announced) {
    throw new Error(`${origin.name} sends a file of ${delivery.total} bytes, but ${announced} were announced.`)
  }
  const { sha256 } = partial.facts
  if (sha256 !== null && delivery.sha256 !== null && delivery.sha256 !== sha256) {
    throw new Error(`${origin.name} offers a file with sha256 ${delivery.sha256}; expected ${sha256}.`)
  }
  const changed = partial.facts.etag !== null && delivery.etag !== null && delivery.etag !== partial.facts.etag
  if (delivery.offset > 0 && (delivery.offset !== partial.bytes || changed)) {
    await startOver(partial, options, changed ? 'the file has changed' : 'the server sends another part than asked for')
    throw new Interrupted(`${origin.name} has another file than before.`)
  }
  if (delivery.offset === 0 && partial.bytes > 0) await startOver(partial, options, changed ? 'the file has changed' : 'the server cannot go on in the middle')
  await partial.describe({ etag: delivery.etag, told: delivery.sha256, total })
}

/** Between two looks at the free space. */
const SPACE_EVERY_BYTES = 256 * 1024 * 1024

async function store (delivery: Delivery, origin: Origin, partial: Partial, options: DownloadOptions): Promise<void> {
  const { total } = partial.facts
  const body = partial.bytes === 0 ? beginningAsGguf(delivery.body, origin) : delivery.body
  let checkedAt = -Infinity
  options.onProgress?.(partial.bytes, total)
  for await (const chunk of body) {
    if (partial.bytes - checkedAt >= SPACE_EVERY_BYTES) {
      await assertSpace(partial.path, total === null ? SPACE_EVERY_BYTES : total - partial.bytes, options.freeBytes)
      checkedAt = partial.bytes
    }
    if (total !== null && partial.bytes + chunk.length > total) throw new Error(`${origin.name} sends more than the ${total} bytes it announced.`)
    await partial.append(chunk)
    options.onProgress?.(partial.bytes, total)
    options.signal.throwIfAborted()
  }
}

/** A page that asks for a login is found out at its first bytes, not after twenty gigabytes. */
async function * beginningAsGguf (body: AsyncIterable<Buffer>, { name }: Origin): AsyncGenerator<Buffer> {
  let head: Buffer | null = Buffer.alloc(0)
  for await (const chunk of body) {
    if (head === null) {
      yield chunk
      continue
    }
    head = Buffer.concat([head, chunk])
    if (head.length < 4) continue
    if (head.toString('latin1', 0, 4) !== 'GGUF') throw new Error(`${name} sends no GGUF file; it begins with "${printable(head.toString('utf8', 0, 40))}".`)
    yield head
    head = null
  }
  if (head !== null && head.length > 0) throw new Error(`${name} sends no GGUF file, but ${head.length} bytes.`)
}

export interface WebOriginOptions extends Omit<WebOptions, 'signal' | 'headers'> {
  /** What a refusal means here, by status; null leaves it to the general words. */
  readonly refusal?: (status: number) => string | null
}

export function webOrigin (url: URL, { refusal = () => null, ...options }: WebOriginOptions): Origin {
  return {
    name: url.host,
    async open ({ offset, etag }, signal) {
      const range = offset === 0 ? {} : { range: `bytes=${offset}-`, ...(etag === null ? {} : { 'if-range': etag }) }
      const reply = await get(url, { ...options, signal, headers: range })
      try {
        return deliveryOf(reply, url, offset, refusal)
      } catch (thrown) {
        reply.body.destroy()
        throw thrown
      }
    }
  }
}

function deliveryOf (reply: Reply, start: URL, offset: number, refusal: (status: number) => string | null): Delivery {
  const { status, headers, body, url } = reply
  if (status === 416) throw new OutOfRange(totalOf(headers['content-range']))
  assertGiven(reply, start, refusal)
  const encoding = headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity') throw new Error(`${url.host} sends the file in the encoding ${printable(encoding, 40)}, though none was asked for.`)
  const range = status === 206 ? rangeOf(headers['content-range']) : { offset: 0, total: lengthOf(headers['content-length']) }
  if (range === null || (offset === 0 && range.offset > 0)) throw new Error(`${url.host} answers 206 without saying which bytes it sends.`)
  return { ...range, etag: headers.etag ?? null, sha256: linkedDigest(reply), body: told(body, url), close: () => { body.destroy() } }
}

/** @throws Interrupted for what may pass; Error with words for a person */
export function assertGiven ({ status, headers, url }: Pick<Reply, 'status' | 'headers' | 'url'>, start: URL, refusal: (status: number) => string | null): void {
  if (status === 200 || status === 206) return
  const asked = pauseAskedFor(headers['retry-after'])
  if (status === 429 || status === 408 || status >= 500) throw new Interrupted(`${url.host} answers ${status}.`, { retryAfterMs: asked })
  // Where the hub has sent us, a refusal means that the signed address has run out; asking the hub again gives a new one.
  if (url.origin !== start.origin && (status === 401 || status === 403)) throw new Interrupted(`${url.host} answers ${status}.`)
  throw new Error(refusal(status) ?? `${url.host} answers ${status}${status === 404 ? ': there is no such file' : ''}.`)
}

/** The hub's own digest of a large file: `X-Linked-Etag: "<sha256>"`. */
function linkedDigest ({ first }: Reply): string | null {
  const value = first['x-linked-etag']
  const [, digest = null] = /^(?:W\/)?"?([0-9a-f]{64})"?$/.exec(typeof value === 'string' ? value : '') ?? []
  return digest
}

async function * told (body: AsyncIterable<Buffer>, url: URL): AsyncGenerator<Buffer> {
  try {
    yield * body
  } catch (thrown) {
    throw faultOf(thrown, url)
  }
}

function lengthOf (header: string | undefined): number | null { return header === undefined ? null : Number(header) }

/** `bytes 100-199/200` */
function rangeOf (header: string | undefined): { offset: number, total: number | null } | null {
  const [, offset, total] = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(header ?? '') ?? []
  return offset === undefined ? null : { offset: Number(offset), total: total === '*' ? null : Number(total) }
}

// Of `bytes */200`.
function totalOf (header: string | undefined): number | null {
  const [, total] = /^bytes \*\/(\d{1,15})$/.exec(header ?? '') ?? []
  return total === undefined ? null : Number(total)
}

/** A file on this host. It may be on a share that breaks, so it is copied like any other. */
export function fileOrigin (path: string): Origin {
  return {
    name: path,
    async open ({ offset, etag: before }, signal) {
      const { size, mtimeMs } = await stat(path)
      const etag = `"${size}-${mtimeMs}"`
      const start = etag === before ? offset : 0
      const stream = createReadStream(path, { start, signal, highWaterMark: 1024 * 1024 })
      return { offset: start, total: size, etag, sha256: null, body: stream as AsyncIterable<Buffer>, close: () => { stream.destroy() } }
    }
  }
}
