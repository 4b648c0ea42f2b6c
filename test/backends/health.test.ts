import { test } from 'tap'
import { healthAfter, HEALTHY, isDown, type Health } from '../../src/backends/health.ts'
import type { ErrorCode } from '../../src/errors.ts'

const after = (outcomes: ReadonlyArray<ErrorCode | null>, now = 0) => outcomes.reduce((health: Health, outcome) => healthAfter(health, outcome, now), HEALTHY)
const ill = (count: number) => Array<ErrorCode>(count).fill('backend_unreachable')

test('five failures in a row and the backend rests for five seconds', t => {
  t.notOk(isDown(HEALTHY, 0))
  t.notOk(isDown(after(ill(4)), 0))
  t.ok(isDown(after(ill(5)), 0))
  t.ok(isDown(after(ill(5)), 4_999))
  t.notOk(isDown(after(ill(5)), 5_000))
  t.end()
})

test('a good answer forgets them, the first failure after a rest begins the next', t => {
  t.notOk(isDown(after([...ill(4), null, ...ill(4)]), 0))
  t.ok(isDown(healthAfter(after(ill(5)), 'backend_timeout', 6_000), 10_999))
  t.same(healthAfter(after(ill(5)), null, 6_000), HEALTHY)
  t.end()
})

test('what is wrong with the call, the key or the rate does not count', t => {
  const others: ErrorCode[] = ['rejected_by_backend', 'context_length_exceeded', 'backend_rate_limited', 'backend_auth_failed', 'backend_invalid_answer', 'client_closed', 'egress_forbidden']
  for (const code of others) t.same(healthAfter(HEALTHY, code, 0), HEALTHY, code)
  t.ok(isDown(after([...ill(2), ...others, 'backend_failed', 'backend_timeout', 'backend_unreachable']), 0))
  t.end()
})
