/** Random schemas, each with a maker of values that it allows, written as the grammar writes them. */
import fc, { type Arbitrary } from 'fast-check'
import type { Draw } from './match.ts'

export type Schema = Record<string, unknown>
/** JSON text of a value, or null where none can be made any more (references deep within each other). */
export type Make = (draw: Draw, env: Env) => string | null
export interface Env { readonly definitions: Readonly<Record<string, Sample>>, readonly depth: number }
export interface Sample { readonly schema: Schema, readonly make: Make }

const sample = (schema: Schema, make: Make): Sample => ({ schema, make })
const from = <T>(draw: Draw, values: readonly T[]): T => values[Math.floor(draw() * values.length)]!
const between = (draw: Draw, least: number, most: number): number => least + Math.floor(draw() * (most - least + 1))
const comma = (draw: Draw): string => draw() < 0.5 ? ',' : ', '
const colon = (draw: Draw): string => draw() < 0.5 ? ':' : ': '
const digits = (draw: Draw, count: number): string => Array.from({ length: count }, () => between(draw, 0, 9)).join('')

export const CHARACTERS = [...'abcxyzABC019 _-.,:;/{}[]"\\\n\t\b\u0001\u001F\u007Féß中文😀🏳️\u2028']
const word = (draw: Draw, least: number, most: number): string => Array.from({ length: between(draw, least, most) }, () => from(draw, CHARACTERS)).join('')

/** Now and then a character is written as \\u…, as some models do. */
function written (draw: Draw, text: string): string {
  return JSON.stringify(text).replace(/[a-zA-Z0-9é中](?![0-9a-fA-F]{0,3}\\)/g, (character, at: number, whole: string) =>
    whole[at - 1] !== '\\' && !/\\u[0-9a-f]{0,3}$/.test(whole.slice(Math.max(0, at - 5), at)) && draw() < 0.05
      ? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
      : character)
}

const strings: Arbitrary<Sample> = fc.tuple(fc.nat(12), fc.nat(40), fc.constantFrom('none', 'least', 'most', 'both')).map(([least, more, kind]) => {
  const low = kind === 'least' || kind === 'both' ? least : 0
  const high = kind === 'most' || kind === 'both' ? least + more : Infinity
  return sample(
    { type: 'string', ...low > 0 && { minLength: low }, ...high < Infinity && { maxLength: high } },
    draw => written(draw, word(draw, low, Math.min(high, low + 20)))
  )
})

