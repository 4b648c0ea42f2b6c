/**
 * One look over the raw bytes of a body before JSON.parse sees them. V8 parses half a million brackets without
 * complaint and then breaks in JSON.stringify, so depth and count are bounded here, where refusing costs a millisecond.
 */
import { GatewayError } from '../errors.ts'

export interface ScanLimits {
  /** Objects and arrays inside one another. */
  readonly depth: number
  /** Objects, arrays and commas together. */
  readonly structures: number
}

export const SCAN_LIMITS: ScanLimits = { depth: 64, structures: 200_000 }

const QUOTE = 0x22
const COMMA = 0x2c
const BACKSLASH = 0x5c

/** Bytes of a string to walk before `indexOf` is called, which costs about as much. */
const SHORT = 64
/** And after an escaped quote, so that a string full of them does not call it for every two bytes. */
const STRIDE = 256

/**
 * Counts exactly on valid JSON. Of other bytes it sees what JSON.parse sees up to the first mistake, which is as far as that goes.
 * @throws GatewayError `json_too_deep` or `json_too_complex` at the first byte beyond a limit
 */
export function scan (bytes: Buffer, limits: ScanLimits = SCAN_LIMITS): void {
  const seen = { depth: 0, structures: 0 }
  let at = 0
  while (at < bytes.length) {
    at = walk(bytes, at, seen, limits)
    if (at < bytes.length) at = endOfString(bytes, at)
  }
}

/**
 * Counts until the end, or until a string turns out to be long, and then returns the index it has reached in the string.
 * There is no call in its loop on purpose: with one, V8 loads the buffer anew for every byte and takes twice as long.
 */
function walk (bytes: Buffer, from: number, seen: { depth: number, structures: number }, limits: ScanLimits): number {
  const { depth: deepest, structures: most } = limits
  const end = bytes.length
  let { depth, structures } = seen
  let isLong = false
  let at = from
  while (at < end && !isLong) {
    const byte = bytes[at++]!
    if (byte === QUOTE) {
      const pause = at + SHORT < end ? at + SHORT : end
      isLong = true
      while (at < pause && isLong) {
        const inner = bytes[at++]
        if (inner === QUOTE) isLong = false
        else if (inner === BACKSLASH) at++
      }
    } else if (byte === COMMA) {
      if (++structures > most) throw tooComplex(most)
    } else if ((byte | 0x20) === 0x7b) { // [ or {
      if (++depth > deepest) throw tooDeep(deepest)
      if (++structures > most) throw tooComplex(most)
    } else if ((byte | 0x20) === 0x7d) depth-- // ] or }
  }
  seen.depth = depth
  seen.structures = structures
  return at
}

/** The index after the closing quote, or the length of `bytes` if there is none. `from` lies in the string, with no escape open. */
function endOfString (bytes: Buffer, from: number): number {
  const end = bytes.length
  let at = from
  while (at < end) {
    const quote = bytes.indexOf(QUOTE, at)
    if (quote === -1) return end
    if (!isEscaped(bytes, quote, at)) return quote + 1
    at = quote + 1
    const pause = at + STRIDE < end ? at + STRIDE : end
    while (at < pause) {
      const byte = bytes[at++]
      if (byte === QUOTE) return at
      if (byte === BACKSLASH) at++
    }
  }
  return end
}

/** `from` is where no escape is open. */
function isEscaped (bytes: Buffer, quote: number, from: number): boolean {
  let first = quote
  while (first > from && bytes[first - 1] === BACKSLASH) first--
  return (quote - first) % 2 === 1
}

function tooDeep (limit: number): GatewayError {
  return new GatewayError('json_too_deep', `The body is nested deeper than ${limit} levels.`)
}

function tooComplex (limit: number): GatewayError {
  return new GatewayError('json_too_complex', `The body has more than ${limit} objects, arrays and members.`)
}
