/** The grammar of a whole answer: a thought, where the model thinks, and then calls, the form that was asked for, or either. */
import { prefixed } from './grammar/join.ts'
import { thoughtGrammar, type ThoughtMarker } from './thoughts.ts'

export interface Held {
  /** Grammars of what may follow the thought, each with a rule `root`. At least one. */
  readonly forms: readonly string[]
  /** Null where the model does not think, or has thought. */
  readonly thought: ThoughtMarker | null
  /** By the prompt; the answer then has to end it. Otherwise the model may think or not. */
  readonly isBegun: boolean
}

/** @returns GBNF with a rule `root` */
export function heldTo ({ forms, thought, isBegun }: Held): string {
  const [only] = forms
  if (forms.length === 1 && thought === null) return only!
  const first = thought === null ? '' : isBegun ? 'thought-0' : 'thought?'
  return [
    `root ::= ${first} (${forms.map((_, i) => `form-${i}-root`).join(' | ')})`,
    ...thought === null ? [] : [thoughtGrammar(thought)],
    ...forms.map((form, i) => prefixed(form, `form-${i}-`))
  ].join('\n')
}