const PATTERNS: readonly (readonly [string, (draw: Draw) => string])[] = [
  ['^[a-z]{2,5}$', draw => Array.from({ length: between(draw, 2, 5) }, () => from(draw, [...'abz'])).join('')],
  ['^(foo|bar(baz)?)+$', draw => Array.from({ length: between(draw, 1, 4) }, () => from(draw, ['foo', 'bar', 'barbaz'])).join('')],
  ['\\d+', draw => word(draw, 0, 4) + digits(draw, 2) + word(draw, 0, 4)],
  ['^\\+?[1-9]\\d{1,14}$', draw => from(draw, ['', '+']) + between(draw, 1, 9) + digits(draw, between(draw, 1, 14))],
  ['^[^"\\\\]*$', draw => word(draw, 0, 9).replace(/["\\]/g, '')],
  ['^\\s*$|x$', draw => from(draw, ['', ' \t', '\u00A0', word(draw, 0, 5) + 'x'])],
  ['[\\u4e00-\\u9fa5]{2}', draw => word(draw, 0, 3) + '中文' + word(draw, 0, 3)],
  ['^(?!admin)\\w+$', draw => from(draw, ['root', 'adm', 'Admin', 'x_1'])],
  ['^.{3}$', draw => from(draw, ['abc', '"\\"', '😀😀😀', '\t\t\t'])]
]
const patterns: Arbitrary<Sample> = fc.constantFrom(...PATTERNS).map(([pattern, make]) => sample({ type: 'string', pattern }, draw => JSON.stringify(make(draw))))

const two = (draw: Draw, most: number): string => String(between(draw, 0, most)).padStart(2, '0')
const day = (draw: Draw): string => `${digits(draw, 4)}-${String(between(draw, 1, 12)).padStart(2, '0')}-${String(between(draw, 1, 28)).padStart(2, '0')}`
const time = (draw: Draw): string => `${two(draw, 23)}:${two(draw, 59)}:${two(draw, 59)}${from(draw, ['', '.5', '.123456'])}${from(draw, ['Z', `+${two(draw, 23)}:${two(draw, 59)}`])}`
const hexadecimal = (draw: Draw, count: number): string => Array.from({ length: count }, () => from(draw, [...'0123456789abcdefABCDEF'])).join('')
const FORMATS: Readonly<Record<string, (draw: Draw) => string>> = {
  date: draw => from(draw, [day(draw), '2024-02-29', '2000-02-29', '1999-12-31']),
  time,
  'date-time': draw => `${day(draw)}T${time(draw)}`,
  duration: draw => from(draw, ['P1D', 'PT36H', 'P1Y2M3DT4H5M6S', 'P3W', 'PT0S']),
  email: draw => from(draw, ['a@b.co', "o'neil+x@mail.example-site.org", 'first.last@sub.example.com']),
  hostname: draw => from(draw, ['localhost', 'a.b-c.example.com', 'my-service.my-namespace.svc.cluster.local']),
  ipv4: draw => Array.from({ length: 4 }, () => between(draw, 0, 255)).join('.'),
  ipv6: draw => from(draw, ['::', '::1', 'fe80::1', '2001:db8:0:0:0:0:2:1', '1::2:3:4:5:6:7', `${hexadecimal(draw, 4)}::`]),
  uuid: draw => [8, 4, 4, 4, 12].map(count => hexadecimal(draw, count)).join('-'),
  uri: draw => from(draw, ['https://example.com', 'http://a.b:8080/x/y.html?q=1&r=%20#top', 'ftp://host/'])
}
const formats: Arbitrary<Sample> = fc.constantFrom(...Object.entries(FORMATS)).map(([format, make]) => sample({ type: 'string', format }, draw => JSON.stringify(make(draw))))

const bound = fc.oneof(fc.integer({ min: -20, max: 20 }), fc.integer({ min: -2_000_000, max: 2_000_000 }), fc.maxSafeInteger())
const integerWithin = (least: number, most: number): Make => draw => String(from(draw, [
  least, most, between(draw, least, Math.min(most, least + 1e12)), Math.min(most, Math.max(least, between(draw, -99, 99)))
]))
const integers: Arbitrary<Sample> = fc.tuple(bound, bound, fc.constantFrom('none', 'least', 'most', 'both', 'exclusive')).map(([a, b, kind]) => {
  const [low, high] = [Math.min(a, b), Math.max(a, b)]
  switch (kind) {
    case 'least': return sample({ type: 'integer', minimum: low }, integerWithin(low, low + 1e6))
    case 'most': return sample({ type: 'integer', maximum: high }, integerWithin(high - 1e6, high))
    case 'both': return sample({ type: 'integer', minimum: low, maximum: high }, integerWithin(low, high))
    case 'exclusive': return high - low < 2
      ? sample({ type: 'integer', exclusiveMinimum: low - 2 }, integerWithin(low, low + 5))
      : sample({ type: 'integer', exclusiveMinimum: low, exclusiveMaximum: high }, integerWithin(low + 1, high - 1))
    default: return sample({ type: 'integer' }, integerWithin(-1e9, 1e9))
  }
})

const decimal = fc.tuple(fc.integer({ min: -50_000, max: 50_000 }), fc.constantFrom(1, 10, 1000)).map(([value, scale]) => value / scale)
const numberWithin = (least: number, most: number): Make => draw => {
  const value = Math.round((least + draw() * (most - least)) * 1000) / 1000
  return String(from(draw, [least, most, value < least || value > most ? least : value]) + 0)
}
const numbers: Arbitrary<Sample> = fc.tuple(decimal, decimal, fc.constantFrom('none', 'least', 'most', 'both', 'exclusive')).map(([a, b, kind]) => {
  const [low, high] = [Math.min(a, b), Math.max(a, b)]
  switch (kind) {
    case 'least': return sample({ type: 'number', minimum: low }, numberWithin(low, Math.ceil(low) + 1000))
    case 'most': return sample({ type: 'number', maximum: high }, numberWithin(Math.floor(high) - 1000, high))
    case 'both': return sample({ type: 'number', minimum: low, maximum: high }, numberWithin(low, high))
    case 'exclusive': return sample({ type: 'number', exclusiveMinimum: Math.floor(low) - 1, exclusiveMaximum: Math.ceil(high) + 1 }, numberWithin(low, high))
    default: return sample({ type: 'number' }, draw => JSON.stringify(from(draw, [0, -1.5, 3.25e-9, 1e21, 6.02e+23, 123456.789, draw(), -draw() * 1e15])))
  }
})

// The judge compares by methods of that name.
const json = fc.jsonValue({ maxDepth: 2 }).filter(value => !/toString|valueOf|constructor|__proto__|e\+308/.test(JSON.stringify(value)))
const enums: Arbitrary<Sample> = fc.uniqueArray(json, { minLength: 1, maxLength: 8, selector: value => JSON.stringify(value) })
  .map(values => sample({ enum: values }, draw => JSON.stringify(from(draw, values))))
const constants: Arbitrary<Sample> = json.map(value => sample({ const: value }, () => JSON.stringify(value)))
const simple: Arbitrary<Sample> = fc.constantFrom(
  sample({ type: 'boolean' }, draw => from(draw, ['true', 'false'])),
  sample({ type: 'null' }, () => 'null'),
  sample({ type: ['string', 'null'] }, draw => from(draw, ['null', '""', '"x"'])),
  sample({ type: ['integer', 'boolean'], minimum: 5 }, draw => from(draw, ['5', '77', 'true', 'false'])),
  sample({}, draw => from(draw, ['null', '[]', '{}', '[1, {"a":[true]}]', '"x"', '-0.5e-7'])),
  sample({ type: 'object' }, draw => from(draw, ['{}', '{"b": [null], "a":{"c":1}}'])),
  sample({ type: 'array' }, draw => from(draw, ['[]', '["x",{}, 1.5]'])),
  sample({ type: 'string', nullable: true, maxLength: 3 }, draw => from(draw, ['null', '"abc"'])),
  sample({ type: 'number', multipleOf: 0.01, minimum: 0 }, draw => from(draw, ['0', '19.99', '5.5', '1000000'])),
  sample({ type: 'integer', multipleOf: 5, minimum: -10, maximum: 20 }, draw => from(draw, ['-10', '0', '15', '20']))
)

const leaves = fc.oneof(strings, patterns, formats, integers, numbers, enums, constants, simple)
// Not the backslash alone: V8 14 takes an escaped name of one character for it, when it has seen it in that place before.
const names = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('id', 'name', 'items', 'a', 'ab', 'abc', 'b', '$ref', 'type', 'properties', 'x y', 'é', '"', 'a\\b', '\n', '', '0') },
  { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom(...CHARACTERS), maxLength: 6 }).filter(name => name !== '\\') }
)

