/** Sets of code points, as sorted, disjoint, inclusive ranges. */
export type Ranges = readonly (readonly [first: number, last: number])[]

/** Every character that JSON text can hold: all code points but the surrogates. */
export const UNIVERSE: Ranges = [[0, 0xD7FF], [0xE000, 0x10FFFF]]

export function union (...sets: readonly Ranges[]): Ranges {
  const sorted = sets.flat().toSorted((a, b) => a[0] - b[0])
  const merged: [number, number][] = []
  for (const [first, last] of sorted) {
    const previous = merged.at(-1)
    if (previous !== undefined && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last)
    else merged.push([first, last])
  }
  return merged
}

/** All of `set` that is not in `without`. */
export function minus (set: Ranges, without: Ranges): Ranges {
  const left: [number, number][] = []
  for (const [first, last] of set) {
    let from = first
    for (const [start, end] of without) {
      if (end < from || start > last) continue
      if (start > from) left.push([from, start - 1])
      from = end + 1
    }
    if (from <= last) left.push([from, last])
  }
  return left
}

export function complement (set: Ranges): Ranges { return minus(UNIVERSE, set) }

export function intersection (a: Ranges, b: Ranges): Ranges { return minus(a, complement(b)) }

/** @param pattern characters and spans, as `a-zA-Z_`; a `-` at the end is itself */
export function charsOf (pattern: string): Ranges {
  const points = [...pattern].map(character => character.codePointAt(0)!)
  const ranges: [number, number][] = []
  for (let at = 0; at < points.length; at++) {
    const isSpan = points[at + 1] === 0x2D && at + 2 < points.length
    ranges.push([points[at]!, points[isSpan ? at + 2 : at]!])
    if (isSpan) at += 2
  }
  return union(ranges)
}
