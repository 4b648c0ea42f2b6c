import { test } from 'tap'
import { nearest } from '../../src/config/nearest.ts'

const KNOWN = ['contextTokens', 'batchTokens', 'slots', 'gpu', 'port']

test('guesses what was meant, or does not guess', async t => {
  for (const [written, meant] of [
    ['context_tokens', 'contextTokens'], ['ContextTokens', 'contextTokens'], ['contextToken', 'contextTokens'], ['batchtoken', 'batchTokens'],
    ['prot', 'port'], ['ports', 'port'], ['slot', 'slots'], ['gup', 'gpu'],
    ['timeout', null], ['x', null], ['', null], ['a'.repeat(10_000), null]
  ] as const) t.equal(nearest(written, KNOWN), meant, written.slice(0, 20))
  t.equal(nearest('x', []), null)
})
