/** Markers that are control tokens: a tokenizer shows nothing of them, and a parser has to see them. */
import type { Detokenize } from '../text.ts'

interface Tokenizer {
  tokenize (text: string): number[]
  detokenize: Detokenize
}

/** @returns those of `texts` that are one token, and one that is not shown */
export function markersOf (texts: readonly string[], tokenizer: Tokenizer): Map<number, string> {
  const markers = new Map<number, string>()
  for (const text of texts) {
    const [token, ...more] = tokenizer.tokenize(text)
    if (token !== undefined && more.length === 0 && tokenizer.detokenize([token], []) === '') markers.set(token, text)
  }
  return markers
}

export function showing (markers: ReadonlyMap<number, string>, detokenize: Detokenize): Detokenize {
  if (markers.size === 0) return detokenize
  return function show (tokens, before): string {
    const at = tokens.findIndex(token => markers.has(token))
    if (at < 0) return detokenize(tokens, before)
    const rest = tokens.slice(at + 1)
    const shown = (at === 0 ? '' : detokenize(tokens.slice(0, at), before)) + markers.get(tokens[at]!)!
    return rest.length === 0 ? shown : shown + show(rest, [])
  }
}
