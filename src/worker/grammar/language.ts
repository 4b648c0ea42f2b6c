/** The strings that patterns, formats and lengths allow, as automata. */
import { ANYTHING, difference, fromPattern, intersection, longest, matches, ofLength, ofWords, TooManyStates, type Automaton } from './automaton.ts'
import type { Effort } from './effort.ts'
import { FORMATS } from './formats.ts'
import { unsupported, type Path } from './refusal.ts'
import { parseRegex, RegexRefusal } from './regex.ts'
import type { Language, Shape } from './shape.ts'

/** Formats never change, so each is worked out once. By their patterns. */
const formats = new Map<string, Automaton | null>()
const formatPatterns = new Set(Object.values(FORMATS))

/** For one schema. */
export class Languages {
  readonly #effort: Effort
  readonly #known = new Map<string, Automaton | null>()

  constructor (effort: Effort) { this.#effort = effort }

  /** @returns null when no text fits. @throws GatewayError naming the pattern that cannot be honoured */
  of ({ source, path }: Language): Automaton | null {
    const kept = formatPatterns.has(source) ? formats : this.#known
    const known = kept.get(source)
    if (known !== undefined) return known
    const automaton = honoured(path, () => fromPattern(parseRegex(source), this.#effort))
    kept.set(source, automaton)
    return automaton
  }

  has (language: Language, text: string): boolean {
    const automaton = this.of(language)
    return automaton !== null && matches(automaton, text)
  }

  /** All patterns and formats of a shape, and its length. @returns null when no string has them */
  strings ({ languages, minLength, maxLength, path }: Shape): Automaton | null {
    return honoured(languages[0]?.path ?? path, () => {
      const [first = ANYTHING, ...others] = languages.map(language => this.of(language))
      const joined = others.reduce((a, b) => this.both(a, b), first)
      if (joined === null) return null
      const most = longest(joined) <= maxLength ? Infinity : maxLength
      return minLength === 0 && most === Infinity ? joined : this.both(joined, ofLength(minLength, most))
    })
  }

  /** The strings that have any of the shapes. */
  union (shapes: readonly Shape[]): Automaton | null {
    let none: Automaton | null = ANYTHING
    for (const shape of shapes) none = this.without(none, shape.values === null ? this.strings(shape) : words(shape.values))
    return this.without(ANYTHING, none)
  }

  both (a: Automaton | null, b: Automaton | null): Automaton | null { return intersection(a, b, this.#effort) }
  without (a: Automaton | null, b: Automaton | null): Automaton | null { return difference(a, b, this.#effort) }
}

/** @throws TooManyStates */
export function words (values: Iterable<unknown>): Automaton | null {
  const texts = [...values].filter(value => typeof value === 'string')
  return texts.length === 0 ? null : ofWords(texts)
}

function honoured<T> (path: Path, work: () => T): T {
  try {
    return work()
  } catch (thrown) {
    if (thrown instanceof RegexRefusal) throw unsupported(path, `the pattern ${thrown.message}, which local models cannot be held to.`)
    if (!(thrown instanceof TooManyStates)) throw thrown
    throw unsupported(path, 'with everything else that is asked of the string, it is too complex. Simplify it, or lower minLength and maxLength.')
  }
}
