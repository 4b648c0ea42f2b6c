import type { Labels } from './sets.ts'

export interface Sample { readonly labels: Readonly<Record<string, string | number>>, readonly value: number, readonly metricName?: string }

/** A counter or a gauge. */
export class Value {
  #value = 0

  add (value: number): void { this.#value += amount(value) }
  set (value: number): void { this.#value = value }
  samples (_name: string, labels: Labels): Sample[] { return [{ labels, value: this.#value }] }
}

/** A histogram. */
export class Distribution {
  readonly #buckets: readonly number[]
  /** One more than buckets: the last is what exceeds them all. */
  readonly #counts: number[]
  #sum = 0

  constructor (buckets: readonly number[]) {
    this.#buckets = buckets
    this.#counts = Array.from({ length: buckets.length + 1 }, () => 0)
  }

  add (value: number): void {
    const observed = amount(value)
    let bucket = 0
    while (bucket < this.#buckets.length && observed > this.#buckets[bucket]!) bucket++
    this.#counts[bucket]!++
    this.#sum += observed
  }

  /** Buckets are cumulative: each counts what is at most its bound. */
  samples (name: string, labels: Labels): Sample[] {
    let count = 0
    const bounds: readonly (number | string)[] = [...this.#buckets, '+Inf']
    const buckets = bounds.map((le, bucket) => ({ labels: { ...labels, le }, value: count += this.#counts[bucket]!, metricName: `${name}_bucket` }))
    return [...buckets, { labels, value: this.#sum, metricName: `${name}_sum` }, { labels, value: count, metricName: `${name}_count` }]
  }
}

/** A backend can say it used -5 or NaN tokens; no counter may fall for that. */
function amount (value: number): number {
  return value > 0 && Number.isFinite(value) ? value : 0
}
