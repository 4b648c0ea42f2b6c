/**
 * How hard a prompt looks, as a number that can be explained: a weighted sum of a few things that are counted in its text.
 * Pure and cheap: no more than `LOOKED_AT` characters are looked at.
 */

/** Characters of a prompt that count: its beginning, and its end, where the question often stands. */
export const LOOKED_AT = 2048
const END = 512

type Measure = (counts: Counts) => number

/** All are of the order of one. A scorer names them, so a new one may be added and none may change its meaning. */
const FEATURES = {
  words: ({ words }) => Math.log1p(words) / 6,
  words_squared: ({ words }) => (Math.log1p(words) / 6) ** 2,
  word_length: ({ words, inWords }) => share(inWords, words) / 10,
  short_words: ({ words, shortWords }) => share(shortWords, words),
  long_words: ({ words, longWords }) => share(longWords, words),
  different_words: ({ words, different }) => share(different.size, words),
  capitals: ({ capitals }) => Math.log1p(capitals) / 6,
  sentences: ({ sentences }) => Math.log1p(sentences) / 3,
  lines: ({ lines }) => Math.log1p(lines) / 4,
  commas: ({ commas }) => Math.log1p(commas) / 4,
  quotes: ({ quotes }) => Math.log1p(quotes),
  question_marks: ({ questionMarks }) => Math.log1p(questionMarks) / 2,
  lines_that_ask: ({ linesThatAsk }) => Math.log1p(linesThatAsk),
  beyond_ascii: ({ beyondAscii, characters }) => share(beyondAscii, characters),
  numbers: ({ numbers }) => Math.log1p(numbers) / 4,
  numbers_squared: ({ numbers }) => (Math.log1p(numbers) / 4) ** 2,
  large_numbers: ({ largeNumbers }) => Math.log1p(largeNumbers),
  fractions: ({ fractions }) => Math.log1p(fractions),
  symbols: ({ symbols }) => Math.log1p(symbols) / 4,
  code: ({ code }) => Math.min(1, code),
  mathematics: ({ mathematics }) => Math.min(1, mathematics),
  reasoning: ({ reasoning }) => Math.min(1, reasoning),
  conditions: ({ conditions }) => Math.log1p(conditions) / 3,
  exceptions: ({ exceptions }) => Math.min(1, exceptions),
  facts_asked: ({ factsAsked }) => Math.log1p(factsAsked),
  reasons_asked: ({ reasonsAsked }) => Math.log1p(reasonsAsked),
  choices: ({ choices }) => choices
} satisfies Record<string, Measure>

export type Feature = keyof typeof FEATURES
export const FEATURE_NAMES = Object.keys(FEATURES) as Feature[]

/** A weight for each feature, of its distance from `mean` in units of `deviation`. */
export interface Scorer {
  readonly name: string
  readonly intercept: number
  readonly features: ReadonlyArray<{ readonly name: Feature, readonly weight: number, readonly mean: number, readonly deviation: number }>
}

/** What each feature adds to a score, the largest first. */
export interface Scored {
  readonly score: number
  readonly parts: ReadonlyArray<{ readonly feature: Feature, readonly value: number, readonly adds: number }>
}

/** Without training: the signs that a prompt wants work. It knows no subject, and not how good the models are. */
export const HEURISTIC: Scorer = {
  name: 'heuristic',
  intercept: 0,
  features: ([
    ['words', 1], ['numbers', 1], ['symbols', 1], ['code', 1.5], ['mathematics', 1.5], ['reasoning', 1], ['conditions', 1]
  ] as const).map(([name, weight]) => ({ name, weight, mean: 0, deviation: 1 }))
}

/** Higher is harder. A trained scorer's unit is what the strong model is expected to win over the weak one. */
export function score (scorer: Scorer, prompt: string): number {
  const counts = countsOf(prompt)
  return scorer.features.reduce((sum, { name, weight, mean, deviation }) => sum + weight * (FEATURES[name](counts) - mean) / deviation, scorer.intercept)
}

/** The same, with what each feature adds. */
export function explainScore (scorer: Scorer, prompt: string): Scored {
  const counts = countsOf(prompt)
  const parts = scorer.features.map(({ name, weight, mean, deviation }) => {
    const value = FEATURES[name](counts)
    return { feature: name, value, adds: weight * (value - mean) / deviation }
  })
  return { score: score(scorer, prompt), parts: parts.toSorted((a, b) => Math.abs(b.adds) - Math.abs(a.adds)) }
}

/** In the order of `FEATURE_NAMES`. */
export function featuresOf (prompt: string): number[] {
  const counts = countsOf(prompt)
  return FEATURE_NAMES.map(name => FEATURES[name](counts))
}

