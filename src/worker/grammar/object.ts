/**
 * Objects as JSON text. Members come in the order in which they are declared, those without a declaration last; of the
 * optional ones any may be missing. After each member one rule says what may follow, so that the grammar grows with
 * the number of members, not with that of their combinations.
 */
import { ANYTHING, TooManyStates, type Automaton } from './automaton.ts'
import { words, type Languages } from './language.ts'
import { below, unsupported } from './refusal.ts'
import { text, type Choice, type Rule, type Sequence } from './gbnf.ts'
import type { Rules } from './rules.ts'
import type { All, Shape } from './shape.ts'
import { stringOf } from './string.ts'

export interface Context {
  readonly rules: Rules
  readonly languages: Languages
  /** OpenAI's strict mode: an object has the declared properties only, unless additionalProperties says otherwise. */
  readonly strict: boolean
  /** The rule for a value that all the nodes allow. */
  value (nodes: All): Rule
  /** The shapes of strings that all the nodes allow. */
  strings (nodes: All): readonly Shape[]
  /** What a member of this name has to be. */
  member (shape: Shape, name: string): All
  /** Is this value valid for all the nodes? */
  fits (nodes: All, value: unknown): boolean
}

interface Member { readonly name: string, readonly nodes: All, readonly isRequired: boolean }
/** A kind of members that have no name of their own. */
interface Kind { readonly names: Automaton, readonly nodes: All }

/** A comma or a colon may be followed by one space: most models are used to it. */
export function space (rules: Rules): Rule { return rules.shared('space', () => [[text(' ')], []]) }

export function objectChoice (context: Context, shape: Shape): Choice {
  const members = membersOf(context, shape)
  if (members === null) return []
  const kinds = kindsOf(context, shape, members)
  const { least, most } = countsOf(shape, members, kinds)
  const layout = new Layout(context, members, kinds, least, most)
  return layout.choice()
}

/** null when a member is required that may not be there. */
function membersOf (context: Context, shape: Shape): readonly Member[] | null {
  const names = [...new Set([...shape.properties.keys(), ...shape.required])]
  const members: Member[] = []
  for (const name of names) {
    const isRequired = shape.required.has(name)
    const nodes = context.member(shape, name)
    const isPossible = context.fits(shape.names, name) && !nodes.some(({ schema }) => schema === false)
    if (!isPossible && isRequired) return null
    if (isPossible) members.push({ name, nodes, isRequired })
  }
  return members
}

/** Members beyond the declared ones: one kind for each combination of patterns that a name can have. */
function kindsOf (context: Context, shape: Shape, members: readonly Member[]): readonly Kind[] {
  const { additional, patterns, properties, names } = shape
  // Without a word on others, an object that declares some members has just these: valid, and what was meant.
  const isOpen = additional === null ? !context.strict && properties.size === 0 && patterns.length === 0 : !additional.some(({ schema }) => schema === false)
  if (!isOpen && patterns.length === 0) return []
  try {
    const { languages } = context
    const declared = new Set([...properties.keys(), ...members.map(({ name }) => name)])
    const rest = languages.without(names.length === 0 ? ANYTHING : languages.union(context.strings(names)), words(declared))
    const kinds: { names: Automaton | null, nodes: All }[] = [{ names: rest, nodes: [] }]
    for (const { language, value } of patterns) {
      const automaton = languages.of(language)
      for (const kind of kinds.splice(0)) {
        kinds.push({ names: languages.without(kind.names, automaton), nodes: kind.nodes })
        kinds.push({ names: languages.both(kind.names, automaton), nodes: [...kind.nodes, value] })
      }
    }
    return kinds.flatMap(({ names: some, nodes }) => {
      if (some === null || (nodes.length === 0 && !isOpen)) return []
      const all = nodes.length === 0 ? additional ?? [] : nodes
      return all.some(({ schema }) => schema === false) ? [] : [{ names: some, nodes: all }]
    })
  } catch (thrown) {
    if (!(thrown instanceof TooManyStates)) throw thrown
    throw unsupported(shape.path, 'the names of its members are too many or too complex to allow others besides them. Set additionalProperties to false.')
  }
}

