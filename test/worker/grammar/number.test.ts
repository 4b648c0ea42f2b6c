import fc from 'fast-check'
import { test } from 'tap'
import { compileSchema } from '../../../src/worker/grammar/compile.ts'
import { Gbnf } from './match.ts'

const grammarOf = (schema: object): Gbnf => new Gbnf(compileSchema(schema).grammar)

test('integers are held to their bounds exactly', async () => {
  const bound = fc.oneof(fc.integer({ min: -130, max: 130 }), fc.integer({ min: -100_000, max: 100_000 }), fc.maxSafeInteger())
  fc.assert(fc.property(fc.option(bound), fc.option(bound), fc.boolean(), (a, b, isExclusive) => {
    const [low, high] = a !== null && b !== null && a > b ? [b, a] : [a, b]
    if (low !== null && high !== null && isExclusive && high - low < 2) return
    const [least, most] = isExclusive ? ['exclusiveMinimum', 'exclusiveMaximum'] as const : ['minimum', 'maximum'] as const
    const grammar = grammarOf({ type: 'integer', ...low !== null && { [least]: low }, ...high !== null && { [most]: high } })
    const edge = isExclusive ? 1 : 0
    const isWithin = (value: number): boolean => (low === null || value >= low + edge) && (high === null || value <= high - edge)
    for (const near of [low ?? 0, high ?? 0, 0, 9, 10, 99, 100, -1, -10, 1000, 12345]) {
      for (let count = -12; count <= 12; count++) {
        const value = near + count
        if (Number.isSafeInteger(value) && grammar.matches(String(value)) !== isWithin(value)) throw new Error(`${value} in ${low}..${high}`)
      }
    }
  }), { numRuns: 150 })
})

test('numbers are held to their bounds exactly, up to fifteen digits', async () => {
  const bound = fc.tuple(fc.integer({ min: -9999, max: 9999 }), fc.constantFrom(1, 10, 100, 1000)).map(([value, scale]) => value / scale)
  fc.assert(fc.property(fc.option(bound), fc.option(bound), fc.boolean(), fc.boolean(), (a, b, excludesLow, excludesHigh) => {
    const [low, high] = a !== null && b !== null && a > b ? [b, a] : [a, b]
    if (low !== null && low === high && (excludesLow || excludesHigh)) return
    const grammar = grammarOf({
      type: 'number',
      ...low !== null && { [excludesLow ? 'exclusiveMinimum' : 'minimum']: low },
      ...high !== null && { [excludesHigh ? 'exclusiveMaximum' : 'maximum']: high }
    })
    const isWithin = (value: number): boolean =>
      (low === null || (excludesLow ? value > low : value >= low)) && (high === null || (excludesHigh ? value < high : value <= high))
    for (const near of [low ?? 0, high ?? 0, 0, 1, -1, 10]) {
      for (const step of [1, 0.5, 0.1, 0.01, 0.001, 0.0001]) {
        for (let count = -3; count <= 3; count++) {
          const value = Number((near + count * step).toFixed(4)) + 0
          if (grammar.matches(String(value)) !== isWithin(value)) throw new Error(`${value} in ${low}..${high}`)
        }
      }
    }
  }), { numRuns: 120 })
})

test('whatever is written below an exclusive bound is read as less', async t => {
  const grammar = grammarOf({ type: 'number', minimum: 0, exclusiveMaximum: 1 })
  for (const text of ['0.9', '0.99999999999999']) t.ok(grammar.matches(text), text)
  for (const text of ['0.99999999999999999999', '1', '1.0']) t.notOk(grammar.matches(text), text)
})

test('bounds of more digits than are written leave out what lies beyond them', async t => {
  const grammar = grammarOf({ type: 'number', minimum: 0.1 + 0.2, maximum: 1e300 })
  t.ok(grammar.matches('0.300000000000001'))
  t.notOk(grammar.matches('0.3'))
  t.ok(grammar.matches('999999999999999999999'))
})

test('bounds that are far out are no hindrance', async t => {
  const integers = grammarOf({ type: 'integer', minimum: -9007199254740991, maximum: 9007199254740991 })
  for (const text of ['0', '-1', '9007199254740991', '-9007199254740991']) t.ok(integers.matches(text), text)
  for (const text of ['9007199254740992', '-9007199254740992', '-0', '00']) t.notOk(integers.matches(text), text)
  t.ok(grammarOf({ type: 'integer', format: 'int32' }).matches('2147483647'))
  t.notOk(grammarOf({ type: 'integer', format: 'int32' }).matches('2147483648'))
  t.ok(grammarOf({ type: 'number', minimum: -1.7976931348623157e308 }).matches('-12.5'))
})
