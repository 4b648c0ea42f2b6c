import { test } from 'tap'
import { GatewayError } from '../../../src/errors.ts'
import { compileSchema, type CompileOptions } from '../../../src/worker/grammar/compile.ts'
import { FORMATS } from '../../../src/worker/grammar/formats.ts'
import { EXAMPLES } from './examples.ts'
import { isBeyondJudge, judge, parse } from './judge.ts'
import { seeded } from '../../seeded.ts'
import { Gbnf } from './match.ts'

const HERE = 'response_format.json_schema.schema'
for (const { says, schema, strict = false, allows, refuses } of EXAMPLES) {
  test(says, async t => {
    const grammar = new Gbnf(compileSchema(schema, { strict }).grammar)
    for (const text of allows) t.ok(grammar.matches(text), `${text.slice(0, 80)} is allowed`)
    for (const text of refuses) t.notOk(grammar.matches(text), `${text.slice(0, 80)} is not`)
    if (isBeyondJudge(schema)) return
    const wrong = judge(schema)
    for (const text of allows) t.equal(wrong(parse(text)), null, text.slice(0, 80))
    const draw = seeded(1)
    for (let i = 0; i < 5; i++) {
      const text = grammar.wander(draw)
      t.equal(wrong(parse(text)), null, text.slice(0, 80))
    }
  })
}

for (const format of Object.keys(FORMATS)) {
  test(`every ${format} that is written is one`, async t => {
    const schema = { type: 'string', format }
    const grammar = new Gbnf(compileSchema(schema).grammar)
    const wrong = judge(schema)
    const draw = seeded(7)
    const bad = Array.from({ length: 100 }, () => grammar.wander(draw)).filter(text => wrong(parse(text)) !== null)
    t.same(bad, [])
  })
}

/** Of the processor: how long it takes besides depends on who else is at work. */
const MOMENT_MS = 1500
function cpuMs (start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1000
}

function refusal (schema: unknown, options?: CompileOptions): GatewayError {
  try {
    const { grammar } = compileSchema(schema, options)
    throw new Error(`It was taken: ${grammar.slice(0, 200)}`)
  } catch (thrown) {
    if (thrown instanceof GatewayError) return thrown
    throw thrown
  }
}

const property = (schema: unknown): unknown => ({ type: 'object', properties: { x: schema }, required: ['x'], additionalProperties: false })
const at = (keyword: string): string => `${HERE}.properties.x.${keyword}`

