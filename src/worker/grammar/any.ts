/** Any JSON at all. The depth is bounded, because what reads it has a bound as well. */
import { anyNumber } from './number.ts'
import { space } from './object.ts'
import { text, type Rule, type Sequence } from './gbnf.ts'
import type { Rules } from './rules.ts'
import { plainString } from './string.ts'

/** Objects and arrays within each other, where a schema does not say. */
const MAX_DEPTH = 16

export function anyValue (rules: Rules): Rule { return rules.shared('any-value', () => [[nested(rules).value]]) }
export function anyObject (rules: Rules): Rule { return rules.shared('any-object', () => [[nested(rules).object]]) }

/** From the innermost value to the outermost. */
function nested (rules: Rules): { value: Rule, object: Rule } {
  const scalars: Sequence[] = [plainString(rules, 0, Infinity), [anyNumber(rules)], [anyBoolean(rules)], [text('null')]]
  let value = rules.rule('any', scalars)
  let object = value
  for (let depth = 1; depth <= MAX_DEPTH; depth++) {
    const member = rules.rule('member', [[...plainString(rules, 0, Infinity), text(':'), space(rules), value]])
    object = rules.rule('object', list(rules, '{', member, '}'))
    value = rules.rule('any', [[object], [rules.rule('array', list(rules, '[', value, ']'))], ...scalars])
  }
  return { value, object }
}

export function anyBoolean (rules: Rules): Rule { return rules.shared('boolean', () => [[text('true')], [text('false')]]) }

function list (rules: Rules, open: string, item: Rule, close: string): Sequence[] {
  const more = rules.rule('more', [[text(','), space(rules), item]])
  return [[text(open + close)], [text(open), item, ...rules.times(more, 0, Infinity), text(close)]]
}
