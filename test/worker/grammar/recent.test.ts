import { test } from 'tap'
import type { GatewayError } from '../../../src/errors.ts'
import { compileSchema } from '../../../src/worker/grammar/compile.ts'
import { grammarOf } from '../../../src/worker/grammar/recent.ts'

const schema = { type: 'object', properties: { a: { type: 'integer' } } }

test('the same schema is compiled once, and another one by itself', async t => {
  const first = grammarOf(schema)
  t.same(first, compileSchema(schema))
  t.equal(grammarOf(structuredClone(schema)), first)
  t.not(grammarOf({ type: 'object' }, { strict: true }).grammar, grammarOf({ type: 'object' }).grammar, 'strict is another grammar')
  t.not(grammarOf({ ...schema, required: ['a'] }).grammar, first.grammar)
  const turned = { type: 'object', properties: { b: {}, a: {} } }
  t.not(grammarOf(turned).grammar, grammarOf({ type: 'object', properties: { a: {}, b: {} } }).grammar, 'the order of members counts')
})

test('what was not asked for in a long time is forgotten', async t => {
  const [kept, lost] = [grammarOf(schema), grammarOf({ const: 'lost' })]
  for (let i = 0; i < 40; i++) {
    grammarOf({ const: i })
    grammarOf(schema)
  }
  t.equal(grammarOf(schema), kept)
  t.not(grammarOf({ const: 'lost' }), lost)
})

test('what is refused is refused each time, where it stands', async t => {
  for (const path of ['response_format.schema', 'tools[0].function.parameters', 'tools[0].function.parameters']) {
    let param: string | null = null
    try { grammarOf({ not: {} }, { path }) } catch (thrown) { param = (thrown as GatewayError).param }
    t.equal(param, `${path}.not`)
  }
})