const UNSUPPORTED: readonly (readonly [says: string, schema: unknown, param: string])[] = [
  ['not', property({ not: { type: 'string' } }), at('not')],
  ['if', property({ if: {}, else: {} }), at('if')],
  ['contains', property({ contains: {} }), at('contains')],
  ['dependentRequired', property({ dependentRequired: {} }), at('dependentRequired')],
  ['$dynamicRef', property({ $dynamicRef: '#x' }), at('$dynamicRef')],
  ['a misspelt keyword', property({ type: 'string', maxlength: 3 }), at('maxlength')],
  ['unique items', property({ type: 'array', uniqueItems: true }), at('uniqueItems')],
  ['lookbehind', property({ pattern: '(?<=a)b' }), at('pattern')],
  ['lookahead in the middle', property({ pattern: '^a(?=b)' }), at('pattern')],
  ['a backreference', property({ pattern: '^(a)\\1$' }), at('pattern')],
  ['a named backreference', property({ pattern: '^(?<n>a)\\k<n>$' }), at('pattern')],
  ['a word boundary', property({ pattern: '\\bfoo' }), at('pattern')],
  ['a Unicode property', property({ pattern: '\\p{L}' }), at('pattern')],
  ['modifiers', property({ pattern: '(?i:a)' }), at('pattern')],
  ['a pattern that is none', property({ pattern: '(a' }), at('pattern')],
  ['a class that never closes', property({ pattern: '[a' }), at('pattern')],
  ['a pattern that doubles with every letter', property({ pattern: '^(a|b)*a(a|b){24}$' }), at('pattern')],
  ['groups without end', property({ pattern: '('.repeat(60) + ')'.repeat(60) }), at('pattern')],
  ['repeated repetitions', property({ pattern: '^((((a{1,99}){1,99}){1,99}){1,99})$' }), at('pattern')],
  ['a pattern within a long bound', property({ pattern: '^[^<]*$', maxLength: 100_000 }), at('pattern')],
  ['an unknown format', property({ type: 'string', format: 'iban' }), at('format')],
  ['a multiple of three', property({ type: 'integer', multipleOf: 3 }), at('multipleOf')],
  ['a count of members', property({ type: 'object', properties: { a: {}, b: {} }, minProperties: 2 }), at('minProperties')],
  ['a limit on optional members', property({ type: 'object', properties: { a: {}, b: {} }, maxProperties: 1 }), at('maxProperties')],
  ['branches that overlap', property({ oneOf: [{ type: 'integer' }, { type: 'number' }] }), at('oneOf[1]')],
  ['branches that overlap in a member', property({ oneOf: [property({ type: 'string' }), property({ enum: ['a'] })] }), at('oneOf[1]')],
  ['branches of which one is not closed', property({ oneOf: [{ properties: { a: {} }, required: ['a'] }, { properties: { b: {} }, required: ['b'] }] }), at('oneOf[1]')],
  ['a reference elsewhere', property({ $ref: 'https://example.com/schema.json' }), at('$ref')],
  ['a reference by anchor', property({ $ref: '#name' }), at('$ref')],
  ['a reference to itself', { $ref: '#' }, `${HERE}.$ref`],
  ['references in a circle', { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } }, `${HERE}.$defs.b.$ref`],
  ['an alternative to itself', { anyOf: [{ $ref: '#' }, { type: 'null' }] }, HERE],
  ['a part of itself', { allOf: [{ $ref: '#' }, { type: 'object' }] }, HERE],
  ['a pointer in a schema with a name of its own', property({ $id: 'https://example.com/inner', items: { $ref: '#/x' } }), at('items.$ref')],
  ['too many values', property({ enum: Array.from({ length: 1001 }, (_, i) => i) }), at('enum')],
  ['too many objects', { anyOf: Array.from({ length: 5001 }, (_, i) => ({ const: i })) }, HERE],
  ['depth', Array.from({ length: 100 }).reduce(inner => ({ type: 'array', items: inner }), {}), HERE],
  ['too long a grammar', { enum: Array.from({ length: 300 }, (_, i) => String(i).repeat(400)) }, HERE],
  ['too many repetitions', { type: 'array', prefixItems: Array.from({ length: 200 }, (_, i) => ({ type: 'string', maxLength: 100 + i })) }, HERE],
  ['alternatives that multiply', { allOf: Array.from({ length: 11 }, (_, i) => ({ anyOf: [{ minLength: i }, { maxLength: 100 + i }] })) }, HERE],
  ['many names besides others', { properties: Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`${i}-${'x'.repeat(20)}`, {}])), additionalProperties: true }, HERE],
  ['unevaluated members with a schema', property({ unevaluatedProperties: { type: 'string' } }), at('unevaluatedProperties')]
]

for (const [says, schema, param] of UNSUPPORTED) {
  test(`${says}: refused by name, quickly`, async t => {
    const start = process.cpuUsage()
    const error = refusal(schema)
    t.same({ code: error.code, param: error.param }, { code: 'unsupported_value', param })
    t.ok(error.message.startsWith(`${param}: `), error.message)
    t.ok(cpuMs(start) < MOMENT_MS, `${cpuMs(start)} ms`)
  })
}

const INVALID: readonly (readonly [schema: unknown, param: string])[] = [
  [null, HERE], ['{}', HERE], [[], HERE], [undefined, HERE], [7, HERE],
  [property('string'), `${HERE}.properties.x`],
  [property({ type: 'text' }), at('type')],
  [property({ type: [] }), at('type')],
  [property({ enum: 'a' }), at('enum')],
  [property({ enum: [] }), HERE],
  [property({ minLength: -1 }), at('minLength')],
  [property({ maxLength: 1.5 }), at('maxLength')],
  [property({ minimum: '1' }), at('minimum')],
  [property({ multipleOf: 0 }), at('multipleOf')],
  [property({ required: 'a' }), at('required')],
  [property({ properties: [] }), at('properties')],
  [property({ anyOf: [] }), at('anyOf')],
  [property({ anyOf: {} }), at('anyOf')],
  [property({ pattern: 1 }), at('pattern')],
  [property({ nullable: 'yes' }), at('nullable')],
  [property({ $ref: 1 }), at('$ref')],
  [property({ $ref: '#/$defs/none' }), at('$ref')],
  [property({ $ref: '#/%zz' }), at('$ref')],
  [property(false), HERE],
  [property({ minLength: 3, maxLength: 2 }), HERE],
  [property({ type: 'string', pattern: '^a$', minLength: 2 }), HERE],
  [property({ allOf: [{ type: 'string' }, { type: 'null' }] }), HERE],
  [property({ $ref: '#' }), HERE],
  [{ type: 'object', required: ['a'], additionalProperties: false }, HERE]
]

