import { test } from 'tap'
import { createLatency } from '../../src/usage/latency.ts'
import type { CallRecord } from '../../src/usage/record.ts'
import { attempt, callRecord } from './surroundings.ts'

const streamed = (target: string, startMs: number, firstTokenMs: number | null, stream = true): CallRecord =>
  callRecord({ stream, attempts: [attempt({ target, startMs, firstTokenMs })] })

test('what streams take to their first content is averaged, and new measurements count more the longer ago the last was', async t => {
  let now = 0
  const latency = createLatency(() => now)
  t.equal(latency.firstTokenMs('a'), undefined)
  latency.record(streamed('a', 50, 150))
  t.equal(latency.firstTokenMs('a'), 100)
  latency.record(streamed('a', 0, 200))
  t.equal(latency.firstTokenMs('a'), 110, 'a tenth at least')
  now = 30_000
  latency.record(streamed('a', 0, 1110))
  t.ok(Math.abs(latency.firstTokenMs('a')! - (110 + 1000 * (1 - Math.exp(-1)))) < 1e-9)
  t.equal(latency.firstTokenMs('b'), undefined)
})

test('what was measured more than a minute ago is not known any more', async t => {
  let now = 0
  const latency = createLatency(() => now)
  latency.record(streamed('a', 0, 100))
  now = 60_000
  t.equal(latency.firstTokenMs('a'), 100)
  now = 60_001
  t.equal(latency.firstTokenMs('a'), undefined)
  latency.record(streamed('a', 0, 700))
  t.equal(latency.firstTokenMs('a'), 700, 'and is forgotten')
})

test('whole answers and attempts without content say nothing', async t => {
  const latency = createLatency(() => 0)
  latency.record(streamed('a', 0, 100, false))
  latency.record(streamed('a', 0, null))
  t.equal(latency.firstTokenMs('a'), undefined)
})

test('a worker that goes on with the stream of another has not begun one, and is not the faster for it', async t => {
  const latency = createLatency(() => 0)
  const attempts = [attempt({ target: 'a', startMs: 0, firstTokenMs: 300, error: 'worker_crashed' }), attempt({ target: 'a', startMs: 900, firstTokenMs: 900 })]
  latency.record(callRecord({ stream: true, attempts }))
  t.equal(latency.firstTokenMs('a'), 300)
})