function listOf (draw: Draw, env: Env, item: Sample, least: number, most: number): string | null {
  const items: string[] = []
  const count = between(draw, least, Math.max(least, Math.min(most, least + 4)))
  while (items.length < count) {
    const text = item.make(draw, env)
    if (text === null) break
    items.push(text)
  }
  return items.length < least ? null : items.reduce((text, next) => text + comma(draw) + next)
}

const arraysOf = (inner: Arbitrary<Sample>): Arbitrary<Sample> => fc.tuple(
  inner, fc.nat(4), fc.nat(4), fc.boolean(), fc.boolean()
).map(([item, least, more, hasLeast, hasMost]) => {
  const low = hasLeast ? least : 0
  const high = hasMost ? low + more : Infinity
  return sample({ type: 'array', items: item.schema, ...hasLeast && { minItems: low }, ...hasMost && { maxItems: high } }, (draw, env) => {
    if (low === 0 && (draw() < 0.2 || high === 0)) return '[]'
    const text = listOf(draw, env, item, Math.max(1, low), high)
    return text === null ? low === 0 ? '[]' : null : `[${text}]`
  })
})

const tuplesOf = (inner: Arbitrary<Sample>): Arbitrary<Sample> => fc.tuple(
  fc.array(inner, { minLength: 1, maxLength: 3 }), fc.option(inner), fc.nat(3)
).map(([prefix, rest, most]) => {
  const low = Math.min(most, prefix.length)
  return sample({ type: 'array', prefixItems: prefix.map(item => item.schema), items: rest === null ? false : rest.schema, minItems: low }, (draw, env) => {
    const items: string[] = []
    const all = [...prefix, ...rest === null ? [] : [rest, rest]]
    for (const item of all.slice(0, between(draw, low, all.length))) {
      const text = item.make(draw, env)
      if (text === null) break
      items.push(text)
    }
    return items.length < low ? null : items.length === 0 ? '[]' : `[${items.reduce((text, next) => text + comma(draw) + next)}]`
  })
})

