import { test } from 'tap'
import { duration, rateLimitHeaders, retryHeaders } from '../../src/limits/headers.ts'

test('durations read as OpenAI writes them', async t => {
  const cases: [number, string][] = [
    [0, '0s'], [0.0001, '1ms'], [0.02, '20ms'], [0.9991, '1s'], [1, '1s'], [1.2, '1.2s'], [8.64, '8.64s'], [59.9999, '1m0s'],
    [60, '1m0s'], [360, '6m0s'], [61.5, '1m1.5s'], [3_599.9999, '1h0m0s'], [3_600, '1h0m0s'], [90_061, '25h1m1s']
  ]
  for (const [seconds, expected] of cases) t.equal(duration(seconds), expected)
})

test('six headers tell limit, rest and time to full; a debt shows as zero', async t => {
  const requests = { limit: 60, remaining: 58.7, resetS: 1.3 }
  const tokens = { limit: 1_000, remaining: -250, resetS: 75 }
  t.same(rateLimitHeaders({ requests, tokens }), {
    'x-ratelimit-limit-requests': '60',
    'x-ratelimit-remaining-requests': '58',
    'x-ratelimit-reset-requests': '1.3s',
    'x-ratelimit-limit-tokens': '1000',
    'x-ratelimit-remaining-tokens': '0',
    'x-ratelimit-reset-tokens': '1m15s'
  })
})

test('where there is no limit there is no header', async t => {
  t.same(rateLimitHeaders({ requests: null, tokens: null }), {})
  t.same(Object.keys(rateLimitHeaders({ requests: null, tokens: { limit: 1, remaining: 1, resetS: 0 } })).length, 3)
})

test('a retry is told in whole seconds and in milliseconds, rounded up, between one and sixty', async t => {
  t.same(retryHeaders(1.2), { 'retry-after': '2', 'retry-after-ms': '1200' })
  t.same(retryHeaders(0.0151), { 'retry-after': '1', 'retry-after-ms': '16' })
  t.same(retryHeaders(0), { 'retry-after': '1', 'retry-after-ms': '1' })
  t.same(retryHeaders(6_000), { 'retry-after': '60', 'retry-after-ms': '60000' })
})
