/** The bytes of a piece of a vocabulary that is no whole character, from the way in which it is written there. */

/**
 * `<0xE2>` in a vocabulary of SentencePiece; in one of byte-level BPE each byte is a character.
 * @returns null when it is written in neither way
 */
export function bytesOfPiece (piece: string): number[] | null {
  const byte = /^<0x([0-9A-F]{2})>$/.exec(piece)
  if (byte !== null) return [Number.parseInt(byte[1]!, 16)]
  const bytes = Array.from(piece, character => BYTES.get(character))
  return bytes.every(one => one !== undefined) ? bytes : null
}

/** Printable Latin-1 stands for itself, the other bytes follow from U+0100 on. Source: `bytes_to_unicode` of GPT-2's encoder.py. */
const BYTES = new Map(byteCharacters())

function * byteCharacters (): Generator<[character: string, byte: number]> {
  let next = 0x100
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte !== 0xAD)
    yield [String.fromCharCode(isPrintable ? byte : next++), byte]
  }
}
