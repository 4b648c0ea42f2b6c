import { COMBINATIONS, OTHER, type MetricRow } from './catalogue.ts'

export type Labels = Readonly<Record<string, string>>

export interface Entry<Child> { readonly labels: Labels, readonly child: Child }

/** `values` is null where they are names of this installation. */
interface Column { readonly label: string, readonly values: ReadonlySet<string> | null }

/** Values of one label to branches of the next; at the end LEAF to the child. */
type Branch<Child> = Map<string | typeof LEAF, Branch<Child> | Child>
const LEAF = Symbol('leaf')

/**
 * The label sets of one metric, resolved once each and never more than its row allows: a value outside the table counts
 * as `_other`, and when all places are taken a new combination of names does too, while the other labels keep saying
 * what they say.
 */
export class LabelSets<Child> {
  readonly #columns: readonly Column[]
  readonly #most: number
  readonly #hasNames: boolean
  readonly #create: () => Child
  readonly #folded: (label: string) => void
  readonly #entries = new Map<string, Entry<Child>>()
  /** The same children by one value after the other: no key has to be put together and hashed for it. */
  #tree: Branch<Child> = new Map()
  #named = 0

  /**
   * @param create makes the child of a label set; called once for each
   * @param folded told of the label whenever a value is folded
   */
  constructor (row: MetricRow, create: () => Child, folded: (label: string) => void) {
    this.#columns = Object.entries(row.labels).map(([label, values]) => ({ label, values: values === 'names' ? null : new Set(values) }))
    this.#most = row.sets
    this.#hasNames = this.#columns.some(({ values }) => values === null)
    this.#create = create
    this.#folded = folded
  }

  at (labels: Labels): Child {
    let branch: Branch<Child> | undefined = this.#tree
    for (const { label } of this.#columns) branch = branch?.get(labels[label]!) as Branch<Child> | undefined
    return branch?.get(LEAF) as Child | undefined ?? this.#miss(labels)
  }

  entries (): Iterable<Entry<Child>> {
    return this.#entries.values()
  }

  clear (): void {
    this.#entries.clear()
    this.#tree = new Map()
    this.#named = 0
  }

  /** Taken for every call once all places are taken, so it makes keys only, no objects. */
  #miss (labels: Labels): Child {
    let key = ''
    let nameless = ''
    for (const { label, values } of this.#columns) {
      const value = labels[label]!
      const known = values === null || values.has(value)
      if (!known) this.#folded(label)
      key += `${known ? value : OTHER}\0`
      nameless += `${known && values !== null ? value : OTHER}\0`
    }
    const present = this.#entries.get(key)
    if (present !== undefined) return present.child
    if (this.#named < this.#most) {
      this.#named++
      return this.#keep(key)
    }
    if (this.#hasNames) this.#folded(COMBINATIONS)
    return this.#entries.get(nameless)?.child ?? this.#keep(nameless)
  }

  #keep (key: string): Child {
    const values = key.split('\0')
    const labels = Object.fromEntries(this.#columns.map(({ label }, column) => [label, values[column]!]))
    const child = this.#create()
    this.#entries.set(key, { labels, child })
    this.#branchOf(labels).set(LEAF, child)
    return child
  }

  #branchOf (labels: Labels): Branch<Child> {
    let branch = this.#tree
    for (const { label } of this.#columns) {
      const next = branch.get(labels[label]!) as Branch<Child> | undefined ?? new Map()
      branch.set(labels[label]!, next)
      branch = next
    }
    return branch
  }
}
