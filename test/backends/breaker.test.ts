import { test } from 'tap'
import { Breaker } from '../../src/backends/breaker.ts'
import { Refused } from '../../src/backends/failure.ts'
import { GatewayError, type ErrorCode } from '../../src/errors.ts'

const failure = (code: ErrorCode, retryAfterS: number | null = null) => new GatewayError(code, 'No.', { retryAfterS })
const refusal = (status: number) => new GatewayError('backend_auth_failed', 'No.', { cause: new Refused(status) })
const ill = (breaker: Breaker, count: number, now: number, code: ErrorCode = 'backend_unreachable') => { for (let time = 0; time < count; time++) breaker.failed(failure(code), now) }
const well = (breaker: Breaker, count: number, now: number, firstMs: number | null = null) => { for (let time = 0; time < count; time++) breaker.succeeded(now, firstMs) }

test('five failures in a row and it rests for five seconds', async t => {
  const breaker = new Breaker()
  ill(breaker, 4, 0)
  t.equal(breaker.rest(0), null)
  ill(breaker, 1, 0)
  t.same(breaker.rest(0), { reason: 'failing', retryAfterS: 5 })
  t.same(breaker.rest(4_999), { reason: 'failing', retryAfterS: 1 })
  t.equal(breaker.rest(5_000), null)
})

test('a good answer forgets them, the first failure after a rest begins the next', async t => {
  const breaker = new Breaker()
  ill(breaker, 4, 0)
  well(breaker, 1, 0)
  ill(breaker, 4, 0)
  t.equal(breaker.rest(0), null)
  ill(breaker, 1, 0)
  ill(breaker, 1, 6_000, 'backend_timeout')
  t.ok(breaker.rest(10_999))
  well(breaker, 1, 11_000)
  ill(breaker, 4, 11_000)
  t.equal(breaker.rest(11_000), null)
})

test('what is wrong with the call does not count, nor a rate without a time to wait', async t => {
  const breaker = new Breaker()
  for (const code of ['rejected_by_backend', 'context_length_exceeded', 'backend_rate_limited', 'backend_invalid_answer', 'client_closed', 'egress_forbidden'] as const) ill(breaker, 30, 0, code)
  t.equal(breaker.rest(0), null)
  t.notOk(breaker.isWeak(0))
})

test('a server that says when to come back rests until then', async t => {
  const breaker = new Breaker()
  breaker.failed(failure('backend_rate_limited', 7), 1_000)
  t.same([breaker.rest(7_999), breaker.rest(8_000)], [{ reason: 'rate_limited', retryAfterS: 1 }, null])
  breaker.failed(failure('backend_rate_limited', 7), 10_000)
  breaker.failed(failure('backend_rate_limited', 1), 11_000)
  t.ok(breaker.rest(16_999), 'never cut short')
  well(breaker, 1, 12_000)
  t.ok(breaker.rest(16_999), 'not by the answer to a call that was let in before')
  well(breaker, 1, 17_000)
  t.notOk(breaker.isWeak(17_000), 'a limit is no weakness')
  const busy = new Breaker()
  busy.failed(failure('backend_failed', 20), 0)
  t.same(busy.rest(0), { reason: 'failing', retryAfterS: 20 })
  busy.failed(failure('context_length_exceeded', 90), 0)
  t.same(busy.rest(0), { reason: 'failing', retryAfterS: 20 }, 'about the call')
})

test('a dead key rests for a minute; a 403 may be about one prompt, so five in a row do', async t => {
  for (const status of [400, 401, 402]) {
    const breaker = new Breaker()
    breaker.failed(refusal(status), 0)
    t.same(breaker.rest(0), { reason: 'key_refused', retryAfterS: 60 }, String(status))
    well(breaker, 1, 60_000)
    breaker.failed(refusal(status), 61_000)
    t.ok(breaker.rest(120_999), 'one call a minute finds out')
  }
  const breaker = new Breaker()
  for (let time = 0; time < 4; time++) breaker.failed(refusal(403), 0)
  t.equal(breaker.rest(0), null)
  breaker.failed(refusal(403), 0)
  t.same(breaker.rest(0), { reason: 'key_refused', retryAfterS: 60 })
})

