/** Is a scorer any good at telling which prompts want the strong model, and how one is trained from what two models did. */
import { FEATURE_NAMES, featuresOf, score, type Scorer } from '../policy/complexity.ts'

/** How well each of two models answered one prompt: 1 right, 0 wrong, or any grade. */
export interface Outcome { readonly prompt: string, readonly weak: number, readonly strong: number }

/**
 * Where the prompts with the highest scores go to the strong model. The gap recovered is (quality − weak) / (strong − weak).
 * Source of the measures: RouteLLM, arXiv 2406.18665, section 3.
 */
export interface Quality {
  readonly prompts: number
  readonly weak: number
  readonly strong: number
  /** Mean of the gap recovered over all shares of strong calls, in steps of a tenth. Random routing gives 0.5. */
  readonly apgr: number
  /** Share of strong calls that recovers half, and four fifths, of the gap. */
  readonly cpt50: number
  readonly cpt80: number
}

const STEPS = 10

/**
 * @param scores one for each outcome; ties keep their order
 * @throws RangeError when the strong model is no better than the weak one: there is nothing to recover then
 */
export function qualityOf (outcomes: readonly Outcome[], scores: readonly number[]): Quality {
  const order = [...outcomes.keys()].toSorted((a, b) => scores[b]! - scores[a]!)
  const weak = mean(outcomes.map(outcome => outcome.weak))
  const strong = mean(outcomes.map(outcome => outcome.strong))
  if (!(strong > weak)) throw new RangeError(`The strong model is right in ${strong.toFixed(3)} of the cases and the weak one in ${weak.toFixed(3)}: expected the strong one to be better.`)
  const gained = [0]
  for (const index of order) gained.push(gained.at(-1)! + outcomes[index]!.strong - outcomes[index]!.weak)
  const points = Array.from({ length: STEPS + 1 }, (_, step) => {
    const count = Math.round(outcomes.length * step / STEPS)
    return { share: count / outcomes.length, recovered: gained[count]! / outcomes.length / (strong - weak) }
  })
  const area = (from: Point, to: Point) => (to.share - from.share) * (from.recovered + to.recovered) / 2
  return {
    prompts: outcomes.length,
    weak,
    strong,
    apgr: points.slice(1).reduce((sum, point, index) => sum + area(points[index]!, point), 0),
    cpt50: shareFor(points, 0.5),
    cpt80: shareFor(points, 0.8)
  }
}

interface Point { readonly share: number, readonly recovered: number }

function shareFor (points: readonly Point[], wanted: number): number {
  for (const [index, to] of points.entries()) {
    if (to.recovered < wanted) continue
    const from = points[index - 1]
    return from === undefined ? 0 : from.share + (wanted - from.recovered) / (to.recovered - from.recovered) * (to.share - from.share)
  }
  return 1
}

/** How hard the weights are held near zero, in prompts. */
const RIDGE = 30
export const FEWEST_OUTCOMES = 100

/**
 * Ridge regression of what the strong model wins over the weak one, on standardised features; solved exactly, so the same
 * outcomes give the same scorer.
 * @throws RangeError for fewer than `FEWEST_OUTCOMES`: what is learned from less is noise
 */
export function train (outcomes: readonly Outcome[], name: string): Scorer {
  if (outcomes.length < FEWEST_OUTCOMES) throw new RangeError(`Expected ${FEWEST_OUTCOMES} outcomes or more to train on, got ${outcomes.length}.`)
  const rows = outcomes.map(({ prompt }) => featuresOf(prompt))
  const wins = outcomes.map(({ weak, strong }) => strong - weak)
  const columns = FEATURE_NAMES.map((_, feature) => rows.map(row => row[feature]!))
  const means = columns.map(mean)
  // A feature that never varies says nothing: any deviation but zero will do.
  const deviations = columns.map((column, feature) => Math.sqrt(mean(column.map(value => (value - means[feature]!) ** 2))) || 1)
  const standard = columns.map((column, feature) => column.map(value => (value - means[feature]!) / deviations[feature]!))
  const meanWin = mean(wins)
  const products = standard.map((a, i) => standard.map((b, j) => dot(a, b) + (i === j ? RIDGE : 0)))
  const weights = solved(products, standard.map(column => dot(column, wins.map(win => win - meanWin))))
  return {
    name,
    intercept: meanWin,
    features: FEATURE_NAMES.map((feature, index) => ({ name: feature, weight: weights[index]!, mean: means[index]!, deviation: deviations[index]! }))
  }
}

/** Each outcome scored by a scorer that has not seen it. Folds are taken by turns, so the same outcomes give the same scores. */
export function crossScores (outcomes: readonly Outcome[], folds: number): number[] {
  const scores = outcomes.map(() => 0)
  for (let fold = 0; fold < folds; fold++) {
    const scorer = train(outcomes.filter((_, index) => index % folds !== fold), `fold ${fold}`)
    for (let index = fold; index < outcomes.length; index += folds) scores[index] = score(scorer, outcomes[index]!.prompt)
  }
  return scores
}

/** The threshold above which this share of the scores lies. */
export function thresholdFor (scores: readonly number[], strongShare: number): number {
  const sorted = scores.toSorted((a, b) => b - a)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * strongShare))]!
}

/** x of `matrix` · x = `right`, by elimination with pivots. The ridge keeps the matrix regular. */
function solved (matrix: readonly number[][], right: readonly number[]): number[] {
  const rows = matrix.map((row, index) => [...row, right[index]!])
  for (let column = 0; column < rows.length; column++) {
    let pivot = column
    for (let index = column + 1; index < rows.length; index++) {
      if (Math.abs(rows[index]![column]!) > Math.abs(rows[pivot]![column]!)) pivot = index
    }
    const swapped = rows[pivot]!
    rows[pivot] = rows[column]!
    rows[column] = swapped
    const top = rows[column]!
    for (const [index, row] of rows.entries()) {
      if (index === column) continue
      const factor = row[column]! / top[column]!
      for (let at = column; at < row.length; at++) row[at]! -= factor * top[at]!
    }
  }
  return rows.map((row, index) => row.at(-1)! / row[index]!)
}

function dot (a: readonly number[], b: readonly number[]): number {
  let sum = 0
  for (let index = 0; index < a.length; index++) sum += a[index]! * b[index]!
  return sum
}

function mean (values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
