/**
 * Calls with an `Idempotency-Key`: one that was answered is not made again. In Stripe's words ("Idempotent requests", read 2026-11-22), but
 * that a call which failed leaves its key free: nothing of it was delivered, so a retry may succeed.
 */
import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.ts'
import type { Call } from '../pipeline/call.ts'
import type { AnswerRow, AnswerStore, AnswerTurn } from '../store/store.ts'
import { HttpOutlet } from './outlet.ts'

export const KEY_HEADER = 'idempotency-key'

export interface AnswersParts {
  readonly store: AnswerStore
  readonly retentionHours: number
  readonly perTenant: number
  readonly maxBytes: number
  readonly onError: (error: unknown) => void
}

/** A gateway that was killed leaves its keys in use until then. Longer than any call. */
const MOST_RUNNING_MS = 900_000
const SWEEP_MS = 60_000
const MOST_SWEPT = 1000
/** As Stripe's, and without spaces: several headers of the name arrive as one with them. */
const KEY = /^[\x21-\x7e]{1,255}$/

export class Answers {
  readonly #parts: AnswersParts
  readonly #timer: NodeJS.Timeout

  constructor (parts: AnswersParts) {
    this.#parts = parts
    this.#timer = setInterval(() => { this.#sweep() }, SWEEP_MS).unref()
    this.#sweep()
  }

  close (): void { clearInterval(this.#timer) }

  /**
   * For a request that has the header. Null where the tenant keeps no answers.
   * @throws GatewayError `idempotency_key_in_use`, `idempotency_key_reused`, `idempotency_answer_too_large`, `invalid_value`
   */
  async begin (request: FastifyRequest): Promise<Turn | AnswerRow | null> {
    const key = request.headers[KEY_HEADER]
    const { name: tenant, idempotency = false } = request.principal!.tenant
    if (typeof key !== 'string' || !KEY.test(key)) {
      throw new GatewayError('invalid_value', 'Idempotency-Key: expected one, of 1 to 255 printable ASCII characters without spaces.', { param: 'Idempotency-Key' })
    }
    if (!Buffer.isBuffer(request.body)) throw unsupported('uploads')
    if (!idempotency) return null
    const turn = { tenant, keyHash: digest(key), callId: request.id, fingerprint: fingerprintOf(request, request.body) }
    const createdAt = new Date()
    const row = await this.#parts.store.begin({ ...turn, createdAt, expiresAt: new Date(createdAt.getTime() + MOST_RUNNING_MS) }, this.#parts.perTenant)
    if (row === null) return new Turn(turn, this.#parts)
    refuseOthers(row, turn.fingerprint)
    return row
  }

  #sweep (): void { this.#parts.store.sweep(new Date(), MOST_SWEPT).catch(this.#parts.onError) }
}

/** Where nothing is given again. @throws GatewayError, so that nobody who sends a key believes that it holds */
export function refuseKey ({ headers }: FastifyRequest, what: string): void {
  if (headers[KEY_HEADER] !== undefined) throw unsupported(what)
}

function unsupported (what: string): GatewayError {
  return new GatewayError('unsupported_parameter', `Idempotency-Key is not supported for ${what}.`, { param: 'Idempotency-Key' })
}

function refuseOthers ({ fingerprint, state }: AnswerRow, asked: string): void {
  if (fingerprint !== asked) throw new GatewayError('idempotency_key_reused', 'This Idempotency-Key came before with another request. Take a new key for a new request.', { param: 'Idempotency-Key' })
  if (state === 'running') throw new GatewayError('idempotency_key_in_use', 'A call with this Idempotency-Key is being answered.', { param: 'Idempotency-Key', retryAfterS: 1 })
  if (state === 'kept') return
  throw new GatewayError('idempotency_answer_too_large', 'The call of this Idempotency-Key was answered with more than is kept (idempotency.maxBytes).', { param: 'Idempotency-Key' })
}

/** What must be the same for an answer to be the same: route, class and body. */
function fingerprintOf ({ routeOptions, headers }: FastifyRequest, body: Buffer): string {
  return createHash('sha256').update(JSON.stringify([routeOptions.url, headers['x-torchgate-class'] ?? null])).update(body).digest('hex')
}

function digest (text: string): string { return createHash('sha256').update(text).digest('hex') }

/** One call that has its key, and what it has answered so far. */
export class Turn {
  readonly #turn: AnswerTurn
  readonly #parts: AnswersParts
  /** Null once it is too much. */
  #pieces: Buffer[] | null = []
  #length = 0
  #type: string | null = null

  constructor (turn: AnswerTurn, parts: AnswersParts) {
    this.#turn = turn
    this.#parts = parts
  }

  push (bytes: Buffer): void {
    this.#length += bytes.length
    if (this.#length > this.#parts.maxBytes) this.#pieces = null
    else this.#pieces?.push(bytes)
  }

  /** The answer is whole. */
  complete (type: string): void { this.#type = type }

  /** The call has ended, whole or not. */
  async end (): Promise<void> {
    const { store, retentionHours, onError } = this.#parts
    const expiresAt = new Date(Date.now() + retentionHours * 3_600_000)
    const bytes = this.#pieces === null ? null : Buffer.concat(this.#pieces)
    try {
      if (this.#type === null) await store.forget(this.#turn)
      else await store.finish(this.#turn, { type: this.#type, bytes, expiresAt })
    } catch (error) {
      onError(error)
    }
  }
}

/** Keeps what it sends. Signs of life are not kept, and an answer that breaks off is not whole. */
export class KeepingOutlet extends HttpOutlet {
  readonly #turn: Turn
  #type = 'text/event-stream; charset=utf-8'

  constructor (turn: Turn, ...parts: ConstructorParameters<typeof HttpOutlet>) {
    super(...parts)
    this.#turn = turn
  }

  override body (bytes: Buffer): void {
    super.body(bytes)
    this.#turn.push(bytes)
    this.#turn.complete('application/json; charset=utf-8')
  }

  override begin (type = this.#type): void {
    this.#type = type
    super.begin(type)
  }

  override frame (bytes: Buffer): Promise<void> | undefined {
    this.#turn.push(bytes)
    return super.frame(bytes)
  }

  override end (): void {
    super.end()
    this.#turn.complete(this.#type)
  }
}

/** Gives an answer again. It is a call of its own, which asks no model and costs nothing. */
export function replay (response: ServerResponse, call: Call, { type, bytes, callId }: AnswerRow, headers: Readonly<Record<string, string>>): void {
  call.record.stream = type?.startsWith('text/event-stream') === true
  const own = { 'x-request-id': call.id, 'content-type': type!, 'content-length': String(bytes!.length), 'idempotent-replayed': 'true', 'x-torchgate-original-request-id': callId }
  response.writeHead(200, { ...own, ...headers })
  response.end(bytes)
  call.end(null)
}
