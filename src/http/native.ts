import { GatewayError } from '../errors.ts'
import type { Call } from '../pipeline/call.ts'
import { dataOf, EventBytes, eventsIn, failureEvents } from '../wire/responses/native.ts'
import type { AnswerSink, CallerOutlet } from './dialect.ts'

type Members = Record<string, unknown>

export interface NativeOptions {
  readonly call: Call
  /** What the gateway has to say otherwise of a response, because it keeps it; null where bytes pass as they come. */
  readonly rewrite: ((response: Members) => Members) | null
  /** Told of the response when it has come to its end. */
  readonly onEnd: (response: Members) => void
}

/** Whether an event has to be read, and not only passed. */
const NOTABLE = /response\.(?:created|completed|incomplete|failed)\b/

/** An answer in the words of the caller's own dialect. It passes; only where it begins and how it ends is looked at. */
export class NativeOutlet implements CallerOutlet {
  readonly #inner: AnswerSink
  readonly #options: NativeOptions
  readonly #bytes = new EventBytes()
  #begun: Members | null = null
  #last = ''
  /** The status at the end; null before. */
  #ended: string | null = null

  constructor (inner: AnswerSink, options: NativeOptions) {
    this.#inner = inner
    this.#options = options
  }

  body (bytes: Buffer, value: unknown): void {
    const { rewrite, onEnd } = this.#options
    const response = rewrite?.(value as Members) ?? value as Members
    if (response['status'] === 'completed' || response['status'] === 'incomplete') onEnd(response)
    this.#inner.body(rewrite === null ? bytes : Buffer.from(JSON.stringify(response)))
  }

  begin (type?: string): void { this.#inner.begin(type) }

  frame (bytes: Buffer): Promise<void> | undefined {
    const whole = this.#bytes.push(bytes)
    if (whole === null) return undefined
    const events = eventsIn(whole).map(event => this.#note(event))
    return this.#inner.frame(this.#options.rewrite === null ? whole : Buffer.from(events.map(event => `${event}\n\n`).join('')))
  }

  beat (): void { this.#inner.beat() }

  /** @throws GatewayError for an answer without its end, and for one that ended badly: its record has to say so */
  end (): void {
    if (this.#ended === null) throw new GatewayError('backend_interrupted', 'The backend ended its stream in the middle of the answer.')
    if (this.#ended === 'failed') throw new GatewayError('backend_failed', 'The backend ended its answer with response.failed.')
    this.#inner.end()
  }

  fail (error: GatewayError): void {
    const number = /"sequence_number":\s*(\d{1,15})/.exec(this.#last)?.[1]
    const events = failureEvents(error, this.#begun, number === undefined ? 0 : Number(number) + 1)
    this.#inner.endWith(this.#ended === null ? events : '')
  }

  /** @returns the event as the caller gets it */
  #note (event: string): string {
    const { call, rewrite, onEnd } = this.#options
    this.#last = event
    if (event.includes('.delta')) call.counted.output++
    if (rewrite === null ? !NOTABLE.test(event) : !event.includes('"response"')) return event
    const data = dataOf(event)
    const type = String(data?.['type'])
    if (data === null || typeof data['response'] !== 'object' || data['response'] === null) return event
    const response = rewrite?.(data['response'] as Members) ?? data['response'] as Members
    if (type === 'response.created') this.#begun = response
    if (/^response\.(?:completed|incomplete|failed)$/.test(type)) {
      this.#ended = type.slice('response.'.length)
      if (this.#ended !== 'failed') onEnd(response)
    }
    return rewrite === null ? event : `event: ${type}\ndata: ${JSON.stringify({ ...data, response })}`
  }
}
