/** Arrays as JSON text: a prefix of items with schemas of their own, then any number of items of one kind. */
import { space, type Context } from './object.ts'
import { text, type Choice, type Rule, type Sequence } from './gbnf.ts'
import type { Rules } from './rules.ts'
import type { Shape } from './shape.ts'

export function arrayChoice (context: Context, shape: Shape): Choice {
  const { rules } = context
  const { prefix, minItems, maxItems } = shape
  if (minItems > maxItems) return []
  const fixed = prefix.slice(0, maxItems).map(nodes => context.value(nodes))
  const item = maxItems > fixed.length ? furtherItem(context, shape) : null
  if (item === null && minItems > fixed.length) return []
  const empty: Choice = minItems === 0 ? [[text('[]')]] : []
  if (fixed.length > 0) return [...empty, [text('['), ...tuple(rules, fixed, furtherItems(rules, item, minItems - fixed.length, maxItems - fixed.length), minItems)]]
  if (item === null) return empty
  return [...empty, [text('['), item, ...furtherItems(rules, item, minItems - 1, maxItems - 1)]]
}

/** The kind of items after the prefix, if there may be any. */
function furtherItem (context: Context, { prefix, items, minItems }: Shape): Rule | null {
  // A tuple without a word on further items has none: valid, and what was meant.
  const isOpen = items === null ? prefix.length === 0 || minItems > prefix.length : !items.some(({ schema }) => schema === false)
  return isOpen ? context.value(items ?? []) : null
}

function furtherItems (rules: Rules, item: Rule | null, least: number, most: number): Sequence {
  if (item === null) return [text(']')]
  return [...rules.times(rules.rule('item', [[...comma(rules), item]]), Math.max(0, least), most), text(']')]
}

/** From the last item to the first, each with what may follow it. */
function tuple (rules: Rules, fixed: readonly Rule[], after: Sequence, minItems: number): Sequence {
  let rest: Sequence = after
  for (let i = fixed.length - 1; i > 0; i--) {
    const here: Sequence = [...comma(rules), fixed[i]!, ...rest]
    rest = i < minItems ? here : [rules.rule('items', [[text(']')], here])]
  }
  return [fixed[0]!, ...rest]
}

function comma (rules: Rules): Sequence { return [text(','), space(rules)] }
