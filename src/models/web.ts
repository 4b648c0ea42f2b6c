/** GET over HTTP for downloads alone: redirects followed here, so that a key never goes where it does not belong. */
import { request as requestHttp, type IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import { BlockList, isIP } from 'node:net'
import { VERSION } from '../version.ts'

export interface WebOptions {
  readonly signal: AbortSignal
  readonly headers?: Readonly<Record<string, string>>
  /** Sent to `origin` and to no other, whatever redirects where. */
  readonly token?: Token | null
  /** Longest silence: while connecting, before the headers and between bytes. */
  readonly idleMs?: number
}

export interface Token { readonly origin: string, readonly value: string }

export interface Reply {
  readonly url: URL
  readonly status: number
  readonly headers: IncomingMessage['headers']
  /** Headers of the first answer: that of the hub, before it sends us to where the bytes lie. */
  readonly first: IncomingMessage['headers']
  readonly body: IncomingMessage
}

/** Worth another try: the network or the server failed, not the request. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
  /** What the server asked for; null leaves it to us. */
  readonly retryAfterMs: number | null

  constructor (message: string, { retryAfterMs = null, cause }: { retryAfterMs?: number | null, cause?: unknown } = {}) {
    super(message, { cause })
    this.retryAfterMs = retryAfterMs
  }
}

const MAX_REDIRECTS = 10
const IDLE_MS = 30_000

/**
 * @returns an answer whose body the caller reads to its end or destroys
 * @throws Interrupted for what may pass; Error for a redirect out of bounds; `signal.reason`
 */
export async function get (start: URL, options: WebOptions): Promise<Reply> {
  let url = start
  let first: IncomingMessage['headers'] | null = null
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const body = await getOnce(url, options)
    first ??= body.headers
    const status = body.statusCode ?? 0
    const { location } = body.headers
    if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return { url, status, headers: body.headers, first, body }
    body.destroy()
    url = nextHop(url, location)
  }
  throw new Error(`${start.host} redirects more than ${MAX_REDIRECTS} times.`)
}

/** From https never back to http, and from the network never to this host: only what began on loopback may stay there in the clear. */
function nextHop (from: URL, location: string): URL {
  if (!URL.canParse(location, from)) throw new Error(`${from.host} redirects to what is no URL.`)
  const to = new URL(location, from)
  const clear = to.protocol === 'http:' && isLoopback(to) && isLoopback(from)
  if (to.protocol !== 'https:' && !clear) throw new Error(`${from.host} redirects to ${to.protocol}//${to.host}; only https:// is followed.`)
  return to
}

function getOnce (url: URL, { signal, headers = {}, token = null, idleMs = IDLE_MS }: WebOptions): Promise<IncomingMessage> {
  signal.throwIfAborted()
  const credentials = token !== null && token.origin === url.origin ? { authorization: `Bearer ${token.value}` } : {}
  const all = { 'user-agent': `torchgate/${VERSION}`, 'accept-encoding': 'identity', ...headers, ...credentials }
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  let answer: IncomingMessage | null = null
  const start = url.protocol === 'https:' ? requestHttps : requestHttp
  const request = start(url, { headers: all, signal, timeout: idleMs }, response => {
    answer = response
    resolve(response)
  })
  request.on('timeout', () => {
    const silence = new Interrupted(`${url.host} was silent for ${idleMs / 1000} s.`)
    // Whoever reads the body learns only what the body is ended with.
    answer?.destroy(silence)
    request.destroy(silence)
  })
  // Also after the answer has begun: then the body's reader is told, and this one has nothing more to say.
  request.on('error', error => { reject(signal.aborted ? signal.reason : faultOf(error, url)) })
  request.end()
  return promise
}

/** What may well work the next time; a name that does not exist or a certificate that does not fit will not. */
const PASSING: ReadonlySet<string> = new Set(['ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN', 'ERR_STREAM_PREMATURE_CLOSE'])

export function faultOf (thrown: unknown, { host }: URL): Error {
  if (thrown instanceof Interrupted) return thrown
  const { code = '', message } = thrown as NodeJS.ErrnoException
  if (PASSING.has(code) || message === 'aborted') return new Interrupted(`${host}: the connection broke (${code || 'closed'}).`, { cause: thrown })
  if (code === 'ENOTFOUND') return new Error(`${host}: there is no such host.`, { cause: thrown })
  return new Error(`${host}: ${message}`, { cause: thrown })
}

const LARGEST_TEXT_BYTES = 16 * 1024 * 1024

/** @throws Error beyond 16 MiB; Interrupted when it breaks off */
export async function textOf ({ body, url }: Reply): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > LARGEST_TEXT_BYTES) throw new Error(`${url.host}: the listing is longer than ${LARGEST_TEXT_BYTES} bytes.`)
      chunks.push(chunk)
    }
  } catch (thrown) {
    throw faultOf(thrown, url)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Seconds or a date -> milliseconds; null when it says neither. */
export function pauseAskedFor (header: string | undefined, nowMs = Date.now()): number | null {
  if (header === undefined) return null
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000
  const date = Date.parse(header)
  return Number.isNaN(date) ? null : Math.max(0, date - nowMs)
}

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

export function isLoopback ({ hostname }: URL): boolean {
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const family = isIP(host)
  return family === 0 ? host === 'localhost' : LOOPBACK.check(host, family === 4 ? 'ipv4' : 'ipv6')
}
