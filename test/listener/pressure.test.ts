import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'tap'
import { Pressure, pressureOf } from '../../src/listener/pressure.ts'

const BOUNDS = { eventLoopDelayMs: 100, heapPercent: 85 }

test('either bound counts, and the heap is told first', async t => {
  t.equal(pressureOf({ delayMs: 100, heapPercent: 85 }, BOUNDS), null)
  t.equal(pressureOf({ delayMs: 101, heapPercent: 85 }, BOUNDS), 'event_loop')
  t.equal(pressureOf({ delayMs: 0, heapPercent: 86 }, BOUNDS), 'heap')
  t.equal(pressureOf({ delayMs: 101, heapPercent: 86 }, BOUNDS), 'heap')
})

test('a loop that was held up is noticed before anything else is read, and forgotten when it runs again', async t => {
  const pressure = new Pressure({ eventLoopDelayMs: 250, heapPercent: 100 })
  t.teardown(() => pressure.close())
  pressure.begin()
  await wait(150)
  t.equal(pressure.reason, null)
  for (const endMs = performance.now() + 500; performance.now() < endMs;);
  await wait(0)
  t.equal(pressure.reason, 'event_loop')
  for (let tries = 0; pressure.reason !== null && tries < 100; tries++) await wait(50)
  t.equal(pressure.reason, null)
})

test('a heap that is full by its bound is noticed', async t => {
  const ballast = Array.from({ length: 2_000_000 }, (_, index) => ({ index }))
  const pressure = new Pressure({ eventLoopDelayMs: 60_000, heapPercent: 1 })
  t.teardown(() => pressure.close())
  pressure.begin()
  for (let tries = 0; pressure.reason === null && tries < 100; tries++) await wait(50)
  t.equal(pressure.reason, 'heap')
  t.equal(ballast.length, 2_000_000)
})

test('once closed it looks no more', async t => {
  const pressure = new Pressure({ eventLoopDelayMs: 1, heapPercent: 1 })
  pressure.begin()
  pressure.close()
  await wait(150)
  t.equal(pressure.reason, null)
})