test('what is no schema, or one that nothing satisfies, is the fault of the caller', async t => {
  for (const [schema, param] of INVALID) {
    const error = refusal(schema)
    t.same({ code: error.code, param: error.param }, { code: 'invalid_value', param }, JSON.stringify(schema))
  }
})

test('a refusal says where in the request the schema stands', async t => {
  const error = refusal(property({ 'not so': 1 }), { path: 'tools[2].function.parameters' })
  t.equal(error.param, 'tools[2].function.parameters.properties.x["not so"]')
})

const named = (name: string, count: number, schema: (i: number) => unknown): object =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [name + i, schema(i)]))
const to = (name: string, i: number): unknown => ({ $ref: `#/$defs/${name}${i + 1}` })

test('hostile schemas cost no more than a moment', async t => {
  const hostile: Record<string, unknown> = {
    'a tree of references that doubles': {
      $ref: '#/$defs/d0',
      $defs: { ...named('d', 60, i => ({ anyOf: [to('d', i), to('e', i), { const: i }] })), ...named('e', 60, i => ({ anyOf: [to('d', i), to('e', i), { const: -i }] })), d60: {}, e60: {} }
    },
    'a long chain of allOf': { $ref: '#/$defs/d0', $defs: { ...named('d', 1500, i => ({ allOf: [to('d', i), { type: 'object' }] })), d1500: {} } },
    'branches to be told apart by lists of branches': {
      oneOf: Array.from({ length: 400 }, (_, i) => ({ type: 'object', properties: { k: { $ref: '#/$defs/d0' }, l: { const: i } }, required: ['k', 'l'] })),
      $defs: { d0: { anyOf: Array.from({ length: 400 }, (_, i) => ({ type: 'string', minLength: i })) } }
    },
    'long lists that are compared': { allOf: Array.from({ length: 300 }, () => ({ enum: Array.from({ length: 1000 }, (_, i) => `value ${i}`) })) },
    'a thousand alternatives of a thousand members': {
      properties: Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`p${i}`, { type: 'null' }])), anyOf: Array.from({ length: 900 }, (_, i) => ({ required: [`p${i}`] }))
    },
    'many slow patterns': { anyOf: Array.from({ length: 900 }, (_, i) => ({ type: 'string', pattern: `^(a|b)*a(a|b){10}c{${i}}$` })) },
    'schemas that grow when they are unfolded': {
      $ref: '#/$defs/a',
      $defs: {
        a: { properties: { n: { allOf: [{ $ref: '#/$defs/a' }, { $ref: '#/$defs/b' }] } }, required: ['n'] },
        b: { properties: { n: { allOf: [{ $ref: '#/$defs/b' }, { $ref: '#/$defs/a' }, { type: 'object' }] } } }
      }
    }
  }
  for (const [says, schema] of Object.entries(hostile)) {
    const start = process.cpuUsage()
    let outcome = 'taken'
    try {
      compileSchema(schema)
    } catch (thrown) {
      outcome = (thrown as GatewayError).code ?? String(thrown)
    }
    t.ok(['unsupported_value', 'invalid_value'].includes(outcome), `${says}: ${outcome}`)
    t.ok(cpuMs(start) < MOMENT_MS, `${says}: ${outcome} after ${cpuMs(start)} ms`)
  }
})

test('at no place are many ways open, however many values, members and alternatives there are', async t => {
  const words = Array.from({ length: 1000 }, (_, i) => `value-${i.toString(36)}`)
  t.ok(new Gbnf(compileSchema({ enum: words }).grammar).widest('"value-rr"') <= 37)
  t.ok(new Gbnf(compileSchema({ type: 'string', maxLength: 100_000 }).grammar).widest('"some text"') <= 12)
  t.ok(new Gbnf(compileSchema({ type: 'string', format: 'date-time' }).grammar).widest('"2024-01-01T00:00:00Z"') <= 6)
})
