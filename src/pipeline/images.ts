/** Images in messages: how large they may be, who can see them, and what comes of those that are named by an address. */
import type { Dispatcher } from 'undici'
import type { Config, Locality } from '../config/schema.ts'
import { fetchBytes } from '../egress/fetch.ts'
import { GatewayError, toGatewayError } from '../errors.ts'
import type { ChatRequest } from '../wire/chat.ts'
import { outOfRange, toError, within } from '../wire/check.ts'
import { addressed } from '../wire/conversation.ts'
import { imageHead } from '../wire/image.ts'
import { faultAt, faultOfImage, isRemote, paramOf, picturesIn, picturesInItems, type Picture } from '../wire/pictures.ts'
import type { Need } from './targets.ts'

export interface Images {
  readonly limits: Config['images']
  /** The way to an allowed host. @throws GatewayError `egress_forbidden` beyond the boundary */
  readonly dial: (origin: string, boundary: Locality) => Dispatcher
}

export interface Fetching {
  readonly boundary: Locality
  readonly signal: AbortSignal
}

/** @throws GatewayError that names the image at fault */
export function examine ({ messages }: ChatRequest, { limits }: Images): void {
  const pictures = picturesIn(messages)
  assertFew(pictures.length, 'messages', limits)
  assertGood(pictures, limits)
}

/**
 * The same of items that are no chat. Those before them were looked at when they came; an address can stand only in what a backend said.
 * @throws GatewayError as `examine`
 */
export function examineItems ({ earlier, items }: { readonly earlier: readonly unknown[], readonly items: readonly unknown[] }, { limits }: Images): void {
  const pictures = picturesInItems(items, 'input').filter(picture => !isRemote(picture))
  if (pictures.length === 0) return
  assertFew(pictures.length + picturesInItems(earlier, 'input').length, 'input', limits)
  assertGood(pictures, limits)
}

function assertFew (count: number, where: string, { maxCount }: Images['limits']): void {
  if (count <= maxCount) return
  throw toError(within(where, outOfRange('too many images', `at most ${maxCount} images (images.maxCount), but got ${count}`)))
}

function assertGood (pictures: readonly Picture[], limits: Images['limits']): void {
  for (const picture of pictures) {
    const fault = isRemote(picture) ? faultOfAddress(picture.source.url, limits) : faultOfImage(picture.source.url, limits)
    if (fault !== null) throw toError(faultAt(picture, fault))
  }
}

function faultOfAddress (url: string, { hosts }: Images['limits']) {
  const { protocol, hostname, port } = new URL(url)
  return protocol === 'https:' && port === '' && hosts.includes(hostname) ? null : addressed('the image')
}

/** Null where there is nothing to be seen. */
export function eyes ({ messages }: ChatRequest): Need | null {
  const [first] = picturesIn(messages)
  if (first === undefined) return null
  const param = paramOf(first)
  return {
    isMet: ({ isBlind }, { images }) => images ?? isBlind !== true,
    unmet: model => new GatewayError('unsupported_value', `Unsupported value: '${param}' is an image, and no target of the model \`${model}\` can see images.`, { param })
  }
}

/**
 * Puts data in the place of addresses, so that whoever answers fetches nothing.
 * @throws GatewayError `invalid_value` naming the image, or `egress_forbidden` where the call may not go so far
 */
export async function fetchImages ({ messages }: ChatRequest, { limits, dial }: Images, { boundary, signal }: Fetching): Promise<void> {
  const remote = picturesIn(messages).filter(isRemote)
  if (remote.length === 0) return
  const patience = AbortSignal.any([signal, AbortSignal.timeout(limits.timeoutMs)])
  // One address may stand in many messages of a conversation; it is fetched once, and weighs as often as it stands there.
  const fetched = new Map<string, Buffer>()
  let left = limits.maxBytes
  for (const picture of remote) {
    const { url } = picture.source
    const bytes = fetched.get(url) ?? await fetchOne(picture, dial, { boundary, maxBytes: left, signal: patience })
    fetched.set(url, bytes)
    left -= bytes.length
    if (left < 0) throw unfetched(picture, `together they have more than ${limits.maxBytes} bytes (images.maxBytes)`)
    picture.source.url = dataUrl(bytes, picture, limits)
  }
}

interface OneImage { readonly boundary: Locality, readonly maxBytes: number, readonly signal: AbortSignal }

async function fetchOne (picture: Picture, dial: Images['dial'], { boundary, maxBytes, signal }: OneImage): Promise<Buffer> {
  const url = new URL(picture.source.url)
  try {
    return await fetchBytes(dial(url.origin, boundary), url, { maxBytes, signal })
  } catch (error) {
    const { code, message, cause } = toGatewayError(error)
    if (code === 'internal_error') throw error
    throw new GatewayError(code, message, { param: paramOf(picture), cause })
  }
}

/** What it is says its header; what its host says of it may be anything. */
function dataUrl (bytes: Buffer, picture: Picture, limits: Images['limits']): string {
  const head = imageHead((from, length) => bytes.subarray(from, from + length))
  if (head === null) throw unfetched(picture, 'it is no PNG, JPEG, GIF or WebP')
  const url = `data:${head.type};base64,${bytes.toString('base64')}`
  const fault = faultOfImage(url, limits)
  if (fault !== null) throw toError(faultAt(picture, fault))
  return url
}

function unfetched (picture: Picture, why: string): GatewayError {
  return new GatewayError('invalid_value', `The image could not be fetched: ${why}.`, { param: paramOf(picture) })
}
