import { unsupported, type Path } from './refusal.ts'

/** In units of some 0.1 µs: while a schema is compiled, no answer of the worker goes on. */
const MOST = 3_000_000

/** What compiling one schema may cost. Each part of the work says what it takes before it does it. */
export class Effort {
  readonly #path: Path
  #left = MOST

  /** @param path of the whole schema */
  constructor (path: Path) { this.#path = path }

  /** @throws GatewayError `unsupported_value` when that is too much */
  spend (units: number): void {
    this.#left -= units
    if (this.#left < 0) throw unsupported(this.#path, 'the schema is too complex: its patterns, alternatives and lists take too long to work out. Simplify it.')
  }
}
