import { COMBINATIONS, OTHER, type MetricRow } from './catalogue.ts'

export type Labels = Readonly<Record<string, string>>

export interface Entry<Child> { readonly labels: Labels, readonly child: Child }

/**
 * The label sets of one metric, resolved once each and never more than its row allows: a value outside the table counts
 * as `_other`, and when all places are taken a new combination of names does too, while the other labels keep saying
 * what they say.
 */
export class LabelSets<Child> {
  readonly #row: MetricRow
  readonly #labels: readonly string[]
  readonly #create: () => Child
  readonly #folded: (label: string) => void
  readonly #children = new Map<string, Entry<Child>>()
  #named = 0

  /**
   * @param create makes the child of a label set; called once for each
   * @param folded told of the label whenever a value is folded
   */
  constructor (row: MetricRow, create: () => Child, folded: (label: string) => void) {
    this.#row = row
    this.#labels = Object.keys(row.labels)
    this.#create = create
    this.#folded = folded
  }

  at (labels: Labels): Child {
    return this.#children.get(this.#key(labels))?.child ?? this.#add(this.#known(labels))
  }

  entries (): Iterable<Entry<Child>> {
    return this.#children.values()
  }

  clear (): void {
    this.#children.clear()
    this.#named = 0
  }

  #key (labels: Labels): string {
    let key = ''
    for (const label of this.#labels) key += `${labels[label]}\n`
    return key
  }

  #add (labels: Labels): Child {
    const present = this.#children.get(this.#key(labels))
    if (present !== undefined) return present.child
    if (this.#named < this.#row.sets) {
      this.#named++
      return this.#keep(labels)
    }
    const folded = this.#withoutNames(labels)
    return this.#children.get(this.#key(folded))?.child ?? this.#keep(folded)
  }

  #keep (labels: Labels): Child {
    const child = this.#create()
    this.#children.set(this.#key(labels), { labels, child })
    return child
  }

  #known (labels: Labels): Labels {
    return this.#map(labels, (label, value, values) => {
      if (values === 'names' || values.includes(value)) return value
      this.#folded(label)
      return OTHER
    })
  }

  #withoutNames (labels: Labels): Labels {
    const folded = this.#map(labels, (_label, value, values) => values === 'names' ? OTHER : value)
    if (this.#key(folded) !== this.#key(labels)) this.#folded(COMBINATIONS)
    return folded
  }

  #map (labels: Labels, change: (label: string, value: string, values: readonly string[] | 'names') => string): Labels {
    return Object.fromEntries(this.#labels.map(label => [label, change(label, labels[label] ?? OTHER, this.#row.labels[label] ?? 'names')]))
  }
}
