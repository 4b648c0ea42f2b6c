import { createHmac, randomInt, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'

/**
 * An API key reads `tg_live_<id>_<secret>_<checksum>`, all base62. The id finds the row, the secret (190 bits) is stored
 * only as an HMAC, and the checksum turns junk away before any store is asked. The prefix lets secret scanners find it.
 */
const PREFIX = 'tg_live_'
const ID_LENGTH = 12
const SECRET_LENGTH = 32
const CHECKSUM_LENGTH = 6
/** Of every key, exactly. */
export const KEY_LENGTH = PREFIX.length + ID_LENGTH + 1 + SECRET_LENGTH + 1 + CHECKSUM_LENGTH
const SHAPE = /^tg_live_([0-9A-Za-z]{12})_([0-9A-Za-z]{32})_([0-9A-Za-z]{6})$/
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** Well-formed, not yet known to be good. */
export interface ParsedKey { readonly id: string, readonly secret: string }

/** The plaintext exists here only; whoever makes a key shows it once and keeps the HMAC. */
export interface NewKey { readonly key: string, readonly id: string, readonly hmac: string }

export function createKey (pepper: Buffer): NewKey {
  const id = randomText(ID_LENGTH)
  const secret = randomText(SECRET_LENGTH)
  return { key: formatKey({ id, secret }), id, hmac: hmacOf(pepper, secret).toString('hex') }
}

export function formatKey ({ id, secret }: ParsedKey): string {
  const body = `${PREFIX}${id}_${secret}`
  return `${body}_${checksumOf(body)}`
}

/** Null for anything that no `createKey` made, after looking at 60 characters at most. */
export function parseKey (text: string): ParsedKey | null {
  if (text.length !== KEY_LENGTH) return null
  const match = SHAPE.exec(text)
  if (match === null || checksumOf(text.slice(0, -CHECKSUM_LENGTH - 1)) !== match[3]) return null
  return { id: match[1] as string, secret: match[2] as string }
}

/** HMAC-SHA-256. A slow hash would add nothing to 190 random bits but a way to exhaust the gateway. */
export function hmacOf (pepper: Buffer, secret: string): Buffer {
  return createHmac('sha256', pepper).update(secret).digest()
}

const HMAC_BYTES = 32
const NO_HMAC = '00'.repeat(HMAC_BYTES)

/**
 * Does the same work whether the row exists or not, so that time does not tell which ids do.
 * @param stored hex; null when there is no such key, for which the answer is false
 */
export function isSecretOf (stored: string | null, pepper: Buffer, secret: string): boolean {
  const expected = Buffer.from(stored ?? NO_HMAC, 'hex')
  const actual = hmacOf(pepper, secret)
  // A damaged row has another length, which timingSafeEqual would throw at.
  return expected.length === HMAC_BYTES && timingSafeEqual(expected, actual) && stored !== null
}

/** What may be shown of a key: `tg_live_ab12…`. The id is no secret, but a few characters are enough to tell keys apart. */
export function maskOf (id: string): string {
  return `${PREFIX}${id.slice(0, 4)}…`
}

function randomText (length: number): string {
  return Array.from({ length }, () => BASE62[randomInt(BASE62.length)]).join('')
}

function checksumOf (body: string): string {
  let rest = crc32(body)
  let text = ''
  for (let digit = 0; digit < CHECKSUM_LENGTH; digit++) {
    text = BASE62.charAt(rest % 62) + text
    rest = Math.floor(rest / 62)
  }
  return text
}
