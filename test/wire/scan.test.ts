import * as fc from 'fast-check'
import { test } from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { scan, SCAN_LIMITS } from '../../src/wire/scan.ts'

function refusal (bytes: Buffer, limits = SCAN_LIMITS): string | null {
  try {
    scan(bytes, limits)
    return null
  } catch (error) {
    if (error instanceof GatewayError) return error.code
    throw error
  }
}

const refusalOf = (text: string, limits = SCAN_LIMITS) => refusal(Buffer.from(text), limits)

/** The slow and obvious way to know what `scan` counts. */
function measure (value: unknown): { depth: number, structures: number } {
  if (typeof value !== 'object' || value === null) return { depth: 0, structures: 0 }
  const inner = Object.values(value).map(measure)
  return {
    depth: 1 + Math.max(0, ...inner.map(one => one.depth)),
    structures: 1 + Math.max(0, inner.length - 1) + inner.reduce((sum, one) => sum + one.structures, 0)
  }
}

function fastest (times: number, run: () => void): number {
  let best = Infinity
  for (let i = 0; i < times; i++) {
    const start = performance.now()
    run()
    best = Math.min(best, performance.now() - start)
  }
  return best
}

test('64 levels pass and 65 do not', async t => {
  t.equal(refusalOf('['.repeat(64) + ']'.repeat(64)), null)
  t.equal(refusalOf('['.repeat(65) + ']'.repeat(65)), 'json_too_deep')
  t.equal(refusalOf('{"a":'.repeat(64) + '1' + '}'.repeat(64)), null)
  t.equal(refusalOf('{"a":'.repeat(65) + '1' + '}'.repeat(65)), 'json_too_deep')
  t.equal(refusalOf('[' + '[],{},'.repeat(1000) + '[]]'), null, 'what is closed again does not count as depth')
})

test('200,000 structures pass and one more does not', async t => {
  t.equal(refusalOf('[' + '1,'.repeat(199_999) + '1]'), null)
  t.equal(refusalOf('[' + '1,'.repeat(200_000) + '1]'), 'json_too_complex')
  t.equal(refusalOf('{},'.repeat(340_000)), 'json_too_complex')
})

test('the messages name the limit', async t => {
  t.throws(() => scan(Buffer.from('[[['), { depth: 2, structures: 10 }), { message: 'The body is nested deeper than 2 levels.', status: 400 })
  t.throws(() => scan(Buffer.from('[1,2,3]'), { depth: 2, structures: 2 }), { message: 'The body has more than 2 objects, arrays and members.', status: 400 })
})

test('brackets and commas inside strings are text', async t => {
  const none = { depth: 1, structures: 1 }
  for (const text of ['[[{,', '"[', '\\', '\\"[', 'é"[{', '\\\\', 'x'.repeat(200) + '"[[', 'x'.repeat(46) + '\\"[', 'x'.repeat(47) + '\\\\', '\\'.repeat(99) + '"[']) {
    for (let pad = 0; pad < 60; pad++) t.equal(refusalOf(JSON.stringify(['-'.repeat(pad) + text]), none), null, { text, pad })
  }
})

test('it counts exactly, whatever the strings hold', async () => {
  const text = fc.string({ unit: fc.constantFrom('"', '\\', '[', '{', ',', 'a', 'é', '😀', '\n'), maxLength: 150 })
  const { tree } = fc.letrec(tie => ({
    tree: fc.oneof({ maxDepth: 5 }, text, fc.integer(), fc.array(tie('tree'), { maxLength: 5 }), fc.dictionary(text, tie('tree'), { maxKeys: 5 }))
  }))
  fc.assert(fc.property(tree, fc.boolean(), (value, pretty) => {
    const bytes = Buffer.from(JSON.stringify(value, null, pretty ? 2 : 0))
    const { depth, structures } = measure(value)
    return refusal(bytes, { depth, structures }) === null &&
      (depth === 0 || refusal(bytes, { depth: depth - 1, structures }) === 'json_too_deep') &&
      (structures === 0 || refusal(bytes, { depth, structures: structures - 1 }) === 'json_too_complex')
  }), { numRuns: 1000 })
})

test('any bytes at all are scanned to the end or refused', async t => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
    refusal(Buffer.from(bytes), { depth: 3, structures: 20 })
  }), { numRuns: 2000 })
  for (const text of ['', '"', '"\\', '"' + 'a'.repeat(48) + '\\', ']]]]', '"' + 'a'.repeat(500)]) t.equal(refusalOf(text), null, text)
})

test('a hostile megabyte is refused within 5 ms', async t => {
  const brackets = Buffer.from('['.repeat(1_000_000))
  t.ok(fastest(5, () => refusal(brackets)) < 5)
  const objects = Buffer.from('[' + '{},'.repeat(340_000))
  t.ok(fastest(5, () => refusal(objects)) < 5)
})

test('long strings cost time in proportion to their length', async t => {
  for (const unit of ['x', '\\"', '\\\\', '\\n', 'é']) {
    const [small, large] = [20_000, 2_000_000].map(count => Buffer.from(`{"a":"${unit.repeat(count)}"}`)) as [Buffer, Buffer]
    const perByte = fastest(20, () => refusal(small)) / small.length
    t.ok(fastest(3, () => refusal(large)) / large.length < perByte * 10 + 1e-5, unit)
  }
})
