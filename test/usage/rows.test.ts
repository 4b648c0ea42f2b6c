import { test } from 'tap'
import type { CallRecord } from '../../src/usage/record.ts'
import { fromLine, isUsageRow, toLine, toUsageRow } from '../../src/usage/rows.ts'
import { usageRow } from '../store/rows.ts'
import { attempt, callRecord } from './surroundings.ts'

test('a call becomes one row of whole numbers', t => {
  t.strictSame(toUsageRow(callRecord()), {
    callId: 'call', startedAt: new Date(1_700_000_000_000), tenant: 'acme', keyId: 'key', model: 'chat', target: 'gpu/chat',
    locality: 'local', dataClass: 'internal', outcome: 'ok', errorCode: null, attempts: 1, inputTokens: 10, outputTokens: 20,
    cachedInputTokens: 3, reasoningTokens: 4, estimated: false, firstTokenMs: 12, durationMs: 100
  })
  t.end()
})

test('a call that nobody made is no row', t => {
  t.equal(toUsageRow(callRecord({ tenant: null, keyId: null })), null)
  t.end()
})

test('the target of a row is what answered', t => {
  const refused = attempt({ target: 'gpu/chat', firstTokenMs: null, error: 'backend_failed' })
  const cloud = attempt({ target: 'cloud/big', backend: 'cloud', locality: 'cloud' })
  t.strictSame(target({ attempts: [refused, cloud] }), ['cloud/big', 'cloud', 2], 'after a fallback')
  t.strictSame(target({ attempts: [refused, { ...cloud, error: 'backend_interrupted' }], outcome: 'upstream_error' }), ['cloud/big', 'cloud', 2], 'broken off')
  t.strictSame(target({ attempts: [refused], outcome: 'upstream_error' }), [null, null, 1], 'nothing did')
  t.strictSame(target({ attempts: [{ ...cloud, firstTokenMs: null }] }), ['cloud/big', 'cloud', 1], 'an answer without content')
  t.strictSame(target({ attempts: [] }), [null, null, 0], 'refused before any attempt')
  t.end()
})

test('a call that ended early has a row that every store takes', t => {
  const row = toUsageRow(callRecord({
    keyId: null, model: null, dataClass: null, attempts: [], firstTokenMs: null, durationMs: null, usage: null, outcome: null, errorCode: 'invalid_json'
  }))
  t.match(row, { keyId: '', model: '', dataClass: '', outcome: 'internal_error', errorCode: 'invalid_json', firstTokenMs: null, durationMs: 0, inputTokens: 0 })
  t.ok(isUsageRow(row ?? {}))
  t.end()
})

test('counts that are no counts do no harm', t => {
  for (const [given, kept] of [[NaN, 0], [-5, 0], [1.5, 2], [Infinity, Number.MAX_SAFE_INTEGER], ['7', 7], [undefined, 0]] as const) {
    const row = toUsageRow(callRecord({ usage: { input: given as number, output: 1, cachedInput: 0, reasoning: 0 } }))
    t.equal(row?.inputTokens, kept, String(given))
    t.ok(isUsageRow(row ?? {}))
  }
  t.end()
})

test('a row with a wrong value is told from a good one', t => {
  t.ok(isUsageRow(usageRow({})))
  t.ok(isUsageRow(usageRow({ target: null, locality: null, errorCode: null, firstTokenMs: null })))
  for (const field of Object.keys(usageRow({}))) {
    for (const value of [undefined, {}, -1, 1.5, NaN, new Date(NaN)]) t.notOk(isUsageRow({ ...usageRow({}), [field]: value }), `${field} ${value}`)
  }
  t.end()
})

test('a row survives its line, and no other line is a row', t => {
  const row = usageRow({ model: 'a\nb', target: '\u2028☃"', firstTokenMs: null, estimated: true })
  t.strictSame(fromLine(toLine(row)), row)
  t.equal(toLine(row).split('\n').length, 1)
  for (const line of ['', '{', 'null', '1', '[]', '{}', toLine(row).slice(0, -1), toLine({ ...row, durationMs: NaN }), toLine({ ...row, startedAt: new Date(NaN) })]) {
    t.equal(fromLine(line), null, `${line.length} characters`)
  }
  t.end()
})

function target (change: Partial<CallRecord>) {
  const row = toUsageRow(callRecord(change))
  return [row?.target, row?.locality, row?.attempts]
}
