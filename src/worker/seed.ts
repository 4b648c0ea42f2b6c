/**
 * Each place of an answer has a seed of its own, drawn from that of the answer. So an answer that is taken up in the
 * middle goes on as it would have, without the draws before it. The finaliser of MurmurHash3, over a Weyl sequence.
 * @param seed 32 bits, unsigned
 * @param place how many tokens stand before it
 * @returns less than 2^32 - 1, by which llama.cpp means "draw one yourself"
 */
export function seedAt (seed: number, place: number): number {
  let mixed = (seed + Math.imul(place, 0x9E3779B9)) | 0
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85EBCA6B)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xC2B2AE35)
  return ((mixed ^ (mixed >>> 16)) >>> 0) % (2 ** 32 - 1)
}
