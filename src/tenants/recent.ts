/** A map that forgets what was used longest ago once it is full. */
export class Recent<Value> {
  readonly #capacity: number
  readonly #values = new Map<string, Value>()

  constructor (capacity: number) {
    this.#capacity = capacity
  }

  get (key: string): Value | undefined {
    const value = this.#values.get(key)
    // Who is oldest matters only when places run short.
    if (value === undefined || this.#values.size < this.#capacity / 2) return value
    this.#values.delete(key)
    this.#values.set(key, value)
    return value
  }

  set (key: string, value: Value): void {
    this.#values.delete(key)
    this.#values.set(key, value)
    if (this.#values.size <= this.#capacity) return
    for (const oldest of this.#values.keys()) {
      this.#values.delete(oldest)
      return
    }
  }

  delete (key: string): void {
    this.#values.delete(key)
  }

  get size (): number { return this.#values.size }
}
