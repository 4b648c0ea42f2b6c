import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'

export interface DigestOptions {
  readonly signal?: AbortSignal | undefined
  /** Called with the bytes read so far. */
  readonly onProgress?: ((bytes: number) => void) | undefined
}

/**
 * SHA-256 of a file, in lower-case hex, read in pieces: memory does not grow with the file.
 * @throws what the file system says, or `signal.reason`
 */
export async function sha256OfFile (path: string, { signal, onProgress }: DigestOptions = {}): Promise<string> {
  signal?.throwIfAborted()
  const hash = createHash('sha256')
  let bytes = 0
  const stream = createReadStream(path, { highWaterMark: 1024 * 1024, ...(signal === undefined ? {} : { signal }) })
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      hash.update(chunk)
      bytes += chunk.length
      onProgress?.(bytes)
    }
  } catch (thrown) {
    signal?.throwIfAborted()
    throw thrown
  }
  return hash.digest('hex')
}
