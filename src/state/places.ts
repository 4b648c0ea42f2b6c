import type { Hold } from './state.ts'

/** The places under one key that are taken, and until when. */
export class Places {
  readonly #expiryMs = new Map<string, number>()
  /** No hold expires before this, so until then nobody has to look through all of them. */
  #firstExpiryMs = Infinity
  #lastExpiryMs = 0

  /** When the last of them expires. */
  get endsAtMs (): number { return this.#lastExpiryMs }
  get isEmpty (): boolean { return this.#expiryMs.size === 0 }

  /** Is there a place for `hold`, or is it here already? */
  admits (hold: Hold, nowMs: number): boolean {
    this.#dropExpired(nowMs)
    return this.#expiryMs.size < hold.capacity || this.#expiryMs.has(hold.id)
  }

  /** Takes or renews, without a check. */
  put (hold: Hold, nowMs: number): void {
    const expiryMs = nowMs + hold.ttlMs
    this.#expiryMs.set(hold.id, expiryMs)
    this.#firstExpiryMs = Math.min(this.#firstExpiryMs, expiryMs)
    this.#lastExpiryMs = Math.max(this.#lastExpiryMs, expiryMs)
  }

  free (id: string): void { this.#expiryMs.delete(id) }

  #dropExpired (nowMs: number): void {
    if (nowMs < this.#firstExpiryMs) return
    this.#firstExpiryMs = Infinity
    for (const [id, expiryMs] of this.#expiryMs) {
      if (expiryMs <= nowMs) this.#expiryMs.delete(id)
      else this.#firstExpiryMs = Math.min(this.#firstExpiryMs, expiryMs)
    }
  }
}
