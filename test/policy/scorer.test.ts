import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { HEURISTIC, type Scorer } from '../../src/policy/complexity.ts'
import { readScorer, scorerText } from '../../src/policy/scorer.ts'

test('a scorer is read as it was written', async t => {
  const scorer: Scorer = { name: 'mine', intercept: 0.25, features: [{ name: 'words', weight: -1.5, mean: 0.4, deviation: 0.1 }] }
  const path = join(t.testdir(), 'scorer.json')
  writeFileSync(path, scorerText(scorer))
  t.same(readScorer(path), scorer)
  writeFileSync(path, scorerText(HEURISTIC))
  t.same(readScorer(path), HEURISTIC)
})

test('what is no scorer is refused, with the file and the place', async t => {
  const path = join(t.testdir(), 'scorer.json')
  const good = { format: 'torchgate-scorer-1', name: 'x', intercept: 0, features: [{ name: 'words', weight: 1, mean: 0, deviation: 1 }] }
  const [feature] = good.features
  const cases: Array<[unknown, RegExp]> = [
    ['no json', /scorer\.json: expected JSON/],
    [null, /expected a scorer of the format/],
    [{ ...good, format: 'torchgate-scorer-2' }, /expected a scorer of the format/],
    [{ ...good, intercept: '0' }, /expected a name, an intercept and features/],
    [{ ...good, features: [{ ...feature, name: 'mood' }] }, /features\[0\]\.name: expected one of words, /],
    [{ ...good, features: [feature, { ...feature, weight: null }] }, /features\[1\]\.weight: expected a number/],
    [{ ...good, features: [{ ...feature, deviation: 0 }] }, /features\[0\]\.deviation: expected a number above 0/],
    [{ ...good, features: [5] }, /features\[0\]: expected an object/]
  ]
  for (const [value, message] of cases) {
    writeFileSync(path, value === 'no json' ? '{' : JSON.stringify(value))
    t.throws(() => readScorer(path), { message }, String(message))
  }
})
