/** Values that are listed one by one, each as JSON.stringify writes it. */
import { text, type Choice, type Sequence } from './gbnf.ts'
import type { Rules } from './rules.ts'

/**
 * Values with a common beginning share it: what a model may write next is looked up for each way that is still open,
 * and with a thousand of them that would take a second per token.
 */
export function listed (rules: Rules, values: readonly unknown[]): Choice {
  const texts = [...new Set(values.map(value => JSON.stringify(value)))].toSorted()
  return branch(rules, texts, 0)
}

/** @param texts sorted, all with the same first `from` characters */
function branch (rules: Rules, texts: readonly string[], from: number): Sequence[] {
  const choice: Sequence[] = []
  for (let at = 0; at < texts.length;) {
    const first = texts[at]!
    let end = at + 1
    while (end < texts.length && texts[end]!.length > from && texts[end]![from] === first[from]) end++
    const group = texts.slice(at, end)
    at = end
    if (group.length === 1) { choice.push([text(first.slice(from))]); continue }
    const shared = sharedLength(group)
    const rest = branch(rules, group.filter(one => one.length > shared), shared)
    if (group[0]!.length === shared) rest.push([])
    choice.push([text(first.slice(from, shared)), ...rules.choice('value', rest)])
  }
  return choice
}

/** Of sorted texts, what the first and the last begin with; never half a character. */
function sharedLength (sorted: readonly string[]): number {
  const [first, last] = [sorted[0]!, sorted.at(-1)!]
  let length = 0
  while (length < first.length && first[length] === last[length]) length++
  return length > 0 && /[\uD800-\uDBFF]/.test(first[length - 1]!) ? length - 1 : length
}
