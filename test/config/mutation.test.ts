import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { test } from 'tap'
import { Value } from 'typebox/value'
import { conform } from '../../src/config/conform.ts'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigError } from '../../src/config/problems.ts'
import { Config } from '../../src/config/schema.ts'
import { parseSource } from '../../src/config/source.ts'
import { loaded, SAMPLE } from './sample.ts'

const whole = JSON.parse(JSON.stringify(loaded(`${SAMPLE}state: { redis: { url: { env: REDIS } } }\n`).config)) as Json
type Json = null | boolean | number | string | Json[] | { [name: string]: Json }

/** Every path in a value, root first. */
function pathsOf (value: Json, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([name, member]) => pathsOf(member, [...path, Array.isArray(value) ? Number(name) : name]))]
}

/** The value with `to` at the path; without what stands there when `to` is undefined. */
function changed (value: Json, [step, ...rest]: (string | number)[], to: Json | undefined): Json | undefined {
  if (step === undefined) return to
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.flatMap((item, index) => index === step ? changed(item, rest, to) ?? [] : [item])
  return Object.fromEntries(Object.entries(value).flatMap(([name, member]): [string, Json][] => {
    const next = name === step ? changed(member, rest, to) : member
    return next === undefined ? [] : [[name, next]]
  }))
}

const junk = fc.oneof(
  fc.constant(undefined), fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>, fc.integer(), fc.string({ unit: 'binary' }),
  fc.constantFrom<Json>(null, '', 'local', 'cloud', 'pool', 'openai', 0, -1, 1e308, [], {}, '*', 'http://x', '\0', '__proto__', { __proto__: 1 }, { kind: 'pool' }, { env: 'A' }, 'qwen', [['a']])
)
const mutation = fc.record({ path: fc.constantFrom(...pathsOf(whole)), to: junk })

function assertLines (error: ConfigError): void {
  if (error.problems.length > 0 && error.problems.every(({ line }) => line !== null && line >= 1)) return
  throw new Error(`without a line: ${error.message}`, { cause: error })
}

const RUNS = { numRuns: 150 }

test('a configuration with anything changed either loads or is refused with lines, and nothing else happens', async t => {
  const file = join(t.testdir({}), 'torchgate.yaml')
  let refused = 0
  fc.assert(fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), mutations => {
    const value = mutations.reduce<Json | undefined>((before, { path, to }) => before === undefined ? before : changed(before, path, to), whole)
    writeFileSync(file, JSON.stringify(value, null, 1) ?? '')
    try {
      const { config } = loadConfig(file, { env: {} })
      if (!Value.Check(Config, config)) throw new Error('loaded, and is not of the schema')
    } catch (thrown) {
      if (!(thrown instanceof ConfigError)) throw thrown
      refused++
      assertLines(thrown)
    }
  }), RUNS)
  t.ok(refused > 20, `${refused} refused`)
})

test('a file with any of its characters changed either loads or is refused with lines', async t => {
  const file = join(t.testdir({}), 'torchgate.yaml')
  const insert = fc.oneof(fc.constantFrom('', ':', '- ', '\n', '\t', '*a', '&a ', '<<: ', '!', '{', ']', '"', '%', '---\n', '? '), fc.string({ maxLength: 4 }))
  const edit = fc.record({ at: fc.nat(SAMPLE.length), drop: fc.nat(8), put: insert })
  fc.assert(fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), edits => {
    writeFileSync(file, edits.reduce((text, { at, drop, put }) => text.slice(0, at) + put + text.slice(at + drop), SAMPLE))
    try {
      loadConfig(file, { env: {} })
    } catch (thrown) {
      if (!(thrown instanceof ConfigError)) throw thrown
      assertLines(thrown)
    }
  }), RUNS)
  t.pass()
})

test('what conforms is exactly what TypeBox accepts once the defaults are in', async t => {
  fc.assert(fc.property(mutation, ({ path, to }) => {
    const value = changed(whole, path, to)
    // Only leaves: a section that is missing or empty is filled with defaults before it is judged.
    if (value === undefined || to === undefined || to === null || typeof to === 'object') return
    const { findings } = conform(Config, value)
    if ((findings.length === 0) !== Value.Check(Config, value)) throw new Error(`${path.join('.')}: ${JSON.stringify(findings)}`)
  }), RUNS)
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
