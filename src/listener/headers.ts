/** Headers that may come once. What stands before this gateway may have looked at the other one, so two are refused. */
import type { IncomingMessage } from 'node:http'
import { GatewayError } from '../errors.ts'

/** `malformed_request` where there is not one; HTTP/1.0 needs none. */
export function faultOfHost ({ rawHeaders, httpVersionMinor }: IncomingMessage): GatewayError | undefined {
  const hosts = times(rawHeaders, 'host')
  if (hosts === 1 || (hosts === 0 && httpVersionMinor === 0)) return undefined
  return new GatewayError('malformed_request', `Expected one Host header, got ${hosts}.`)
}

/** Longer ones are cut off. */
const MOST_OF_AN_ID = 128

/**
 * What the caller, or what stands before the gateway, calls this request; null when nobody calls it anything. It names nothing here
 * and is only repeated, so whatever could be more than a name in a header or a log becomes `?`.
 */
export function clientIdOf ({ headers }: IncomingMessage): string | null {
  const said = headers['x-client-request-id'] ?? headers['x-request-id']
  return typeof said === 'string' && said !== '' ? said.slice(0, MOST_OF_AN_ID).replace(/[^\w.:+/=@-]/g, '?') : null
}

/** How many gateways like this one a call has come through: the number it came with, and one more where it goes on. */
export const HOPS_HEADER = 'x-torchgate-hops'

/**
 * Zero where the header is missing.
 * @throws GatewayError `loop_detected` beyond `most`, `invalid_value` for what is no number
 */
export function hopsOf ({ headers }: IncomingMessage, most: number): number {
  const said = headers[HOPS_HEADER]
  if (said === undefined) return 0
  if (typeof said !== 'string' || !/^\d{1,4}$/.test(said)) throw new GatewayError('invalid_value', `${HOPS_HEADER}: expected a whole number.`, { param: HOPS_HEADER })
  const hops = Number(said)
  if (hops > most) throw new GatewayError('loop_detected', `The call came through ${hops} gateways, and server.maxHops is ${most}. A backend of one of them leads back here, or the chain is longer than meant.`)
  return hops
}

/**
 * The key in `Authorization: Bearer`, or in `x-api-key` as Anthropic's clients send it; undefined or empty when there is none.
 * @throws GatewayError `invalid_api_key` for another scheme, for several headers of one kind and for two different keys
 */
export function credentialOf (message: IncomingMessage): string | undefined {
  const bearer = bearerOf(message)
  const { rawHeaders, headers: { 'x-api-key': header } } = message
  if (header === undefined) return bearer
  if (times(rawHeaders, 'x-api-key') > 1) throw new GatewayError('invalid_api_key', 'Expected one x-api-key header, got several.')
  const key = (header as string).trim()
  if (bearer === undefined || bearer === '' || bearer === key) return key
  if (key === '') return bearer
  throw new GatewayError('invalid_api_key', 'Authorization and x-api-key hold different keys; send one of them.')
}

function bearerOf ({ rawHeaders, headers: { authorization } }: IncomingMessage): string | undefined {
  if (authorization === undefined) return undefined
  if (times(rawHeaders, 'authorization') > 1) throw new GatewayError('invalid_api_key', 'Expected one Authorization header, got several.')
  const bearer = /^bearer(?: +(\S*))?$/i.exec(authorization)
  if (bearer === null) throw new GatewayError('invalid_api_key', 'Expected "Authorization: Bearer" and a key, got something else.')
  return bearer[1]
}

/** Node keeps the first of several and shows the others only here: names and values by turns, as they came. */
function times (rawHeaders: readonly string[], name: string): number {
  let count = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const given = rawHeaders[at]!
    if (given.length === name.length && given.toLowerCase() === name) count++
  }
  return count
}
