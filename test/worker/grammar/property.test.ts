import fc from 'fast-check'
import { test } from 'tap'
import { compileSchema, jsonObjectGrammar } from '../../../src/worker/grammar/compile.ts'
import { judge, parse } from './judge.ts'
import { Gbnf } from './match.ts'
import { seeded } from '../../seeded.ts'
import { CHARACTERS, documents } from './schemas.ts'

/** 1e308 and more is left to chance by the grammar, so as not to end beyond what is finite. */
const isUsual = (value: unknown): boolean => !/e\+308/.test(JSON.stringify(value))
const objects = fc.dictionary(fc.string({ unit: fc.constantFrom(...CHARACTERS) }), fc.jsonValue({ maxDepth: 4 })).filter(isUsual)
const RUNS = 160
const TEXTS = 4

test('whatever the grammar of a schema allows is JSON that the schema allows', async t => {
  let texts = 0
  fc.assert(fc.property(documents, fc.nat(), ({ schema }, seed) => {
    const grammar = new Gbnf(compileSchema(schema).grammar)
    const wrong = judge(schema)
    const draw = seeded(seed)
    for (let i = 0; i < TEXTS; i++) {
      const text = grammar.wander(draw, 40 * (i + 1))
      const complaint = wrong(parse(text))
      if (complaint !== null) throw new Error(`${text}\n${complaint}`)
      texts++
    }
  }), { numRuns: RUNS })
  t.equal(texts, RUNS * TEXTS)
})

test('whatever a schema allows, written in the order of the schema, is what its grammar allows', async t => {
  let texts = 0
  fc.assert(fc.property(documents, fc.nat(), ({ schema, make }, seed) => {
    const grammar = new Gbnf(compileSchema(schema).grammar)
    const wrong = judge(schema)
    const draw = seeded(seed)
    for (let i = 0; i < TEXTS; i++) {
      const text = make(draw)
      if (text === null) continue
      const complaint = wrong(parse(text))
      if (complaint !== null) throw new Error(`the test is wrong: ${text}\n${complaint}`)
      if (!grammar.matches(text)) throw new Error(`not allowed: ${text}`)
      texts++
    }
  }), { numRuns: RUNS })
  t.ok(texts > RUNS * TEXTS * 0.9, `${texts} texts`)
})

test('any JSON object is allowed where no schema says more, and nothing else is', async t => {
  const grammar = new Gbnf(jsonObjectGrammar().grammar)
  fc.assert(fc.property(objects, value => grammar.matches(JSON.stringify(value))), { numRuns: 100 })
  fc.assert(fc.property(fc.nat(), seed => {
    const value: unknown = parse(grammar.wander(seeded(seed), 100))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  }), { numRuns: 200 })
  for (const text of ['', '[]', 'null', '"a"', '{', '{} ', ' {}', '{"a":1,}', '{"a":01}', '{"a":.5}', '{"a":"\n"}', '{a:1}', '{"a":"\\ud800"}', '{"a":1}{}']) {
    t.notOk(grammar.matches(text), text)
  }
})
