/** What has been opened, in order; closed in the opposite one, each even when another fails. */
export class Opened {
  readonly #parts: { close (): unknown }[] = []

  own<T extends { close (): unknown }> (part: T): T {
    this.#parts.push(part)
    return part
  }

  async close (): Promise<void> {
    const failures: unknown[] = []
    for (const part of this.#parts.splice(0).toReversed()) {
      try { await part.close() } catch (error) { failures.push(error) }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'Some parts did not close.')
  }
}
