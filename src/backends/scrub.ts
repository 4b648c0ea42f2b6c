/** What a backend said, made fit for a log and for a caller: bounded, on one line, without keys and without the prompt. */

const MAX_MESSAGE_LENGTH = 500
/** Read before scrubbing, so that a key cut in half at the end is still seen whole. */
const MAX_READ_LENGTH = 2_000
/** Shortest piece of a secret that is taken out. What is shorter as a whole (`EMPTY`, `none`) is no secret. */
const SECRET_PIECE = 8
/** A quote of the request is found when it is twice this long, and sometimes when it is shorter. */
const QUOTE_PIECE = 16
/** In a longer request the search would take too long; then nothing is quoted at all. */
const MAX_SEARCHED_LENGTH = 1_048_576
/** Names of parameters, models and functions look like this; they may be quoted. */
const NAME = /^[\w.\-/:@[\]'"`,]{1,64}$/
/** What codes and paths of parameters are made of: `unsupported_value`, `messages[2].content`. */
const IDENTIFIER = /^[A-Za-z0-9_.[\]-]{1,64}$/

export interface Confidential {
  readonly secrets: readonly string[]
  /** The request as it was sent. */
  readonly body: string
}

export function scrub (message: string, { secrets, body }: Confidential): string {
  let text = message.slice(0, MAX_READ_LENGTH).replaceAll(/\s+/g, ' ').trim()
  for (const secret of secrets) text = withoutSecret(text, secret)
  text = withoutQuotes(text, body)
  return text.length <= MAX_MESSAGE_LENGTH ? text : `${text.slice(0, MAX_MESSAGE_LENGTH - 1)}…`
}

/** A code or a path of a parameter as it came, or null: what looks like neither says nothing that a caller could use. */
export function identifier (value: string | number | null, { secrets }: Confidential): string | null {
  const text = String(value ?? '')
  return IDENTIFIER.test(text) && secrets.every(secret => withoutSecret(text, secret) === text) ? text : null
}

/** Takes out every run of 8 characters or more that also stands in the secret; providers like to echo half of a key. */
function withoutSecret (text: string, secret: string): string {
  let kept = ''
  let at = 0
  while (at < text.length) {
    const found = at + SECRET_PIECE <= text.length ? secret.indexOf(text.slice(at, at + SECRET_PIECE)) : -1
    if (found === -1) {
      kept += text[at++]
    } else {
      at += commonLength(text, at, secret, found)
      kept += '[redacted]'
    }
  }
  return kept
}

function withoutQuotes (text: string, body: string): string {
  if (body.length > MAX_SEARCHED_LENGTH) return '(message withheld: the request is too long to tell whether it is quoted)'
  let kept = ''
  let from = 0
  for (let at = 0; at + QUOTE_PIECE <= text.length; at += QUOTE_PIECE) {
    if (at < from) continue
    const found = body.indexOf(text.slice(at, at + QUOTE_PIECE))
    if (found === -1) continue
    const before = Math.min(at - from, commonLengthBackwards(text, at, body, found))
    const start = at - before
    const end = at + commonLength(text, at, body, found)
    if (NAME.test(text.slice(start, end).trim())) continue
    kept += `${text.slice(from, start)}[…]`
    from = end
  }
  return kept + text.slice(from)
}

function commonLength (a: string, atA: number, b: string, atB: number): number {
  let length = 0
  while (atA + length < a.length && atB + length < b.length && a[atA + length] === b[atB + length]) length++
  return length
}

function commonLengthBackwards (a: string, atA: number, b: string, atB: number): number {
  let length = 0
  while (atA - length > 0 && atB - length > 0 && a[atA - length - 1] === b[atB - length - 1]) length++
  return length
}
