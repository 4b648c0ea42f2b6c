/**
 * What a stream says of itself so that another worker can go on with it: which tokens its words came from. A mark is an
 * event between the others, `data: {"torchgate":{…}}`, and stands behind all that its tokens have said; words without
 * a mark behind them are not to be shown, for the worker that goes on will say them again. Only who asks for marks gets
 * them: the pool, which takes them out. The pool has the same shapes in its own folder; a change is made in both.
 */
import { GatewayError } from '../errors.ts'

export interface Mark {
  /** In the first mark, before all words: what the events of the stream have in common. */
  readonly stream?: Omit<Earlier, 'choices'>
  readonly choices?: readonly MarkedChoice[]
}

interface MarkedChoice {
  readonly index: number
  /** Tokens since the mark before, with commas between them. */
  readonly said: string
  readonly isOver?: boolean
}

/** What is known of a stream that broke off. */
export interface Earlier {
  readonly id: string
  readonly created: number
  /** Of the model; another one cannot go on. */
  readonly fingerprint: string
  readonly choices: readonly EarlierChoice[]
}

export interface EarlierChoice {
  /** Its tokens so far. */
  readonly said: readonly number[]
  readonly isOver: boolean
}

export class Marks {
  readonly #write: (mark: string) => void
  readonly #choices = new Map<number, { tokens: number[], isDue: boolean, isOver: boolean }>()

  constructor (write: (mark: string) => void) { this.#write = write }

  begin (head: Readonly<Record<string, unknown>>): void {
    const { id, created, system_fingerprint: fingerprint } = head as { id: string, created: number, system_fingerprint: string }
    this.#mark({ stream: { id, created, fingerprint } })
  }

  took (index: number, token: number): void { this.#at(index).tokens.push(token) }
  over (index: number): void { this.#at(index).isOver = true }

  /** Words of this choice were sent. */
  said (index: number): void { this.#at(index).isDue = true }

  /** Everything that was said is sent. */
  settle (): void {
    const choices: MarkedChoice[] = []
    for (const [index, choice] of this.#choices) {
      if (!choice.isDue) continue
      choices.push({ index, said: choice.tokens.join(), ...choice.isOver && { isOver: true } })
      choice.tokens = []
      choice.isDue = false
    }
    if (choices.length > 0) this.#mark({ choices })
  }

  #at (index: number): { tokens: number[], isDue: boolean, isOver: boolean } {
    const choice = this.#choices.get(index) ?? { tokens: [], isDue: false, isOver: false }
    this.#choices.set(index, choice)
    return choice
  }

  #mark (mark: Mark): void { this.#write(`data: ${JSON.stringify({ torchgate: mark })}\n\n`) }
}

type Body = Readonly<Record<string, unknown>>
interface ModelFacts { readonly vocabularySize: number, readonly fingerprint: string }

/**
 * What the pool sends to have a stream go on: the request as it was, beside what is known of the stream. They are apart,
 * so that no caller can put tokens into a prompt.
 * @throws GatewayError where it is none of this model
 */
export function readContinuation (body: Body, { vocabularySize, fingerprint }: ModelFacts): { request: Body, earlier: Earlier } {
  const { request, stream, choices } = body
  if (!isObject(request)) throw invalid('request', 'expected the request as it was')
  if (!isObject(stream) || typeof stream['id'] !== 'string' || !Number.isInteger(stream['created'])) throw invalid('stream', 'expected id, created and fingerprint')
  if (stream['fingerprint'] !== fingerprint) throw invalid('stream.fingerprint', 'the answer was begun by another model')
  if (!Array.isArray(choices)) throw invalid('choices', 'expected an array')
  return {
    request,
    earlier: {
      id: stream['id'],
      created: stream['created'] as number,
      fingerprint,
      choices: choices.map((choice: unknown, i) => readChoice(choice, `choices[${i}]`, vocabularySize))
    }
  }
}

function readChoice (choice: unknown, path: string, vocabularySize: number): EarlierChoice {
  if (!isObject(choice) || typeof choice['said'] !== 'string' || !/^(\d{1,10}(,\d{1,10})*)?$/.test(choice['said'])) throw invalid(`${path}.said`, 'expected tokens')
  const said = choice['said'] === '' ? [] : choice['said'].split(',').map(Number)
  if (said.some(token => token >= vocabularySize)) throw invalid(`${path}.said`, `this model has tokens from 0 to ${vocabularySize - 1}`)
  return { said, isOver: choice['isOver'] === true }
}

function isObject (value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid (param: string, why: string): GatewayError {
  return new GatewayError('invalid_value', `${param}: ${why}.`, { param })
}
