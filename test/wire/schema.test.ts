import { Ajv2020 } from 'ajv/dist/2020.js'
import { test } from 'tap'
import { all, boolean, decimal, integer, line, list, object, oneOf, shape, stringOr, text, variant, type Check } from '../../src/wire/check.ts'
import { schemaOf, withSchema } from '../../src/wire/schema.ts'
import { chatSchema, validateChat } from '../../src/wire/validate.ts'
import { BODIES } from './bodies.ts'
import { MISSING, MESSAGES, RANGES, TYPES, user, WORDS } from './refusals.ts'

const ajv = new Ajv2020({ strict: false })
const never: Check = withSchema(() => ({ code: 'invalid_value', path: '', says: () => 'no' }), () => null)

const VALUES: readonly unknown[] = [
  null, true, 0, 1, 1.5, -1, 3, '', 'a', 'abcd', 'B', [], ['a'], [1], ['a', 'b', 'c'], {}, { a: 1 }, { a: null }, { b: 'x' }, { a: 1, b: null }, { a: 1, b: 'x' }, { a: 1, c: 1 },
  { kind: 'x' }, { kind: 'x', a: 1 }, { kind: 'y' }, { kind: 'z' }
]

const CHECKS: Record<string, Check> = {
  boolean,
  object,
  integer: integer(0, 2),
  decimal: decimal(0, 2),
  text: text({ least: 1, most: 3, pattern: /^[a-z]+$/ }),
  line: line({ least: 1, most: 3 }),
  oneOf: oneOf('a', 'B'),
  all: all(text({ least: 1 })),
  list: list(text(), { of: 'strings', most: 2 }),
  stringOr: stringOr(list(integer(0, 1), { of: 'integers' }), 'integers'),
  shape: shape({ a: integer(0, 9), b: oneOf('x'), c: never }, 'a'),
  variant: variant('kind', { x: shape({ a: integer(0, 9) }, 'a'), y: object })
}

test('each word of the vocabulary lets pass what its schema says, and nothing else', async t => {
  for (const [name, check] of Object.entries(CHECKS)) {
    const validate = ajv.compile(schemaOf(check)!)
    for (const value of VALUES) {
      // What nobody may send is not in a schema, and other members are nobody's business.
      if (name === 'shape' && value !== null && typeof value === 'object' && 'c' in value) continue
      t.equal(validate(value), check(structuredClone(value)) === null, `${name}: ${JSON.stringify(value)}`)
    }
  }
})

test('the schema of a chat completion is no stricter than its check, and refuses most of what is wrong', async t => {
  const validate = ajv.compile(chatSchema())
  for (const [name, body] of Object.entries(BODIES)) {
    validateChat(structuredClone(body))
    t.ok(validate(body), `${name}: ${ajv.errorsText(validate.errors)}`)
  }
  const wrong = [...TYPES, ...RANGES, ...WORDS, ...MISSING, ...MESSAGES]
  const refused = wrong.filter(([change]) => !validate(JSON.parse(JSON.stringify({ model: 'm', messages: [user], ...change }))))
  t.ok(refused.length > wrong.length * 0.7, `${refused.length} of ${wrong.length}`)
})