/** How many members beyond the declared ones; optional declared ones would have to be counted as well. */
function countsOf ({ minProperties, maxProperties, path }: Shape, members: readonly Member[], kinds: readonly Kind[]): { least: number, most: number } {
  const required = members.filter(({ isRequired }) => isRequired).length
  // One member more is all that can be demanded: a name may come twice, and then counts once.
  const isEnough = minProperties <= required || (minProperties === 1 && required === 0)
  if (!isEnough) throw unsupported(below(path, 'minProperties'), 'local models can be held to required members and to one member at least, no more. Name them in required.')
  const most = maxProperties - required
  const optional = members.length - required
  if (kinds.length === 0 ? most < optional : most < Infinity && optional > 0) {
    throw unsupported(below(path, 'maxProperties'), 'the optional members would have to be counted. Leave maxProperties out.')
  }
  return { least: minProperties > required ? 1 : 0, most: Math.max(most, -1) }
}

class Layout {
  readonly #context: Context
  readonly #members: readonly Member[]
  readonly #least: number
  readonly #most: number
  readonly #others: Rule | null

  constructor (context: Context, members: readonly Member[], kinds: readonly Kind[], least: number, most: number) {
    this.#context = context
    this.#members = members
    this.#least = least
    this.#most = most
    this.#others = kinds.length === 0 || most <= 0 ? null : context.rules.rule('member', kinds.flatMap(kind => [this.#other(kind)]))
  }

  /** `name": value` of a member that is not declared. */
  #other ({ names, nodes }: Kind): Sequence {
    const { rules } = this.#context
    return stringOf(rules, names, 'name', [text(':'), space(rules), this.#context.value(nodes)])
  }

  choice (): Choice {
    if (this.#most < 0) return []
    const { rules } = this.#context
    const names = this.#names()
    const first = names.length === 0 ? [] : [[text('{"'), ...rules.choice('members', names)]]
    const mayBeEmpty = this.#least === 0 && this.#members.every(({ isRequired }) => !isRequired)
    return mayBeEmpty ? [[text('{}')], ...first] : first
  }

  /**
   * How the first member goes on behind its opening quote, and all that follows. Made from the last member to the
   * first: `after` is what comes once there is a member before, `names` what comes behind the next opening quote.
   */
  #names (): Choice {
    const { rules } = this.#context
    let { after, names } = this.#tail()
    let mayEnd = true
    for (const member of this.#members.toReversed()) {
      const here: Sequence = [text(JSON.stringify(member.name).slice(1) + ':'), space(rules), this.#context.value(member.nodes), ...after]
      names = member.isRequired ? [here] : [here, ...names.length > 1 ? [rules.choice('members', names)] : names]
      mayEnd &&= !member.isRequired
      const comma: Sequence = [text(','), space(rules), text('"'), ...rules.choice('members', names)]
      after = mayEnd ? rules.choice('rest', [[text('}')], comma]) : short(rules, comma)
    }
    return names
  }

  #tail (): { after: Sequence, names: Choice } {
    const others = this.#others
    if (others === null) return { after: [text('}')], names: [] }
    const { rules } = this.#context
    const more = rules.rule('more', [[text(','), space(rules), text('"'), others]])
    const most = this.#most === Infinity ? Infinity : this.#most
    return {
      after: [...rules.times(more, 0, most), text('}')],
      names: [[others, ...rules.times(more, 0, most - 1), text('}')]]
    }
  }
}

/** Long sequences become rules, so that each is not copied into the one before it. */
function short (rules: Rules, sequence: Sequence): Sequence {
  return sequence.length > 40 ? [rules.rule('rest', [sequence])] : sequence
}
