/**
 * Reads the head of a GGUF file before anything native sees it. The file is not trusted: every count, length and depth
 * has a bound, and no more than MAX_HEAD_BYTES are ever read.
 * Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3), read 2026-11-22.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

export interface GgufHead {
  readonly version: number
  /** `llama`, `qwen3`, …: which network the tensors belong to. */
  readonly architecture: string
  /** `general.name` */
  readonly name: string | null
  /** `general.license` */
  readonly license: string | null
  /** `general.license.name`: what `other` stands for. */
  readonly licenseName: string | null
  /** Longest context the model was trained for, in tokens; null when the file does not say. */
  readonly contextTokens: number | null
  /** `general.file_type`: llama.cpp's number for the quantisation. */
  readonly fileType: number | null
  readonly parameters: number
  /** Jinja source by name: `default`, and what `tokenizer.chat_template.NAME` adds. */
  readonly chatTemplates: ReadonlyMap<string, string>
  readonly vocabularySize: number
  /** Longest entry of the vocabulary; no token stands for more bytes of text than this. 0 without a vocabulary. */
  readonly longestTokenBytes: number
  /** Files this model is split into; 1 when it is whole. */
  readonly splits: number
  /** How vectors of tokens become one of a text, as llama.cpp numbers it; null when the file does not say, as of models that write. */
  readonly pooling: number | null
  /** Made to score how well a document answers a query. */
  readonly isRanker: boolean
  /** False for what was made to embed or to rank: it looks at all of a text at once, or it is pooled and has no chat template. */
  readonly writes: boolean
  /** Size of the file. */
  readonly fileBytes: number
  /** What one token of context costs in a KV cache of 16 bits, at most; null when the file does not say. */
  readonly cacheBytesPerToken: number | null
}

const MAGIC = 0x46554747 // 'GGUF', little-endian
const MAX_PAIRS = 100_000
const MAX_TENSORS = 100_000
const MAX_STRING_BYTES = 16 * 1024 * 1024
const MAX_HEAD_BYTES = 64 * 1024 * 1024
const MAX_ARRAY_DEPTH = 4
const MAX_DIMENSIONS = 8
const PIECE_BYTES = 256 * 1024
/** Of one number in the KV cache. */
const CACHE_BYTES = 2

/** `LLAMA_POOLING_TYPE_NONE` and `LLAMA_POOLING_TYPE_RANK` of llama.h. */
const POOL_NONE = 0
const POOL_RANK = 4

const STRING = 8
const ARRAY = 9
/** Bytes of a metadata value by its type number: u8 i8 u16 i16 u32 i32 f32 bool (string array) u64 i64 f64. */
const BYTES_OF_TYPE: readonly (number | null)[] = [1, 1, 2, 2, 4, 4, 4, 1, null, null, 8, 8, 8]

/**
 * Synchronous: a worker that loads a model has nothing else to do, and a head is a few megabytes.
 * @throws Error naming the file and what is wrong with it
 */
export function readGguf (path: string): GgufHead {
  const fd = openSync(path, 'r')
  try {
    const { size } = fstatSync(fd)
    return readHead(new Cursor(fd, size))
  } catch (thrown) {
    throw new Error(`${path}: ${thrown instanceof Error ? thrown.message : String(thrown)}`, { cause: thrown })
  } finally {
    closeSync(fd)
  }
}

function readHead (cursor: Cursor): GgufHead {
  const version = readVersion(cursor)
  const tensors = cursor.count('tensors', MAX_TENSORS)
  const pairs = cursor.count('metadata entries', MAX_PAIRS)
  const facts = new Facts()
  for (let i = 0; i < pairs; i++) {
    const key = cursor.string('a metadata key')
    facts.add(key, readValue(cursor, cursor.u32(), key))
  }
  const parameters = readTensorTable(cursor, tensors, facts.number('general.alignment') || 32)
  return facts.toHead(version, parameters, cursor.size)
}

function readVersion (cursor: Cursor): number {
  if (cursor.size < 24) throw new Error(`not a GGUF file: ${cursor.size} bytes are too few.`)
  if (cursor.u32() !== MAGIC) throw new Error('not a GGUF file: it does not begin with "GGUF".')
  const version = cursor.u32()
  if (version === 0x02000000 || version === 0x03000000) throw new Error('a big-endian GGUF file; convert it to little-endian.')
  if (version !== 2 && version !== 3) throw new Error(`GGUF version ${version}; versions 2 and 3 can be read.`)
  return version
}

