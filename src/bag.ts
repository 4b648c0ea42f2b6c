/** What stands in a bag; the bag writes its place. */
export interface Bagged {
  /** Among the others; -1 when it is in no bag. */
  place: number
}

/**
 * Things that come and go in any order, many a second. No Set: each time one grows or shrinks, its old table keeps what it held
 * from the garbage collector until the next major collection, and that is whole calls.
 */
export class Bag<T extends Bagged> {
  readonly #items: T[] = []

  get size (): number { return this.#items.length }
  /** As of now, in no order. */
  get items (): T[] { return this.#items.slice() }

  add (item: T): void {
    item.place = this.#items.push(item) - 1
  }

  /** @returns false when it was not there any more */
  delete (item: T): boolean {
    if (item.place === -1) return false
    const last = this.#items.pop()!
    if (last !== item) {
      this.#items[item.place] = last
      last.place = item.place
    }
    item.place = -1
    return true
  }

  /** Each once; `visit` may take it out. */
  each (visit: (item: T) => void): void {
    // Backwards, because one that leaves gives its place to the last.
    for (let at = this.#items.length - 1; at >= 0; at--) {
      const item = this.#items[at]
      if (item !== undefined) visit(item)
    }
  }
}
