import { test } from 'tap'
import { crossScores, qualityOf, thresholdFor, train, type Outcome } from '../../src/evaluate/routing.ts'
import { score } from '../../src/policy/complexity.ts'
import { seeded } from '../seeded.ts'

/** Sums with many numbers are hard for the weak model, words are not; both models err now and then. */
function outcomes (count: number, seed: number): Outcome[] {
  const random = seeded(seed)
  return Array.from({ length: count }, (): Outcome => {
    const numbers = Math.floor(random() * 8)
    const words = Math.floor(random() * 30)
    const prompt = `What is ${Array.from({ length: numbers }, () => Math.floor(random() * 90)).join(' and ')} ${'word '.repeat(words)}?`
    return { prompt, weak: random() < 1 - numbers / 9 ? 1 : 0, strong: random() < 0.95 ? 1 : 0 }
  })
}

/** Two prompts are won by the strong model, one is lost by it, one both answer. */
const FOUR: Outcome[] = [{ prompt: 'a', weak: 0, strong: 1 }, { prompt: 'b', weak: 0, strong: 1 }, { prompt: 'c', weak: 1, strong: 1 }, { prompt: 'd', weak: 1, strong: 0 }]

test('quality, by hand: the best order, the worst, and one in between', async t => {
  const best = qualityOf(FOUR, [4, 3, 2, 1])
  t.match(best, { prompts: 4, weak: 0.5, strong: 0.75 })
  // Recovered after 0, 1, 2, 3, 4 calls to the strong model: 0, 1, 2, 2, 1. In tenths of four that is 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4.
  t.equal(best.cpt50, 0.125)
  t.equal(best.cpt80, 0.2)
  t.ok(Math.abs(best.apgr - (0.25 * 0.5 + 0.25 * 1.5 + 0.25 * 2 + 0.25 * 1.5)) < 1e-12)
  const worst = qualityOf(FOUR, [1, 2, 3, 4])
  t.ok(worst.apgr < 0.5 && worst.cpt50 > 0.75)
})

test('scores that know nothing recover half the gap', async t => {
  const all = outcomes(5000, 1)
  const random = seeded(2)
  t.ok(Math.abs(qualityOf(all, all.map(() => random())).apgr - 0.5) < 0.05)
})

test('where the strong model is no better there is no quality to speak of', async t => {
  t.throws(() => qualityOf(FOUR.slice(2), [1, 2]), { message: /expected the strong one to be better/ })
})

test('a trained scorer finds on prompts it has not seen what there is to find', async t => {
  const scorer = train(outcomes(1000, 3), 'sums')
  const unseen = outcomes(2000, 4)
  const { apgr } = qualityOf(unseen, unseen.map(({ prompt }) => score(scorer, prompt)))
  t.ok(apgr > 0.7, String(apgr))
  t.same(train(outcomes(1000, 3), 'sums'), scorer, 'the same outcomes give the same scorer')
})

test('cross-validation never scores a prompt by a scorer that has seen it', async t => {
  // Grades are noise, so whatever is found was seen.
  const random = seeded(5)
  const noise = outcomes(400, 6).map(({ prompt }) => ({ prompt, weak: Math.round(random()), strong: random() < 0.7 ? 1 : 0 }))
  const scorer = train(noise, 'noise')
  const seen = qualityOf(noise, noise.map(({ prompt }) => score(scorer, prompt))).apgr
  const unseen = qualityOf(noise, crossScores(noise, 5)).apgr
  t.ok(seen - unseen > 0.1, `${seen} against ${unseen}`)
})

test('a threshold leaves the wanted share above it', async t => {
  const scores = [5, 1, 4, 2, 3]
  for (const [share, above] of [[0, 0], [0.4, 2], [1, 4]] as const) t.equal(scores.filter(value => value > thresholdFor(scores, share)).length, above)
})

test('too few outcomes teach nothing', async t => {
  t.throws(() => train(outcomes(99, 1), 'few'), { message: /Expected 100 outcomes or more/ })
})
