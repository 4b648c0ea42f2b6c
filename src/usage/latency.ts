/** How long targets took of late to give their first content: a reader of records. */
import type { CallRecord, Recorder } from './record.ts'

export interface Latency {
  readonly record: Recorder
  /** Milliseconds from the start of an attempt to its first content, of streams; undefined where none was measured in the last minute. */
  firstTokenMs (target: string): number | undefined
}

/** What was measured this long ago counts for little more than a third. */
const FADES_MS = 30_000
const FORGOTTEN_MS = 60_000
/** Of one new measurement, however many there were before. */
const LEAST_SHARE = 0.1

interface Mean { ms: number, atMs: number }

/** @param now milliseconds on a clock that never jumps */
export function createLatency (now: () => number = () => performance.now()): Latency {
  // One entry for each configured target, so it is as bounded as the configuration.
  const means = new Map<string, Mean>()
  return {
    record ({ stream, attempts }: CallRecord) {
      if (!stream) return
      // Those behind it go on in the middle of the stream.
      const begun = attempts.find(({ firstTokenMs }) => firstTokenMs !== null)
      if (begun !== undefined) learn(means, begun.target, begun.firstTokenMs! - begun.startMs, now())
    },
    firstTokenMs (target) {
      const mean = means.get(target)
      return mean === undefined || now() - mean.atMs > FORGOTTEN_MS ? undefined : mean.ms
    }
  }
}

function learn (means: Map<string, Mean>, target: string, ms: number, atMs: number): void {
  const mean = means.get(target)
  if (mean === undefined || atMs - mean.atMs > FORGOTTEN_MS) { means.set(target, { ms, atMs }); return }
  const share = Math.max(LEAST_SHARE, 1 - Math.exp((mean.atMs - atMs) / FADES_MS))
  mean.ms += share * (ms - mean.ms)
  mean.atMs = atMs
}
