import type { Endpoint, Attempt, CallRecord, Recorder } from '../usage/record.ts'
import type { Candidate } from '../policy/decide.ts'
import type { Lease } from '../limits/limits.ts'
import type { GatewayError } from '../errors.ts'

/**
 * One client request from the first header to the one record. Whoever opens it ends it; `end` counts once, however
 * often and from wherever it is called, so that a client leaving and an answer finishing at the same moment are one end.
 */
export class Call {
  readonly id: string
  readonly record: CallRecord
  readonly #startedMs = performance.now()
  readonly #recorders: readonly Recorder[]
  readonly #statusOf: (error: GatewayError) => number
  /** What was decided, in one line, and which target answers; null before. */
  why: string | null = null
  target: Candidate | null = null
  /** What the caller is told with the answer: of the call, and of the target that answers. */
  warnings: readonly string[] | null = null
  leftOut: readonly string[] | null = null
  /** Gateways like this one that it came through. */
  hops = 0
  /** What has been counted so far, for a backend that gives no usage or a call that is cut off. */
  readonly counted = { input: 0, output: 0 }
  #lease: Lease | null = null
  #ended = false

  /** @param statusOf what the caller's dialect answers to an error */
  constructor (id: string, endpoint: Endpoint, recorders: readonly Recorder[], statusOf = (error: GatewayError): number => error.status) {
    this.id = id
    this.#recorders = recorders
    this.#statusOf = statusOf
    this.record = {
      id,
      startedAt: new Date(),
      endpoint,
      tenant: null,
      keyId: null,
      model: null,
      stream: false,
      dataClass: null,
      boundary: null,
      rejected: [],
      receivedMs: null,
      planned: 0,
      attempts: [],
      firstTokenMs: null,
      durationMs: null,
      usage: null,
      usageEstimated: false,
      outcome: null,
      errorCode: null,
      status: null,
      limit: null
    }
  }

  /** Milliseconds since the call arrived, on the monotonic clock. */
  get elapsedMs (): number { return performance.now() - this.#startedMs }
  get ended (): boolean { return this.#ended }
  get lease (): Lease | null { return this.#lease }

  /** The call owns the lease from here on and settles it at its end. */
  hold (lease: Lease): void {
    if (this.#ended) void lease.settle({ tokens: 0 })
    else this.#lease = lease
  }

  attempt (target: Candidate): Attempt {
    const attempt: Attempt = {
      target: target.label,
      backend: target.backend,
      locality: target.locality,
      startMs: this.elapsedMs,
      firstTokenMs: null,
      endMs: null,
      error: null
    }
    this.record.attempts.push(attempt)
    return attempt
  }

  /** For a backend that does not count. */
  estimate (output: number): void {
    this.record.usage = { input: this.counted.input, output, cachedInput: 0, reasoning: 0 }
    this.record.usageEstimated = true
  }

  /** Settles the lease with what was used, closes the record and hands it to every reader. */
  end (error: GatewayError | null): void {
    if (this.#ended) return
    this.#ended = true
    const { record } = this
    record.durationMs = this.elapsedMs
    record.outcome = error === null ? 'ok' : error.outcome
    record.errorCode = error?.code ?? null
    record.status = error === null ? 200 : this.#statusOf(error)
    closeLastAttempt(record, error)
    if (record.usage === null && this.#hasUsed(error)) this.estimate(this.counted.output)
    void this.#lease?.settle({ tokens: record.usage === null ? 0 : record.usage.input + record.usage.output })
    for (const recorder of this.#recorders) recorder(record)
  }

  /** Output came, or a backend was reading the prompt when the caller left: that costs, though nobody says how much. */
  #hasUsed (error: GatewayError | null): boolean {
    return this.counted.output > 0 || (error?.code === 'client_closed' && this.record.attempts.length > 0)
  }
}

function closeLastAttempt (record: CallRecord, error: GatewayError | null): void {
  const last = record.attempts.at(-1)
  if (last === undefined || last.endMs !== null) return
  last.endMs = record.durationMs
  last.error ??= error?.code ?? null
}
