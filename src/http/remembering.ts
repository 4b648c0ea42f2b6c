/** What all open connections remember together. Beyond the bound whoever remembered first has to forget. */
export class Remembering {
  readonly #most: number
  readonly #held = new Map<object, { readonly characters: number, readonly forget: () => void }>()
  #characters = 0

  constructor (most: number) { this.#most = most }

  /** In place of what `holder` remembered before. @param forget called when it has to */
  hold (holder: object, characters: number, forget: () => void): void {
    this.drop(holder)
    this.#held.set(holder, { characters, forget })
    this.#characters += characters
    for (const [first, { forget: forgets }] of this.#held) {
      if (this.#characters <= this.#most) return
      this.drop(first)
      forgets()
    }
  }

  drop (holder: object): void {
    const held = this.#held.get(holder)
    if (held === undefined) return
    this.#held.delete(holder)
    this.#characters -= held.characters
  }
}
