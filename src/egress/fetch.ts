/** One small file from elsewhere, whole or not at all. */
import type { Dispatcher } from 'undici'
import { GatewayError } from '../errors.ts'

export interface FetchOptions {
  readonly maxBytes: number
  /** Aborts when nobody wants it any more, or it took too long. */
  readonly signal: AbortSignal
}

/**
 * Never follows a redirect: where it leads was not looked at.
 * @throws GatewayError `invalid_value`, whose message says what went wrong and not where
 */
export async function fetchBytes (dispatcher: Dispatcher, url: URL, { maxBytes, signal }: FetchOptions): Promise<Buffer> {
  try {
    const headers = { 'user-agent': 'torchgate', accept: 'image/png, image/jpeg, image/gif, image/webp', 'accept-encoding': 'identity' }
    const { statusCode, headers: answered, body } = await dispatcher.request({ origin: url.origin, path: url.pathname + url.search, method: 'GET', headers, signal })
    const isGood = statusCode === 200 && ['identity', ''].includes(String(answered['content-encoding'] ?? ''))
    if (!isGood || Number(answered['content-length'] ?? 0) > maxBytes) {
      body.on('error', () => {}).destroy()
      throw unfetched(statusCode === 200 ? isGood ? `it has more than ${maxBytes} bytes` : 'it came compressed' : `its host answered ${statusCode}`)
    }
    const pieces: Buffer[] = []
    let length = 0
    for await (const piece of body as AsyncIterable<Buffer>) {
      length += piece.length
      if (length > maxBytes) throw unfetched(`it has more than ${maxBytes} bytes`)
      pieces.push(piece)
    }
    return Buffer.concat(pieces)
  } catch (error) {
    if (error instanceof GatewayError) throw error
    throw unfetched(signal.aborted ? 'it took too long' : 'its host did not answer', error)
  }
}

function unfetched (why: string, cause?: unknown): GatewayError {
  return new GatewayError('invalid_value', `The image could not be fetched: ${why}.`, { cause })
}
