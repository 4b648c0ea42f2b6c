export const MAX_BODY_BYTES = 67_108_864
/** Of an answer that is an error only this much is read. */
export const MAX_REFUSAL_BYTES = 65_536

/** Bytes of an answer that is read as a whole. Calls `done` once, at its end or at its bound. */
export class Collected {
  readonly #limit: number
  readonly #done: (body: Buffer, isWhole: boolean) => void
  readonly #chunks: Buffer[] = []
  length = 0

  constructor (limit: number, done: (body: Buffer, isWhole: boolean) => void) {
    this.#limit = limit
    this.#done = done
  }

  /** Then a part of it is worth reading, too. */
  get isRefusal (): boolean { return this.#limit === MAX_REFUSAL_BYTES }

  push (chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.length += chunk.length
    if (this.length > this.#limit) this.#done(Buffer.concat(this.#chunks), false)
  }

  end (): void {
    const [first] = this.#chunks
    this.#done(this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks), true)
  }
}