const objectsOf = (inner: Arbitrary<Sample>): Arbitrary<Sample> => fc.tuple(
  fc.uniqueArray(fc.tuple(names, inner, fc.boolean()), { maxLength: 5, selector: ([name]) => name }),
  fc.constantFrom('closed', 'open', 'typed', 'unsaid'), inner
).map(([members, kind, other]) => {
  const byName = new Map(members.map(([name, value, isRequired]) => [name, { value, isRequired }]))
  const properties = Object.fromEntries(members.map(([name, value]) => [name, value.schema]))
  const required = members.filter(([, , isRequired]) => isRequired).map(([name]) => name)
  const additional = { closed: false, open: true, typed: other.schema, unsaid: undefined }[kind]
  return sample({ type: 'object', properties, required, ...additional !== undefined && { additionalProperties: additional } }, (draw, env) => {
    const parts: string[] = []
    const add = (name: string, value: string): void => { parts.push((parts.length > 0 ? comma(draw) : '') + JSON.stringify(name) + colon(draw) + value) }
    for (const name of Object.keys(properties)) {
      const { value, isRequired } = byName.get(name)!
      if (!isRequired && draw() < 0.4) continue
      const text = value.make(draw, env)
      if (text !== null) add(name, text)
      else if (isRequired) return null
    }
    const more = kind === 'open' || kind === 'typed' ? between(draw, 0, 2) : 0
    for (let i = 0; i < more; i++) {
      const name = `${from(draw, ['i', 'ident', 'ac', 'abcd', '\u0002', 'names', '😀', 'Z'])}${i}`
      const text = kind === 'open' ? '[]' : other.make(draw, env)
      if (text !== null && !byName.has(name)) add(name, text)
    }
    return `{${parts.join('')}}`
  })
})

const choicesOf = (inner: Arbitrary<Sample>): Arbitrary<Sample> => fc.array(inner, { minLength: 1, maxLength: 3 })
  .map(branches => sample({ anyOf: branches.map(branch => branch.schema) }, (draw, env) => from(draw, branches).make(draw, env)))

