/** `torchgate route`: which prompts want the strong model. */
import { readFileSync, writeFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { crossScores, qualityOf, thresholdFor, train, type Outcome, type Quality } from '../evaluate/routing.ts'
import { explainScore, HEURISTIC, score } from '../policy/complexity.ts'
import { readScorer, scorerText } from '../policy/scorer.ts'
import { reported, say } from './reported.ts'

export interface TrainOptions {
  readonly out: string
  readonly name: string
  readonly folds: number
  /** Of the calls that may go to the strong model, 0 to 1. */
  readonly share: number
}

const FEW_FOLDS = 2

/** Trains on all files together, says how good that is on prompts it has not seen, and writes the scorer. */
export function trainScorer (files: readonly string[], { out, name, folds, share }: TrainOptions): Promise<number> {
  return reported(async () => {
    if (folds < FEW_FOLDS) throw new Error(`--folds: expected ${FEW_FOLDS} or more, got ${folds}.`)
    const outcomes = files.flatMap(outcomesIn)
    const scorer = train(outcomes, name)
    const unseen = crossScores(outcomes, folds)
    say(row('', 'APGR', 'CPT50', 'CPT80'))
    say(row('random', '0.500', '50.0 %', '80.0 %'))
    say(qualityRow('heuristic, untrained', qualityOf(outcomes, outcomes.map(({ prompt }) => score(HEURISTIC, prompt)))))
    say(qualityRow(`trained, ${folds} folds`, qualityOf(outcomes, unseen)))
    writeFileSync(out, scorerText(scorer))
    say(`${out}: trained on ${outcomes.length} prompts. Above the threshold ${thresholdFor(unseen, share).toFixed(4)} lie ${(share * 100).toFixed(0)} % of them.`)
  })
}

export interface ScoreOptions { readonly scorer?: string }

/** The score of a prompt and what adds to it, as JSON. */
export function scorePrompt (prompt: string | undefined, { scorer }: ScoreOptions): Promise<number> {
  return reported(async () => {
    const used = scorer === undefined ? HEURISTIC : readScorer(scorer)
    const told = { scorer: used.name, ...explainScore(used, prompt ?? readFileSync(0, 'utf8')) }
    process.stdout.write(`${JSON.stringify(told, null, 2)}\n`)
  })
}

/** One outcome a line: `{"prompt", "weak", "strong"}`; other members are left alone. `.gz` is unpacked. */
function outcomesIn (file: string): Outcome[] {
  const bytes = readFileSync(file)
  const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
  return text.split('\n').flatMap((line, index) => line.trim() === '' ? [] : [outcomeOf(line, `${file}:${index + 1}`)])
}

function outcomeOf (line: string, place: string): Outcome {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    throw new Error(`${place}: expected a JSON object.`, { cause: error })
  }
  const { prompt, weak, strong } = (value ?? {}) as Record<string, unknown>
  if (typeof prompt !== 'string') throw new Error(`${place}: expected a text as prompt.`)
  if (!Number.isFinite(weak) || !Number.isFinite(strong)) throw new Error(`${place}: expected numbers as weak and strong.`)
  return { prompt, weak: weak as number, strong: strong as number }
}

function qualityRow (name: string, { apgr, cpt50, cpt80 }: Quality): string {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`
  return row(name, apgr.toFixed(3), percent(cpt50), percent(cpt80))
}

function row (name: string, ...cells: string[]): string {
  return name.padEnd(24) + cells.map(cell => cell.padStart(9)).join('')
}
