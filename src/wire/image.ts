/**
 * Kind, width and height of an image, from its header alone: nothing is decoded.
 * Sources: PNG 11.2.1 "IHDR"; GIF89a 18 "Logical Screen Descriptor"; ITU T.81 B.2.2 "Frame header"; RFC 9649 "WebP"; read 2026-11-22.
 */

export interface ImageHead { readonly type: 'image/png' | 'image/jpeg' | 'image/gif' | 'image/webp', readonly width: number, readonly height: number }

/** So many bytes from an offset, or fewer at the end. */
export type ReadAt = (from: number, length: number) => Buffer

/** A JPEG has a few segments before its frame; more is a riddle. */
const MOST_SEGMENTS = 256

/** Null for what is no PNG, JPEG, GIF or WebP, and for one without a size. */
export function imageHead (readAt: ReadAt): ImageHead | null {
  const head = readAt(0, 30)
  const found = pngHead(head) ?? gifHead(head) ?? webpHead(head) ?? jpegHead(readAt, head)
  return found === null || found.width === 0 || found.height === 0 ? null : found
}

/** The bytes of base64, each read decoding no more than it needs. */
export function base64Reader (text: string, start: number): ReadAt {
  return (from, length) => {
    const skipped = from % 3
    const at = start + (from - skipped) / 3 * 4
    return Buffer.from(text.slice(at, at + Math.ceil((length + skipped) / 3) * 4), 'base64').subarray(skipped, skipped + length)
  }
}

function pngHead (head: Buffer): ImageHead | null {
  if (head.length < 24 || head.toString('latin1', 0, 8) !== '\x89PNG\r\n\x1a\n' || head.toString('latin1', 12, 16) !== 'IHDR') return null
  return { type: 'image/png', width: head.readUInt32BE(16), height: head.readUInt32BE(20) }
}

function gifHead (head: Buffer): ImageHead | null {
  if (head.length < 10 || !/^GIF8[79]a$/.test(head.toString('latin1', 0, 6))) return null
  return { type: 'image/gif', width: head.readUInt16LE(6), height: head.readUInt16LE(8) }
}

function webpHead (head: Buffer): ImageHead | null {
  if (head.length < 30 || head.toString('latin1', 0, 4) !== 'RIFF' || head.toString('latin1', 8, 12) !== 'WEBP') return null
  const type = 'image/webp'
  switch (head.toString('latin1', 12, 16)) {
    case 'VP8 ': return { type, width: head.readUInt16LE(26) & 0x3fff, height: head.readUInt16LE(28) & 0x3fff }
    case 'VP8L': return { type, ...sizeOfLossless(head.readUInt32LE(21)) }
    case 'VP8X': return { type, width: head.readUIntLE(24, 3) + 1, height: head.readUIntLE(27, 3) + 1 }
    default: return null
  }
}

function sizeOfLossless (bits: number): { width: number, height: number } {
  return { width: (bits & 0x3fff) + 1, height: (bits >>> 14 & 0x3fff) + 1 }
}

function jpegHead (readAt: ReadAt, head: Buffer): ImageHead | null {
  if (head.length < 4 || head.readUInt16BE(0) !== 0xffd8) return null
  for (let at = 2, segment = 0; segment < MOST_SEGMENTS; segment++) {
    const marker = readAt(at, 9)
    if (marker.length < 9 || marker[0] !== 0xff) return null
    const code = marker[1]!
    if (code === 0xff) at++
    else if (isFrame(code)) return { type: 'image/jpeg', height: marker.readUInt16BE(5), width: marker.readUInt16BE(7) }
    else if (code === 0xda || code === 0xd9) return null
    else at += 2 + marker.readUInt16BE(2)
  }
  return null
}

/** SOF0 to SOF15, but for DHT, JPG and DAC, which stand among them. */
function isFrame (code: number): boolean {
  return code >= 0xc0 && code <= 0xcf && code !== 0xc4 && code !== 0xc8 && code !== 0xcc
}