test('one failure in ten calls of the last ten seconds makes it weak; of fewer than twenty calls nothing is concluded', async t => {
  const breaker = new Breaker()
  well(breaker, 17, 0)
  ill(breaker, 2, 0)
  t.notOk(breaker.isWeak(0))
  ill(breaker, 1, 0)
  t.ok(breaker.isWeak(0))
  t.equal(breaker.rest(0), null, 'but it does not rest')
  const seldom = new Breaker()
  well(seldom, 190, 0)
  ill(seldom, 4, 0)
  t.notOk(seldom.isWeak(0))
  const before = new Breaker()
  ill(before, 4, 0)
  well(before, 17, 10_000)
  ill(before, 1, 10_000)
  t.notOk(before.isWeak(10_000), 'what is longer ago does not count')
})

test('answers that break off in the middle make it weak', async t => {
  const breaker = new Breaker()
  for (let call = 0; call < 20; call++) {
    well(breaker, 1, call)
    if (call % 5 === 0) ill(breaker, 1, call, 'backend_interrupted')
  }
  t.ok(breaker.isWeak(30))
})

test('streams that take four times as long as they use to make it weak, if that is half a second', async t => {
  const breaker = new Breaker()
  well(breaker, 100, 0, 200)
  well(breaker, 19, 20_000, 2_000)
  t.notOk(breaker.isWeak(20_000))
  well(breaker, 1, 20_000, 2_000)
  t.ok(breaker.isWeak(20_000))
  const quick = new Breaker()
  well(quick, 100, 0, 20)
  well(quick, 50, 20_000, 400)
  t.notOk(quick.isWeak(20_000))
})

test('it comes back by probes: one a second at first, and each that goes well halves the wait for the next', async t => {
  const breaker = new Breaker()
  ill(breaker, 5, 0)
  t.ok(breaker.isWeak(4_999))
  let now = 5_000
  const gaps: number[] = []
  for (let probe = 0; probe < 5; probe++) {
    t.notOk(breaker.isWeak(now), 'a probe is due')
    breaker.asked(now)
    t.ok(breaker.isWeak(now), 'and only one')
    const askedAt = now
    well(breaker, 1, now)
    while (breaker.isWeak(now)) now++
    gaps.push(now - askedAt)
  }
  t.same(gaps, [500, 250, 125, 63, 0])
  ill(breaker, 1, now)
  t.notOk(breaker.isWeak(now), 'what led to it is forgotten')
})

test('a probe that fails, or is slow, begins the count anew', async t => {
  const breaker = new Breaker()
  well(breaker, 30, 0, 100)
  ill(breaker, 4, 0)
  t.ok(breaker.isWeak(999))
  breaker.asked(1_000)
  well(breaker, 4, 1_000, 100)
  ill(breaker, 1, 1_100)
  t.ok(breaker.isWeak(2_099))
  breaker.asked(2_100)
  well(breaker, 1, 2_200, 5_000)
  t.ok(breaker.isWeak(3_199), 'slow')
  breaker.asked(3_200)
  well(breaker, 4, 3_200, 100)
  t.ok(breaker.isWeak(3_200))
  well(breaker, 1, 3_200, 100)
  t.notOk(breaker.isWeak(3_200), 'five in a row')
})

test('what stays slow is the new usual after some minutes of probes, else it would come last for ever', async t => {
  const breaker = new Breaker()
  well(breaker, 100, 0, 100)
  well(breaker, 20, 20_000, 2_000)
  let now = 20_000
  const probe = () => {
    while (breaker.isWeak(now)) now++
    breaker.asked(now)
    well(breaker, 1, now, 2_000)
  }
  for (let second = 0; second < 60; second++) probe()
  t.ok(breaker.isWeak(now), 'not after a minute')
  for (let more = 0; more < 120; more++) probe()
  t.notOk(breaker.isWeak(now))
  well(breaker, 100, now, 2_000)
  t.notOk(breaker.isWeak(now), 'and stays well')
})

test('who fails and says to come back at once rests like all others', async t => {
  const breaker = new Breaker()
  for (let time = 0; time < 5; time++) breaker.failed(failure('backend_failed', 0), 0)
  t.same(breaker.rest(0), { reason: 'failing', retryAfterS: 5 })
  const seldom = new Breaker()
  well(seldom, 17, 0)
  for (let time = 0; time < 3; time++) seldom.failed(failure('backend_failed', 0), 0)
  t.ok(seldom.isWeak(0))
})
