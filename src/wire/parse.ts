/** Bytes of a request to an object that is safe to read, to change and to serialise again. */
import { isUtf8 } from 'node:buffer'
import { scan as scanForPoison } from 'secure-json-parse'
import { GatewayError } from '../errors.ts'
import { scan, SCAN_LIMITS, type ScanLimits } from './scan.ts'

/**
 * Scans, decodes and parses. Of a repeated member the last one wins, as in JSON.parse: what is forwarded is serialised
 * from this object, so policy and backend see the same. Lone surrogates become U+FFFD.
 * @throws GatewayError `invalid_json`, `json_too_deep` or `json_too_complex`; no message holds text of the body
 */
export function parseBody (bytes: Buffer, limits: ScanLimits = SCAN_LIMITS): Record<string, unknown> {
  scan(bytes, limits)
  if (!isUtf8(bytes)) throw invalid('The body is not valid UTF-8.')
  const text = withoutMark(bytes).toString('utf8')
  const body = parse(text)
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw invalid(`The body is ${kindOf(body)}; expected a JSON object.`)
  // Two short searches settle most bodies; the walk over all members is for the few that remain.
  if (text.includes('\\u') || text.includes('proto')) cleanse(body, text)
  return body as Record<string, unknown>
}

/** RFC 8259 lets a parser ignore a byte order mark. */
function withoutMark (bytes: Buffer): Buffer {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    // The cause is left out on purpose: V8 quotes the body in its message.
    throw invalid(whatIsWrong(text, (error as SyntaxError).message))
  }
}

/** V8's words and position without V8's quotation of the body. Positions count UTF-16 units from 0. */
function whatIsWrong (text: string, said: string): string {
  if (text.trim() === '') return 'The body is empty; expected a JSON object.'
  if (said.startsWith('Unexpected end')) return `The body is not valid JSON: it ends too early, at position ${text.length}.`
  const [, words, position] = /^([^"]{1,80}?)(?: in JSON)? at position (\d+)/.exec(said) ?? []
  if (words === undefined) return `The body is not valid JSON: unexpected token at position ${strayToken(text)}.`
  return `The body is not valid JSON: ${words.charAt(0).toLowerCase()}${words.slice(1)} at position ${position}.`
}

/**
 * V8 tells no position when something else stands where a value should. It has accepted everything before, so it is
 * enough to find the first value position that holds no value.
 */
function strayToken (text: string): number {
  let before = ','
  for (let at = 0; at < text.length; at++) {
    const char = text.charAt(at)
    if (' \t\r\n'.includes(char)) continue
    const valueDue = before === ',' || before === ':' || before === '['
    if (char === '"') at = closingQuote(text, at)
    else if (',:}]'.includes(char)) {
      if (valueDue && !(before === '[' && char === ']')) return at
    } else if (char !== '{' && char !== '[') {
      const from = at
      while (at + 1 < text.length && !' \t\r\n,:}]'.includes(text.charAt(at + 1))) at++
      if (!/^(?:true|false|null|-?\d)/.test(text.slice(from, from + 5)) || !valueDue) return from
    }
    before = char
  }
  return text.length
}

function closingQuote (text: string, opening: number): number {
  let at = opening + 1
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at
}

/** An escape can spell any member name, so an escaped ASCII character alone is reason enough to look. */
function cleanse (body: object, text: string): void {
  if (text.includes('\\u00') || text.includes('__proto__') || text.includes('prototype')) refusePoison(body)
  if (text.includes('\\ud') || text.includes('\\uD')) repair(body as Record<string, unknown>)
}

function refusePoison (body: object): void {
  try {
    scanForPoison(body)
  } catch (error) {
    throw new GatewayError('invalid_json', 'The body has a member __proto__ or constructor.prototype, which is not allowed.', { cause: error })
  }
}

/** Lone surrogates become U+FFFD, in names too. As deep as `scan` allows. */
function repair (node: Record<string, unknown>): void {
  for (const name of Object.keys(node)) {
    const value = node[name]
    if (typeof value === 'object' && value !== null) repair(value as Record<string, unknown>)
    else if (typeof value === 'string' && !value.isWellFormed()) node[name] = value.toWellFormed()
    if (!name.isWellFormed()) rename(node, name)
  }
}

function rename (object: Record<string, unknown>, name: string): void {
  object[name.toWellFormed()] = object[name]
  delete object[name]
}

function kindOf (value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  return `a ${typeof value}`
}

function invalid (message: string): GatewayError {
  return new GatewayError('invalid_json', message)
}