/** What is counted, by words that mean it. */
const MEANINGS = {
  code: ['def', 'function', 'class', 'select', 'import', 'return'],
  mathematics: ['prove', 'derive', 'theorem', 'integral', 'matrix', 'eigen', 'polynomial', 'modulo', 'group', 'ring', 'field'],
  reasoning: ['explain', 'why', 'analyze', 'analyse', 'compare', 'evaluate', 'design', 'optimize', 'optimise', 'debug', 'refactor'],
  conditions: ['if', 'then', 'each', 'per', 'total', 'remaining', 'twice', 'half', 'percent', 'times', 'than'],
  exceptions: ['not', 'except', 'least'],
  factsAsked: ['what', 'who', 'when', 'where'],
  reasonsAsked: ['how', 'why']
} as const
type Meaning = keyof typeof MEANINGS

const meaningsOf = new Map<string, Meaning[]>()
for (const [meaning, words] of Object.entries(MEANINGS)) {
  for (const word of words) meaningsOf.set(word, [...meaningsOf.get(word) ?? [], meaning as Meaning])
}

/** The same, by more than one word. */
const PHRASES: ReadonlyArray<readonly [Meaning, string]> = [
  ['code', '```'], ['reasoning', 'step by step'], ['exceptions', 'most likely'], ['exceptions', 'best describes'], ['exceptions', 'which of the following']
]

class Counts {
  characters = 0
  words = 0
  inWords = 0
  shortWords = 0
  longWords = 0
  readonly different = new Set<string>()
  capitals = 0
  sentences = 0
  lines = 0
  commas = 0
  quotes = 0
  questionMarks = 0
  linesThatAsk = 0
  beyondAscii = 0
  numbers = 0
  largeNumbers = 0
  fractions = 0
  symbols = 0
  code = 0
  mathematics = 0
  reasoning = 0
  conditions = 0
  exceptions = 0
  factsAsked = 0
  reasonsAsked = 0
  choices = 0

  word (word: string): void {
    this.words++
    this.inWords += word.length
    if (word.length < 4) this.shortWords++
    else if (word.length > 8) this.longWords++
    this.different.add(word)
    for (const meaning of meaningsOf.get(word) ?? []) this[meaning]++
  }

  /** @param digits how many stand together */
  number (digits: number, isFraction: boolean): void {
    this.numbers++
    if (digits > 2) this.largeNumbers++
    if (isFraction) this.fractions++
  }

  /** What is neither a letter nor a digit. */
  mark (mark: string, next: string | undefined): void {
    if (mark === '\n') this.lines++
    else if (mark === ',') this.commas++
    else if ('"“”'.includes(mark)) this.quotes++
    else if ('=+*/^<>%$∑∫√≤≥'.includes(mark)) this.symbols++
    if (mark === '?') {
      this.questionMarks++
      if (next === undefined || next === '\n') this.linesThatAsk++
    }
    if ('.!?'.includes(mark) && (next === ' ' || next === '\n')) this.sentences++
  }
}

/** Left to right, once: a loop over character codes takes a tenth of the time of a regular expression for each feature. */
function countsOf (prompt: string): Counts {
  const text = prompt.length <= LOOKED_AT ? prompt : `${prompt.slice(0, LOOKED_AT - END)}\n${prompt.slice(-END)}`
  const counts = new Counts()
  counts.characters = text.length
  let at = 0
  while (at < text.length) {
    const from = at
    const code = text.charCodeAt(at++)
    if (code > 127) counts.beyondAscii++
    if (isWhole(code)) counts.word(text[from]!)
    else if (isLetter(code)) {
      if (isCapital(code)) counts.capitals++
      for (; at < text.length && isLetter(text.charCodeAt(at)); at++) {
        const inner = text.charCodeAt(at)
        if (isCapital(inner)) counts.capitals++
        else if (inner > 127) counts.beyondAscii++
      }
      counts.word(text.slice(from, at).toLowerCase())
    } else if (isDigit(code)) {
      while (at < text.length && isDigit(text.charCodeAt(at))) at++
      const next = text[at]
      counts.number(at - from, next === '%' || ((next === '.' || next === '/') && isDigit(text.charCodeAt(at + 1))))
    } else if (code !== SPACE) counts.mark(text[from]!, text[at])
  }
  const lower = text.toLowerCase()
  for (const [meaning, phrase] of PHRASES) if (lower.includes(phrase)) counts[meaning]++
  if (lower.trimEnd().endsWith('answer:')) counts.choices = 1
  return counts
}

const SPACE = 32

function isDigit (code: number): boolean { return code >= 48 && code <= 57 }
function isCapital (code: number): boolean { return code >= 65 && code <= 90 }

/** Of every alphabet: what is beyond ASCII and no punctuation, arrow or mathematical sign. */
function isLetter (code: number): boolean {
  if (code < 128) return (code >= 97 && code <= 122) || isCapital(code)
  return code >= 0xc0 && !(code >= 0x2000 && code <= 0x2bff) && !isWhole(code)
}

/** Chinese, Japanese and Korean write no spaces: there each character counts as a word. */
function isWhole (code: number): boolean { return code >= 0x2e80 && code <= 0xd7a3 }

function share (part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole
}
