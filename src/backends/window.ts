/** What happened in the last seconds, in buckets of a second: a fixed amount of memory, however many calls there are. */
const SECONDS = 10

interface Bucket { second: number, calls: number, failures: number, firsts: number, firstMs: number }

export interface Seen {
  readonly calls: number
  readonly failures: number
  /** Streams that gave content, and how long they took to it on average; 0 where there were none. */
  readonly firsts: number
  readonly firstMs: number
}

export class Window {
  readonly #buckets: Bucket[] = Array.from({ length: SECONDS }, () => ({ second: -1, calls: 0, failures: 0, firsts: 0, firstMs: 0 }))

  /** @param firstMs from the start of a stream to its content; null for what is no stream */
  succeeded (nowMs: number, firstMs: number | null): void {
    const bucket = this.#at(nowMs)
    bucket.calls++
    if (firstMs === null) return
    bucket.firsts++
    bucket.firstMs += firstMs
  }

  failed (nowMs: number): void {
    const bucket = this.#at(nowMs)
    bucket.calls++
    bucket.failures++
  }

  clear (): void {
    for (const bucket of this.#buckets) bucket.second = -1
  }

  seen (nowMs: number): Seen {
    const oldest = secondOf(nowMs) - SECONDS
    const sum = { calls: 0, failures: 0, firsts: 0, firstMs: 0 }
    for (const { second, calls, failures, firsts, firstMs } of this.#buckets) {
      if (second <= oldest) continue
      sum.calls += calls
      sum.failures += failures
      sum.firsts += firsts
      sum.firstMs += firstMs
    }
    return { ...sum, firstMs: sum.firsts === 0 ? 0 : sum.firstMs / sum.firsts }
  }

  #at (nowMs: number): Bucket {
    const second = secondOf(nowMs)
    const bucket = this.#buckets[second % SECONDS]!
    if (bucket.second !== second) Object.assign(bucket, { second, calls: 0, failures: 0, firsts: 0, firstMs: 0 })
    return bucket
  }
}

function secondOf (nowMs: number): number { return Math.floor(nowMs / 1000) }