/** Strings and numbers come back as such; of an array only its shape, since nobody needs 150,000 token texts. */
type Value = string | number | boolean | ArrayShape
interface ArrayShape { readonly length: number, readonly longestBytes: number }

function readValue (cursor: Cursor, type: number, key: string, depth = 0): Value {
  if (type === STRING) return cursor.string(key)
  if (type === ARRAY) return readArray(cursor, key, depth)
  const bytes = BYTES_OF_TYPE[type]
  if (bytes === undefined || bytes === null) throw new Error(`${key} has the unknown value type ${type}.`)
  return cursor.scalar(type, bytes)
}

function readArray (cursor: Cursor, key: string, depth: number): ArrayShape {
  if (depth >= MAX_ARRAY_DEPTH) throw new Error(`${key} nests arrays deeper than ${MAX_ARRAY_DEPTH}.`)
  const type = cursor.u32()
  const bytes = BYTES_OF_TYPE[type]
  // A string or an array takes 8 bytes at least, so a count beyond what the file can hold is refused before the loop.
  const length = cursor.count(key, Math.floor(Math.min(MAX_HEAD_BYTES, cursor.left) / (bytes ?? 8)))
  if (typeof bytes === 'number') {
    cursor.skip(length * bytes)
    return { length, longestBytes: bytes }
  }
  let longestBytes = 0
  for (let i = 0; i < length; i++) {
    if (type === STRING) longestBytes = Math.max(longestBytes, cursor.skipString(key))
    else readValue(cursor, type, key, depth + 1)
  }
  return { length, longestBytes }
}

/** @returns the number of parameters; checks that the file does not end before its last tensor begins */
function readTensorTable (cursor: Cursor, tensors: number, alignment: number): number {
  let parameters = 0
  let last = 0
  for (let i = 0; i < tensors; i++) {
    const name = cursor.string('a tensor name')
    const dimensions = cursor.u32()
    if (dimensions > MAX_DIMENSIONS) throw new Error(`tensor ${name} has ${dimensions} dimensions.`)
    let elements = 1
    for (let d = 0; d < dimensions; d++) elements *= cursor.count(`a dimension of ${name}`, Number.MAX_SAFE_INTEGER)
    if (!Number.isSafeInteger(elements)) throw new Error(`tensor ${name} has ${elements} elements.`)
    cursor.u32()
    last = Math.max(last, cursor.count(`the offset of ${name}`, Number.MAX_SAFE_INTEGER))
    parameters += elements
  }
  const data = Math.ceil(cursor.position / alignment) * alignment
  if (tensors > 0 && data + last >= cursor.size) throw new Error(`cut short: ${cursor.size} bytes, but the last tensor begins at ${data + last}.`)
  return parameters
}

