/** What can be wrong with a configuration, and how it is told. */

/** From the root of the configuration: `['backends', 1, 'locality']`. */
export type Path = readonly (string | number)[]
export type Severity = 'error' | 'warning'

/** Something wrong at a path, before it is known in which file and line that is. */
export interface Finding { readonly path: Path, readonly message: string, readonly severity: Severity }

/** A finding with its place. `file` is null for what comes from the environment, and `line` and `column` count from 1. */
export interface Problem {
  readonly file: string | null
  readonly line: number | null
  readonly column: number | null
  /** `backends[1].locality`; empty for the file as a whole. */
  readonly path: string
  readonly message: string
  readonly severity: Severity
}

/** Everything that was wrong, one line each in `message`. Never holds a secret or the text of one. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly Problem[]

  constructor (problems: readonly Problem[], options?: { cause?: unknown }) {
    super(problems.map(problemLine).join('\n'), options)
    this.problems = problems
  }
}

/** `torchgate.yaml:14 backends[1].locality: expected local, domain or cloud, got "onprem"` */
export function problemLine ({ file, line, path, message, severity }: Problem): string {
  const place = file === null ? '' : line === null ? `${file}:` : `${file}:${line}`
  const subject = path === '' ? '' : `${path}:`
  const tone = severity === 'warning' ? 'warning:' : ''
  return [place, subject, tone, message].filter(part => part !== '').join(' ')
}

/** A problem that stands in no file: an environment variable, a folder that cannot be read. */
export function placeless (path: string, message: string, file: string | null = null): Problem {
  return { file, line: null, column: null, path, message, severity: 'error' }
}

const PLAIN_MEMBER = /^[A-Za-z_$][A-Za-z0-9_$-]{0,63}$/

export function formatPath (path: Path): string {
  return path.reduce<string>((text, step) => text + formatStep(step, text === ''), '')
}

function formatStep (step: string | number, first: boolean): string {
  if (typeof step === 'number') return `[${step}]`
  if (!PLAIN_MEMBER.test(step)) return `[${quoted(step)}]`
  return first ? step : `.${step}`
}

const LONGEST_QUOTE = 64

/** A text as it may stand in a message: in quotes, without control characters, never long. */
export function quoted (text: string): string {
  return JSON.stringify(text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text)
}

/** `a`, `a or b`, `a, b or c` */
export function listed (words: readonly string[], last = 'or'): string {
  if (words.length < 2) return words.join('')
  return `${words.slice(0, -1).join(', ')} ${last} ${words.at(-1)}`
}
