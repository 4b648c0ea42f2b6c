/** How many entries one call of `sweep` looks at: more than one is added per call, so the sweep always catches up. */
const LOOKS = 4

/**
 * A map whose entries end by themselves. There is no timer: each `sweep` looks at a few entries, round and round, so
 * memory follows the keys that are in use and the cost per call stays the same.
 */
export class Expiring<V extends { readonly endsAtMs: number }> {
  readonly #entries = new Map<string, V>()
  #cursor = this.#entries.entries()

  get size (): number { return this.#entries.size }
  get (key: string): V | undefined { return this.#entries.get(key) }
  set (key: string, value: V): void { this.#entries.set(key, value) }
  delete (key: string): void { this.#entries.delete(key) }

  sweep (nowMs: number): void {
    if (this.#entries.size === 0) return
    for (let looked = 0; looked < LOOKS; looked++) {
      const next = this.#cursor.next()
      if (next.done === true) {
        this.#cursor = this.#entries.entries()
        return
      }
      const [key, value] = next.value
      if (value.endsAtMs <= nowMs) this.#entries.delete(key)
    }
  }
}
