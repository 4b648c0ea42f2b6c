/** Whether this process can keep up: how late its event loop is, and how full its heap. */
import { getHeapStatistics } from 'node:v8'

export interface PressureBounds { readonly eventLoopDelayMs: number, readonly heapPercent: number }

export const PRESSURES = ['event_loop', 'heap'] as const
export type PressureReason = (typeof PRESSURES)[number]

export interface Sample { readonly delayMs: number, readonly heapPercent: number }

/** What is over its bound; the heap first, because a process without one ends. */
export function pressureOf ({ delayMs, heapPercent }: Sample, bounds: PressureBounds): PressureReason | null {
  if (heapPercent > bounds.heapPercent) return 'heap'
  return delayMs > bounds.eventLoopDelayMs ? 'event_loop' : null
}

const SAMPLE_MS = 100

/** Looks ten times a second. */
export class Pressure {
  readonly #bounds: PressureBounds
  #timer: NodeJS.Timeout | undefined
  #dueMs = Infinity
  #seen: PressureReason | null = null

  constructor (bounds: PressureBounds) { this.#bounds = bounds }

  /** Once all is loaded: a start holds up the loop, and nobody. */
  begin (): void { this.#next(performance.now()) }

  /** Why no further call is taken now; null while all is well. What came in while the loop was held up may be read before the next look. */
  get reason (): PressureReason | null {
    return this.#seen ?? (performance.now() - this.#dueMs > this.#bounds.eventLoopDelayMs ? 'event_loop' : null)
  }

  close (): void {
    clearTimeout(this.#timer)
    this.#dueMs = Infinity
  }

  readonly #look = (): void => {
    const nowMs = performance.now()
    this.#seen = pressureOf({ delayMs: nowMs - this.#dueMs, heapPercent: heapTaken() }, this.#bounds)
    this.#next(nowMs)
  }

  #next (nowMs: number): void {
    this.#dueMs = nowMs + SAMPLE_MS
    this.#timer = setTimeout(this.#look, SAMPLE_MS).unref()
  }
}

/** V8 counts its nursery into the limit, where nothing may stay: a heap is full that much earlier. */
const NURSERY_BYTES = 100_663_296

/** Of what may stay in the heap. Bodies and frames on their way are not in it. */
function heapTaken (): number {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics()
  return used / Math.max(limit - NURSERY_BYTES, limit / 2) * 100
}
