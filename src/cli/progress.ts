/** How far a download is: a bar that is drawn over on a terminal, now and then a line elsewhere. */
import type { Phase } from '../models/pull.ts'
import { shown } from '../models/space.ts'

export interface Screen {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  write (text: string): unknown
}

export interface Progress {
  update (phase: Phase, bytes: number, total: number | null): void
  /** A line of its own, above the bar. */
  note (text: string): void
  /** Leaves the cursor at the beginning of a line. */
  end (): void
}

const REDRAW_MS = 100
const LINE_MS = 10_000
const LABELS = { download: 'pulling', verify: 'verifying' } as const

/** @param nowMs of a clock that only goes forward */
export function progressOn (screen: Screen, nowMs = () => performance.now()): Progress {
  const pace = screen.isTTY === true ? REDRAW_MS : LINE_MS
  let phase: Phase | null = null
  let began = { ms: 0, bytes: 0 }
  let drawnMs = 0
  let isOpen = false

  function draw (bytes: number, total: number | null): void {
    drawnMs = nowMs()
    const text = `${LABELS[phase!]} ${line(bytes, total, (bytes - began.bytes) / Math.max(1, drawnMs - began.ms) * 1000)}`
    if (screen.isTTY !== true) { screen.write(`${text}\n`); return }
    const width = (screen.columns ?? 80) - 1
    const bar = total === null ? '' : barOf(bytes / Math.max(1, total), width - text.length - 3)
    screen.write(`\r${`${text} ${bar}`.slice(0, width)}\u001b[K`)
    isOpen = true
  }

  function end (): void {
    if (isOpen) screen.write('\n')
    isOpen = false
  }

  return {
    update (next, bytes, total) {
      const isFirst = next !== phase
      if (isFirst) {
        end()
        phase = next
        began = { ms: nowMs(), bytes }
      }
      if (isFirst || bytes === total || nowMs() - drawnMs >= pace) draw(bytes, total)
    },
    note (text) {
      end()
      screen.write(`${text}\n`)
    },
    end
  }
}

/** `43 % 2.0 GB of 4.7 GB, 52.1 MB/s, 54 s left` */
function line (bytes: number, total: number | null, bytesPerS: number): string {
  const pace = bytesPerS >= 1 ? `, ${shown(Math.round(bytesPerS))}/s` : ''
  if (total === null) return `${shown(bytes)}${pace}`
  const left = bytesPerS >= 1 && bytes < total ? `, ${durationOf((total - bytes) / bytesPerS)} left` : ''
  return `${Math.floor(100 * bytes / Math.max(1, total))} % ${shown(bytes)} of ${shown(total)}${pace}${left}`
}

function durationOf (seconds: number): string {
  if (seconds < 100) return `${Math.ceil(seconds)} s`
  return seconds < 6000 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`
}

function barOf (fraction: number, width: number): string {
  if (width < 5) return ''
  const full = Math.floor(Math.min(1, fraction) * width)
  return `[${'#'.repeat(full)}${'.'.repeat(width - full)}]`
}
