import { test } from 'tap'
import { restMs, mostLines } from '../../src/batches/headroom.ts'
import { Rests } from '../../src/batches/rests.ts'
import { verdictOn } from '../../src/batches/verdict.ts'
import { ERRORS, GatewayError, type ErrorCode } from '../../src/errors.ts'

const on = (code: ErrorCode, tries = 0, options = {}) => verdictOn(new GatewayError(code, 'No.', options), tries, 3)

test('what is wrong with the line itself is its answer, whatever it is', t => {
  const final = Object.keys(ERRORS).filter(code => on(code as ErrorCode).kind === 'final')
  for (const code of ['invalid_value', 'model_not_found', 'context_length_exceeded', 'rejected_by_backend', 'invalid_api_key', 'no_eligible_target', 'egress_forbidden']) {
    t.ok(final.includes(code), code)
  }
  t.end()
})

test('a limit and a backend that is away are waited for, and count as no try', t => {
  t.strictSame(on('rate_limit_exceeded', 2, { retryAfterS: 7 }), { kind: 'again', rests: 'tenant', ms: 7000, isTry: false })
  t.strictSame(on('rate_limit_exceeded', 2, { retryAfterS: 7000 }), { kind: 'again', rests: 'tenant', ms: 60_000, isTry: false })
  t.strictSame(on('backend_rate_limited', 2, { retryAfterS: 9 }), { kind: 'again', rests: 'model', ms: 9000, isTry: false })
  for (const code of ['backend_overloaded', 'backend_unavailable', 'draining'] as const) t.match(on(code, 2), { kind: 'again', rests: 'model', isTry: false }, code)
  t.match(on('client_closed', 2), { kind: 'again', rests: 'line', ms: 0, isTry: false })
  t.match(on('rate_limit_exceeded', 0, { retryAfterS: null }), { kind: 'final' }, 'what never fits is not waited for')
  t.end()
})

test('what a backend fails is tried again, later each time, and not for ever', t => {
  t.strictSame(on('backend_failed', 0), { kind: 'again', rests: 'line', ms: 1000, isTry: true })
  t.strictSame(on('worker_crashed', 1), { kind: 'again', rests: 'line', ms: 2000, isTry: true })
  t.match(on('backend_timeout', 2), { kind: 'final' })
  t.end()
})

test('who rests is left alone until the later end', t => {
  const rests = new Rests()
  rests.rest('model b a', 100, 0)
  rests.rest('model b a', 50, 0)
  rests.rest('model b c', 10, 0)
  rests.rest('model bb d', 10, 0)
  t.equal(rests.nextMs(0), 10)
  t.same(rests.namesWith('model b ', 0), ['a', 'c'])
  t.same(rests.namesWith('model b ', 20), ['a'])
  t.equal(rests.has('model b a', 99), true)
  t.equal(rests.has('model b a', 100), false)
  t.equal(rests.nextMs(100), Infinity)
  t.end()
})

test('a fifth of each limit is left to others', t => {
  t.same([undefined, 1, 2, 5, 10].map(concurrency => mostLines(concurrency === undefined ? {} : { concurrency })), [Infinity, 1, 1, 4, 8])
  const standing = (remaining: number) => ({ limit: 100, remaining, resetS: 1 })
  t.equal(restMs(null), 0)
  t.equal(restMs({ requests: standing(20), tokens: standing(90) }), 0)
  t.equal(restMs({ requests: standing(90), tokens: standing(10) }), 6000, 'until a fifth is there again')
  t.equal(restMs({ requests: standing(0), tokens: null }), 12_000)
  t.end()
})
