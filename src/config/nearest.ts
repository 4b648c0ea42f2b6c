const LONGEST = 64

/** The known word a writer most likely meant, or null. `context_tokens` and `contexttokens` both mean `contextTokens`. */
export function nearest (written: string, known: readonly string[]): string | null {
  if (written.length > LONGEST) return null
  const plain = plainly(written)
  let best: string | null = null
  let shortest = Math.max(1, Math.floor(plain.length / 3)) + 1
  for (const word of known) {
    const away = distance(plain, plainly(word))
    if (away < shortest) [best, shortest] = [word, away]
  }
  return best
}

function plainly (word: string): string { return word.toLowerCase().replaceAll(/[_-]/g, '') }

/** Letters to change, add, drop or swap with their neighbour (optimal string alignment), one row at a time. */
function distance (a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1, swapped ? before[j - 2]! + 1 : Infinity))
    }
    ;[before, row] = [row, next]
  }
  return row[b.length]!
}
