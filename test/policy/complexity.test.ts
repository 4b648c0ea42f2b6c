import * as fc from 'fast-check'
import { test } from 'tap'
import { explainScore, FEATURE_NAMES, featuresOf, HEURISTIC, LOOKED_AT, score, type Feature } from '../../src/policy/complexity.ts'

const feature = (name: Feature, prompt: string) => featuresOf(prompt)[FEATURE_NAMES.indexOf(name)]!

test('what wants work scores higher than what does not', async t => {
  const rising = [
    'Hi',
    'What is the capital of France?',
    'Write a function that merges two sorted lists.\n```python\ndef merge(a, b):\n```',
    'Explain step by step why each of 12 trains needs 3.5 hours for 210 miles, and prove that the total = 42 if half remain.'
  ].map(prompt => score(HEURISTIC, prompt))
  t.same(rising, rising.toSorted((a, b) => a - b))
  t.ok(rising[1]! < 1 && rising[2]! > 1, 'the default threshold lies between a question and a task')
})

test('each feature sees what it is named after, and no more', async t => {
  const cases: Array<[Feature, string, string]> = [
    ['words', 'one two three', 'one'],
    ['long_words', 'extraordinary', 'plain'],
    ['short_words', 'to be or', 'three longer words'],
    ['different_words', 'one two three', 'one one one'],
    ['capitals', 'ABC', 'abc'],
    ['sentences', 'One. Two. ', 'One, two '],
    ['lines', 'a\nb\nc', 'a b c'],
    ['commas', 'a, b', 'a b'],
    ['quotes', 'a “b” c', 'a b c'],
    ['question_marks', 'what? now', 'what now'],
    ['lines_that_ask', 'what?\nnow', 'what? now'],
    ['beyond_ascii', 'naïve', 'naive'],
    ['numbers', 'costs 5 or 6', 'costs five'],
    ['large_numbers', '1234', '12'],
    ['fractions', '1/2 of 3.5 or 10%', '1 2 3'],
    ['symbols', 'a = b + c', 'a b c'],
    ['code', 'import x', 'important x'],
    ['code', '```', '`'],
    ['mathematics', 'the Integral of x', 'integrally'],
    ['reasoning', 'think step by step', 'step'],
    ['conditions', 'if then', 'shift'],
    ['exceptions', 'all except one', 'accept one'],
    ['facts_asked', 'Who is it', 'whose it is'],
    ['reasons_asked', 'How?', 'show'],
    ['choices', 'A. 1\nB. 2\nAnswer:', 'Answer: 2']
  ]
  for (const [name, more, less] of cases) t.ok(feature(name, more) > feature(name, less), `${name}: ${more}`)
  t.same([...new Set(cases.map(([name]) => name))].toSorted(), FEATURE_NAMES.filter(name => !['words_squared', 'word_length', 'numbers_squared'].includes(name)).toSorted())
})

test('languages without spaces have words too', async t => {
  t.equal(feature('words', '今日は天気がいい'), Math.log1p(8) / 6)
})

test('every text has a finite score, and what explains it adds up to it', async t => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), prompt => {
    const { score: told, parts } = explainScore(HEURISTIC, prompt)
    return Number.isFinite(told) && featuresOf(prompt).every(Number.isFinite) &&
      Math.abs(parts.reduce((sum, { adds }) => sum + adds, HEURISTIC.intercept) - told) < 1e-9
  }))
  t.equal(score(HEURISTIC, ''), 0)
})

test('a long prompt is judged by its beginning and its end, so a longer one takes no longer', async t => {
  const middle = 'x '.repeat(1_000_000)
  t.ok(feature('choices', `${middle}Answer:`) === 1 && feature('code', `import it ${middle}`) === 1)
  t.equal(feature('mathematics', `${middle} theorem ${middle}`), 0)
  t.same(featuresOf('a'.repeat(LOOKED_AT * 2)).length, FEATURE_NAMES.length)
})