/** The metadata entries worth keeping, by key. */
class Facts {
  readonly #values = new Map<string, Value>()
  add (key: string, value: Value): void { this.#values.set(key, value) }

  text (key: string): string | null {
    const value = this.#values.get(key)
    return typeof value === 'string' ? value : null
  }

  number (key: string): number | null {
    const value = this.#values.get(key)
    return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : null
  }

  toHead (version: number, parameters: number, fileBytes: number): GgufHead {
    const architecture = this.text('general.architecture')
    if (architecture === null) throw new Error('general.architecture is missing.')
    const tokens = this.#values.get('tokenizer.ggml.tokens')
    const shape = typeof tokens === 'object' ? tokens : { length: 0, longestBytes: 0 }
    return {
      version,
      architecture,
      name: this.text('general.name'),
      license: this.text('general.license'),
      licenseName: this.text('general.license.name'),
      contextTokens: this.number(`${architecture}.context_length`) || null,
      fileType: this.number('general.file_type'),
      parameters,
      chatTemplates: this.#chatTemplates(),
      vocabularySize: shape.length,
      longestTokenBytes: shape.longestBytes,
      splits: this.number('split.count') || 1,
      ...this.#purpose(architecture),
      fileBytes,
      cacheBytesPerToken: this.#cacheBytesPerToken(architecture)
    }
  }

  #purpose (architecture: string): Pick<GgufHead, 'pooling' | 'isRanker' | 'writes'> {
    const pooling = this.number(`${architecture}.pooling_type`)
    const isRanker = pooling === POOL_RANK
    const isCausal = this.#values.get(`${architecture}.attention.causal`) !== false
    const isPooled = pooling !== null && pooling !== POOL_NONE
    return { pooling, isRanker, writes: isCausal && !isRanker && (!isPooled || this.#chatTemplates().has('default')) }
  }

  /** Keys and values of every layer. Where layers differ, the file has a list: then each counts as if no heads shared a key. */
  #cacheBytesPerToken (architecture: string): number | null {
    const of = (key: string) => this.number(`${architecture}.${key}`)
    const layers = of('block_count')
    const heads = of('attention.head_count')
    const width = of('embedding_length')
    if (layers === null || heads === null || heads === 0 || width === null) return null
    const keyWidth = of('attention.key_length') ?? width / heads
    const valueWidth = of('attention.value_length') ?? width / heads
    return Math.ceil(layers * (of('attention.head_count_kv') ?? heads) * (keyWidth + valueWidth) * CACHE_BYTES)
  }

  #chatTemplates (): Map<string, string> {
    const key = 'tokenizer.chat_template'
    const templates = new Map<string, string>()
    for (const [name, value] of this.#values) {
      if (typeof value !== 'string') continue
      if (name === key) templates.set('default', value)
      else if (name.startsWith(`${key}.`)) templates.set(name.slice(key.length + 1), value)
    }
    return templates
  }
}

/** Reads forward through a file, a piece at a time, and never past MAX_HEAD_BYTES. */
class Cursor {
  readonly size: number
  readonly #fd: number
  #buffer = Buffer.alloc(0)
  #start = 0
  #at = 0

  constructor (fd: number, size: number) {
    this.#fd = fd
    this.size = size
  }

  get position (): number { return this.#start + this.#at }
  get left (): number { return this.size - this.position }

  u32 (): number { return this.#take(4).readUInt32LE() }

  /** A 64-bit count. @param most refused above */
  count (what: string, most: number): number {
    const value = this.#take(8).readBigUInt64LE()
    if (value > BigInt(most)) throw new Error(`${what}: a count of ${value}, at most ${most} can be true.`)
    return Number(value)
  }

  string (what: string): string { return this.#take(this.#stringBytes(what)).toString('utf8') }

  skipString (what: string): number {
    const bytes = this.#stringBytes(what)
    this.#take(bytes)
    return bytes
  }

  skip (bytes: number): void {
    const position = this.position + bytes
    if (position > this.size) throw this.#cutShort()
    this.#start = position
    this.#at = 0
    this.#buffer = Buffer.alloc(0)
  }

  scalar (type: number, bytes: number): number | boolean {
    const value = this.#take(bytes)
    if (type === 7) return value[0] !== 0
    if (type === 6) return value.readFloatLE()
    if (type === 12) return value.readDoubleLE()
    if (bytes === 8) return Number(type === 10 ? value.readBigUInt64LE() : value.readBigInt64LE())
    return type % 2 === 0 ? value.readUIntLE(0, bytes) : value.readIntLE(0, bytes)
  }

  #stringBytes (what: string): number { return this.count(what, MAX_STRING_BYTES) }

  /** The next bytes; valid until the next call. */
  #take (bytes: number): Buffer {
    if (this.#buffer.length - this.#at < bytes) this.#refill(bytes)
    const taken = this.#buffer.subarray(this.#at, this.#at + bytes)
    this.#at += bytes
    return taken
  }

  #refill (bytes: number): void {
    const position = this.position
    if (position + bytes > this.size) throw this.#cutShort()
    if (position + bytes > MAX_HEAD_BYTES) throw new Error(`the head is larger than ${MAX_HEAD_BYTES} bytes.`)
    const buffer = Buffer.allocUnsafe(Math.max(bytes, Math.min(PIECE_BYTES, this.size - position)))
    const read = readSync(this.#fd, buffer, 0, buffer.length, position)
    if (read < bytes) throw new Error('the file ended while it was read.')
    this.#buffer = buffer.subarray(0, read)
    this.#start = position
    this.#at = 0
  }

  #cutShort (): Error { return new Error(`cut short: ${this.size} bytes, but the head goes on.`) }
}
