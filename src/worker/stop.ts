/**
 * Finds stop strings in text that arrives in pieces, however it is cut. Text that may turn out to be the beginning of
 * a stop string is held back, so that no part of one is ever shown.
 */
export class StopMatcher {
  readonly #stops: readonly string[]
  #held = ''
  #matched: string | null = null

  /** @param stops none of them empty */
  constructor (stops: readonly string[]) { this.#stops = stops }

  get isHolding (): boolean { return this.#held !== '' }
  /** The stop string that ended the text. */
  get matched (): string | null { return this.#matched }

  /** @returns the text that is safe to show, and whether a stop string ended it; nothing may be pushed after that */
  push (text: string): { readonly text: string, readonly stopped: boolean } {
    if (this.#stops.length === 0) return { text, stopped: false }
    const buffer = this.#held + text
    const match = this.#firstMatch(buffer)
    if (match !== null) {
      this.#matched = match.stop
      return { text: buffer.slice(0, match.at), stopped: true }
    }
    const safe = buffer.length - this.#heldBack(buffer)
    this.#held = buffer.slice(safe)
    return { text: buffer.slice(0, safe), stopped: false }
  }

  /** What was held back, once it is known that nothing follows. */
  flush (): string {
    const held = this.#held
    this.#held = ''
    return held
  }

  /** Of several, the one that is complete first, so that the answer does not depend on how the text was cut. */
  #firstMatch (buffer: string): { at: number, stop: string } | null {
    let match: { at: number, end: number, stop: string } | null = null
    for (const stop of this.#stops) {
      const at = buffer.indexOf(stop)
      const end = at + stop.length
      if (at >= 0 && (match === null || end < match.end || (end === match.end && at < match.at))) match = { at, end, stop }
    }
    return match
  }

  /** Length of the longest end of the buffer that begins a stop string. */
  #heldBack (buffer: string): number {
    let longest = 0
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, buffer.length); length > longest; length--) {
        if (buffer.endsWith(stop.slice(0, length))) longest = length
      }
    }
    return longest
  }
}