/** Told apart by a constant. */
const variantsOf = (inner: Arbitrary<Sample>): Arbitrary<Sample> => fc.array(inner, { minLength: 1, maxLength: 3 }).map(values => sample({
  oneOf: values.map((value, i) => ({
    type: 'object', properties: { kind: { const: `k${i}` }, value: value.schema }, required: ['kind', 'value'], additionalProperties: false
  }))
}, (draw, env) => {
  const index = between(draw, 0, values.length - 1)
  const text = values[index]!.make(draw, env)
  return text === null ? null : `{"kind"${colon(draw)}"k${index}"${comma(draw)}"value"${colon(draw)}${text}}`
}))

/** An object in two parts. */
const mergedOf = (inner: Arbitrary<Sample>): Arbitrary<Sample> => fc.tuple(inner, inner, fc.integer({ min: -9, max: 9 })).map(([a, b, least]) => sample({
  allOf: [
    { type: 'object', properties: { a: a.schema, n: { type: 'integer' } }, required: ['a'] },
    { properties: { n: { minimum: least }, b: b.schema }, required: ['n'] }
  ],
  description: 'both'
}, (draw, env) => {
  const [first, second] = [a.make(draw, env), b.make(draw, env)]
  if (first === null) return null
  const last = second === null || draw() < 0.5 ? '' : `${comma(draw)}"b"${colon(draw)}${second}`
  return `{"a"${colon(draw)}${first}${comma(draw)}"n"${colon(draw)}${least + between(draw, 0, 20)}${last}}`
}))

/** Only where a value can do without: schemas that never end are refused, and tested elsewhere. */
const references: Arbitrary<Sample> = fc.constantFrom('first', 'second', 'list').map(name => sample({ type: 'array', items: { $ref: `#/$defs/${name}` } }, (draw, env) => {
  if (env.depth > 3) return '[]'
  const text = env.definitions[name]!.make(draw, { ...env, depth: env.depth + 1 })
  return text === null ? '[]' : `[${text}]`
}))

const LIST: Sample = sample({
  type: 'object', properties: { value: { type: 'integer' }, next: { anyOf: [{ $ref: '#/$defs/list' }, { type: 'null' }] } }, required: ['value', 'next'], additionalProperties: false
}, (draw, env) => {
  const next = env.depth > 3 || draw() < 0.4 ? 'null' : LIST.make(draw, { ...env, depth: env.depth + 1 })
  return `{"value"${colon(draw)}${between(draw, -5, 5)}${comma(draw)}"next"${colon(draw)}${next}}`
})

const nested = (depth: number): Arbitrary<Sample> => {
  if (depth === 0) return fc.oneof({ weight: 6, arbitrary: leaves }, { weight: 1, arbitrary: references })
  const inner = nested(depth - 1)
  return fc.oneof(
    { weight: 4, arbitrary: leaves },
    { weight: 1, arbitrary: references },
    { weight: 3, arbitrary: objectsOf(inner) },
    { weight: 2, arbitrary: arraysOf(inner) },
    { weight: 1, arbitrary: tuplesOf(inner) },
    { weight: 1, arbitrary: choicesOf(inner) },
    { weight: 1, arbitrary: variantsOf(inner) },
    { weight: 1, arbitrary: mergedOf(inner) }
  )
}

export interface Document { readonly schema: Schema, readonly make: (draw: Draw) => string | null }

/** Whole documents, with definitions that may refer to themselves and to each other. */
export const documents: Arbitrary<Document> = fc.tuple(
  fc.oneof(leaves, objectsOf(nested(2)), objectsOf(nested(1)), arraysOf(nested(2)), choicesOf(nested(1)), variantsOf(nested(1)), mergedOf(nested(1))),
  nested(1), nested(1)
).map(([root, first, second]) => {
  const definitions = { first, second, list: LIST }
  return {
    schema: { ...root.schema, $defs: Object.fromEntries(Object.entries(definitions).map(([name, { schema }]) => [name, schema])) },
    make: (draw: Draw) => root.make(draw, { definitions, depth: 0 })
  }
})
