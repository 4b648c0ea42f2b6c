import fc from 'fast-check'
import { test } from 'tap'
import { Value } from 'typebox/value'
import { conform } from '../../src/config/conform.ts'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigError } from '../../src/config/problems.ts'
import { Config } from '../../src/config/schema.ts'
import { parseSource } from '../../src/config/source.ts'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loaded, SAMPLE } from './sample.ts'

const whole = JSON.parse(JSON.stringify(loaded(`${SAMPLE}state: { redis: { url: { env: REDIS } } }\n`).config)) as Json
type Json = null | boolean | number | string | Json[] | { [name: string]: Json }

/** Every path in a value, root first. */
function pathsOf (value: Json, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([name, member]) => pathsOf(member, [...path, Array.isArray(value) ? Number(name) : name]))]
}

/** The value with `junk` at the path; without what stands there when junk is undefined. */
function changed (value: Json, [step, ...rest]: (string | number)[], junk: Json | undefined): Json | undefined {
  if (step === undefined) return junk
  if (Array.isArray(value)) return value.flatMap((item, index) => index === step ? changed(item, rest, junk) ?? [] : [item])
  return Object.fromEntries(Object.entries(value as object).flatMap(([name, member]): [string, Json][] => {
    const next = name === step ? changed(member as Json, rest, junk) : member as Json
    return next === undefined ? [] : [[name, next]]
  }))
}

const junk = fc.oneof(
  fc.constant(undefined), fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>, fc.integer(), fc.string({ unit: 'binary' }),
  fc.constantFrom<Json>(null, '', 'local', 'cloud', 'pool', 'openai', 0, -1, 1e308, [], {}, '*', 'http://x', '\0', '__proto__', { __proto__: 1 }, { kind: 'pool' }, { env: 'A' }, 'qwen', [['a']])
)
const mutation = fc.record({ path: fc.constantFrom(...pathsOf(whole)), junk })

test('a configuration with anything changed either loads or is refused with lines, and nothing else happens', async t => {
  const file = join(t.testdir({}), 'torchgate.yaml')
  let refused = 0
  fc.assert(fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), mutations => {
    const value = mutations.reduce<Json | undefined>((before, { path, junk }) => before === undefined ? before : changed(before, path, junk), whole)
    writeFileSync(file, JSON.stringify(value, null, 1) ?? '')
    try {
      const { config } = loadConfig(file, { env: {} })
      if (!Value.Check(Config, config)) throw new Error('loaded, and is not of the schema')
    } catch (thrown) {
      if (!(thrown instanceof ConfigError)) throw thrown
      refused++
      if (thrown.problems.length === 0 || thrown.problems.some(({ line }) => line === null || line < 1)) throw new Error(`without a line: ${thrown.message}`)
    }
  }), { numRuns: 1000 })
  t.ok(refused > 100, `${refused} of 1000 refused`)
})

test('a file with any of its characters changed either loads or is refused with lines', async t => {
  const file = join(t.testdir({}), 'torchgate.yaml')
  const edit = fc.record({ at: fc.nat(SAMPLE.length), drop: fc.nat(8), insert: fc.oneof(fc.constantFrom('', ':', '- ', '\n', '\t', '*a', '&a ', '<<: ', '!', '{', ']', '"', '%', '---\n', '? '), fc.string({ maxLength: 4 })) })
  fc.assert(fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), edits => {
    writeFileSync(file, edits.reduce((text, { at, drop, insert }) => text.slice(0, at) + insert + text.slice(at + drop), SAMPLE))
    try {
      loadConfig(file, { env: {} })
    } catch (thrown) {
      if (!(thrown instanceof ConfigError)) throw thrown
      if (thrown.problems.length === 0 || thrown.problems.some(({ line }) => line === null || line < 1)) throw new Error(`without a line: ${thrown.message}`)
    }
  }), { numRuns: 1000 })
  t.pass()
})

test('what conforms is exactly what TypeBox accepts once the defaults are in', async t => {
  fc.assert(fc.property(mutation, ({ path, junk }) => {
    const value = changed(whole, path, junk)
    // Only leaves: a section that is missing or empty is filled with defaults before it is judged.
    if (value === undefined || junk === undefined || junk === null || typeof junk === 'object') return
    const { findings } = conform(Config, value)
    if ((findings.length === 0) !== Value.Check(Config, value)) throw new Error(`${path.join('.')}: ${JSON.stringify(findings)}`)
  }), { numRuns: 1000 })
  t.pass()
})

test('a problem is placed at the nearest thing that is there', async t => {
  const source = parseSource('a:\n  - b: 1\n  -\n  - [x,\n     y]\n', 'f')
  t.same(source.locate([]), { line: 1, column: 1 })
  t.same(source.locate(['a', 0, 'b', 'c', 'd']), { line: 2, column: 5 })
  t.same(source.locate(['a', 0, 'none']), { line: 2, column: 5 })
  t.same(source.locate(['a', 2, 1]), { line: 5, column: 6 })
  t.same(source.locate(['none']), { line: 1, column: 1 })
})
