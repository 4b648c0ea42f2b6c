/**
 * What a stream of a worker has said, kept so that another worker can go on with it. The worker marks its stream: an
 * event `data: {"torchgate":{…}}` behind its words says which tokens they came from. Marks are taken out here, and words are
 * given out only when the mark behind them has come: then nothing is said twice. The worker has the same shapes in
 * its own folder (marks.ts); a change is made in both.
 */

interface Mark {
  /** In the first mark, before all words; opaque here. */
  readonly stream?: object
  readonly choices?: readonly { readonly index: number, readonly said: string, readonly isOver?: boolean }[]
}

const MARK = Buffer.from('data: {"torchgate":')
const DATA_FIELD_LENGTH = 'data: '.length
const LF = 10

export class Said {
  readonly #choices: { readonly said: string[], isOver: boolean }[]
  #stream: object | null = null
  #held: Buffer[] = []

  /** @param choices of the answer */
  constructor (choices: number) { this.#choices = Array.from({ length: choices }, () => ({ said: [], isOver: false })) }

  /** The worker marks only what can go on exactly; and where all choices are over, nobody can say the rest. */
  get canGoOn (): boolean { return this.#stream !== null && this.openChoices > 0 }

  get openChoices (): number { return this.#choices.filter(({ isOver }) => !isOver).length }

  /**
   * @param frame whole events
   * @returns what can be given out of it and of what was held, or null
   */
  read (frame: Buffer): Buffer | null {
    const sure: Buffer[] = []
    let from = 0
    for (let at = frame.indexOf(MARK); at !== -1; at = frame.indexOf(MARK, from)) {
      this.#hold(frame.subarray(from, at))
      const end = frame.indexOf(LF, at)
      from = end + 2
      this.#note((JSON.parse(frame.toString('utf8', at + DATA_FIELD_LENGTH, end)) as { torchgate: Mark }).torchgate)
      sure.push(...this.#held.splice(0))
    }
    if (this.#stream === null) return frame
    this.#hold(frame.subarray(from))
    return joined(sure)
  }

  /** What is held at the end of a whole stream: its usage, and that it is whole. */
  rest (): Buffer | null { return joined(this.#held.splice(0)) }

  /** What the next worker is asked. Words that were held are forgotten: it says them again. */
  continuation (request: string): string {
    this.#held = []
    const choices = this.#choices.map(({ said, isOver }) => ({ said: said.join(), isOver }))
    return `{"request":${request},${JSON.stringify({ stream: this.#stream, choices }).slice(1)}`
  }

  #note ({ stream, choices = [] }: Mark): void {
    this.#stream ??= stream ?? null
    for (const { index, said, isOver = false } of choices) {
      const choice = this.#choices[index]
      if (choice === undefined) continue
      if (said !== '') choice.said.push(said)
      choice.isOver ||= isOver
    }
  }

  #hold (words: Buffer): void { if (words.length > 0) this.#held.push(words) }
}

function joined (pieces: readonly Buffer[]): Buffer | null {
  const [first] = pieces
  return pieces.length > 1 ? Buffer.concat(pieces) : first ?? null
}
