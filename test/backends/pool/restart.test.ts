import { test } from 'tap'
import { CrashRecord, restAfter } from '../../../src/backends/pool/restart.ts'

const RULES = { backoffMs: 200, maxBackoffMs: 1000, quarantineAfter: 5, windowMs: 60_000, quarantineMs: 300_000 }

test('the pause doubles with each crash up to the longest, anywhere between none and all of it', t => {
  t.strictSame([1, 2, 3, 4].map(crashes => restAfter(crashes, RULES, 0.999).waitMs), [200, 400, 800, 999])
  t.strictSame([1, 2, 3, 4].map(crashes => restAfter(crashes, RULES, 0).waitMs), [0, 0, 0, 0])
  t.equal(restAfter(1, RULES, 0.5).state, 'backoff')
  t.end()
})

test('too many crashes end in quarantine', t => {
  t.strictSame(restAfter(5, RULES, 0.5), { state: 'quarantined', waitMs: 300_000 })
  t.strictSame(restAfter(6, RULES, 0.5), { state: 'quarantined', waitMs: 300_000 }, 'and so does one more after it')
  t.end()
})

test('a worker that ran well for the window has a clean record', t => {
  const record = new CrashRecord()
  for (let crash = 1; crash <= 4; crash++) t.equal(record.add(0, 60_000), crash)
  t.equal(record.add(59_999, 60_000), 5)
  t.equal(record.add(60_000, 60_000), 1)
  t.end()
})

test('crashes leave the window one by one', t => {
  const record = new CrashRecord()
  t.strictSame([25_000, 25_000, 25_000, 25_000, 25_000].map(ranMs => record.add(ranMs, 60_000)), [1, 2, 3, 3, 3])
  t.end()
})
