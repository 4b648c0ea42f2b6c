/** The images in the messages of a chat, and what of them is too much. */
import { invalidValue, within, type Fault, type Members } from './check.ts'
import { base64Reader, imageHead } from './image.ts'

export interface ImageLimits { readonly maxBytes: number, readonly maxPixels: number, readonly maxCount: number }

/** One image part of a message. `source.url` is a data URL, or an https address. */
export interface Picture {
  readonly source: { url: string }
  readonly path: readonly (string | number)[]
}

/** @param messages checked */
export function picturesIn (messages: readonly unknown[]): Picture[] {
  const pictures: Picture[] = []
  for (const [at, message] of messages.entries()) {
    const { content } = message as Members
    if (!Array.isArray(content)) continue
    for (const [part, { type, image_url: source }] of (content as Members[]).entries()) {
      if (type === 'image_url') pictures.push({ source: source as { url: string }, path: ['messages', at, 'content', part, 'image_url', 'url'] })
    }
  }
  return pictures
}

/** Of items of a response, wherever in them they stand. Their paths begin with `root`. */
export function picturesInItems (items: readonly unknown[], root: string): Picture[] {
  const pictures: Picture[] = []
  const look = (value: unknown, path: readonly (string | number)[]): void => {
    if (typeof value !== 'object' || value === null) return
    for (const [name, member] of Object.entries(value)) {
      const at = [...path, Array.isArray(value) ? Number(name) : name]
      if (name === 'image_url' && typeof member === 'string') pictures.push({ source: { url: member }, path: at })
      else look(member, at)
    }
  }
  look(items, [root])
  return pictures
}

export function isRemote ({ source }: Picture): boolean { return !/^data:/i.test(source.url.slice(0, 5)) }

/** A fault with the path of the picture. */
export function faultAt ({ path }: Picture, fault: Fault): Fault { return path.reduceRight<Fault>((inner, step) => within(step, inner), fault) }

/** `messages[0].content[1].image_url.url` */
export function paramOf (picture: Picture): string { return faultAt(picture, invalidValue('')).path }

const DATA_URL = /^data:image\/(png|jpe?g|gif|webp)(;[^,;]{0,100})*?;base64,/i
const HEAD = 256

/** What is wrong with an image that came as data; null where nothing is. Reads its header and no more. */
export function faultOfImage (url: string, { maxBytes, maxPixels }: ImageLimits): Fault | null {
  const [head] = DATA_URL.exec(url.slice(0, HEAD)) ?? []
  if (head === undefined) return invalidValue('expected an image of the type image/png, image/jpeg, image/gif or image/webp.')
  const padding = url.endsWith('==') ? 2 : url.endsWith('=') ? 1 : 0
  const bytes = Math.floor((url.length - head.length) * 3 / 4) - padding
  if (bytes > maxBytes) return invalidValue(`the image has ${bytes} bytes, and ${maxBytes} are allowed (images.maxBytes).`)
  const found = imageHead(base64Reader(url, head.length))
  if (found === null) return invalidValue('the image cannot be read: it has no whole header of a PNG, JPEG, GIF or WebP in plain base64.')
  const { width, height } = found
  if (width * height > maxPixels) return invalidValue(`the image has ${width} x ${height} pixels, and ${maxPixels} are allowed (images.maxPixels).`)
  return null
}
