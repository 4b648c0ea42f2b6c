/** What is not asked before a time. Holds at most what is running, because whoever has rested leaves. */
export class Rests {
  readonly #until = new Map<string, number>()

  /** @param ms from now; the later end holds */
  rest (name: string, ms: number, now = performance.now()): void {
    this.#until.set(name, Math.max(now + ms, this.#until.get(name) ?? 0))
  }

  has (name: string, now = performance.now()): boolean {
    const until = this.#until.get(name)
    if (until === undefined) return false
    if (until > now) return true
    this.#until.delete(name)
    return false
  }

  /** Those whose names begin so, without their beginning. */
  namesWith (beginning: string, now = performance.now()): string[] {
    return [...this.#until.keys()].filter(name => name.startsWith(beginning) && this.has(name, now)).map(name => name.slice(beginning.length))
  }

  /** Until the next one is over; Infinity when none rests. */
  nextMs (now = performance.now()): number {
    for (const name of this.#until.keys()) this.has(name, now)
    return Math.min(Infinity, ...[...this.#until.values()].map(until => until - now))
  }
}
