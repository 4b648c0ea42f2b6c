import { test } from 'tap'
import { LOOK_MS, Watchdog } from '../../../src/backends/pool/watchdog.ts'

const RULES = { silentMs: 2000, stepMs: 5000 }

/** Looks every LOOK_MS until `endMs`; a sign comes at each look for which there is one. */
function watch (endMs: number, signAt: (ms: number) => { steps: number, isBusy: boolean } | null): { at: number, why: string } | null {
  const watchdog = new Watchdog(RULES, 0)
  for (let ms = LOOK_MS; ms <= endMs; ms += LOOK_MS) {
    const sign = signAt(ms)
    if (sign !== null) watchdog.heard(sign)
    const why = watchdog.look(ms)
    if (why !== null) return { at: ms, why }
  }
  return null
}

test('a worker that says nothing is found out, and not before its time', t => {
  t.strictSame(watch(10_000, () => null), { at: 2000, why: 'no sign of life for 2000 ms' })
  t.match(watch(20_000, ms => ms <= 7000 ? { steps: 1, isBusy: false } : null), { at: 8750 })
  t.end()
})

test('a worker whose step does not end is found out, though its event loop is alive', t => {
  t.strictSame(watch(20_000, ms => ({ steps: Math.min(ms, 3000), isBusy: true })), { at: 7750, why: 'one step took longer than 5000 ms' })
  t.end()
})

test('no false alarm: for long work that makes progress, for none to do, for a new step after a pause', t => {
  t.equal(watch(60_000, ms => ({ steps: Math.floor(ms / 4500), isBusy: true })), null)
  t.equal(watch(60_000, () => ({ steps: 7, isBusy: false })), null)
  t.equal(watch(60_000, ms => ({ steps: 7, isBusy: ms % 4000 > 1000 })), null)
  t.end()
})

test('a jump of the clock is the gateway\'s, not the worker\'s', t => {
  const watchdog = new Watchdog(RULES, 0)
  watchdog.heard({ steps: 1, isBusy: true })
  for (const night of [1, 2, 3]) {
    t.equal(watchdog.look(night * 36_000_000), null, 'closed for ten hours: the signs of the worker are still to be read')
    watchdog.heard({ steps: 1 + night, isBusy: true })
  }
  t.equal(watchdog.look(4 * 36_000_000), null)
  let looks = 0
  for (let ms = 4 * 36_000_000; watchdog.look(ms) === null; ms += LOOK_MS) looks++
  t.ok(looks * LOOK_MS >= RULES.silentMs - 2 * LOOK_MS, 'and a worker that stays silent afterwards has nearly its whole time')
  t.end()
})
