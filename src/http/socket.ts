/** One WebSocket on /v1/responses: requests come as messages, one after another, and events go back. */
import type { WebSocket } from 'ws'
import type { Config } from '../config/schema.ts'
import { GatewayError, toGatewayError } from '../errors.ts'
import { RateLimited } from '../limits/leases.ts'
import { Call } from '../pipeline/call.ts'
import type { Services } from '../pipeline/chat.ts'
import { clientClosed } from '../pipeline/dispatch.ts'
import { routeOf } from '../pipeline/targets.ts'
import { classOf } from '../policy/classify.ts'
import type { Principal, Tenants } from '../tenants/tenants.ts'
import type { Recorder } from '../usage/record.ts'
import type { ChatChunk } from '../wire/chat.ts'
import { boolean, line, shape, toError } from '../wire/check.ts'
import { parseBody } from '../wire/parse.ts'
import { ResponseAnswer } from '../wire/responses/answer.ts'
import type { CallerOutlet } from './dialect.ts'
import type { KeptResponses } from './kept.ts'
import type { Remembering } from './remembering.ts'
import { readCall, type ResponseCall } from './response-call.ts'
import { SocketOutlet } from './socket-outlet.ts'
import type { Remembered, Turns } from './turns.ts'
import { warningOf } from './warnings.ts'

type Members = Record<string, unknown>

export interface SocketParts {
  readonly services: Services
  readonly recorders: readonly Recorder[]
  readonly onStart: () => void
  readonly turns: Turns
  readonly remembering: Remembering
  readonly kept: KeptResponses
  readonly tenants: Tenants
  /** Why no further call can be taken now; null while there is no reason. */
  readonly refusal: () => GatewayError | null
  readonly onFailure: (error: GatewayError, requestId: string) => void
  readonly limits: Pick<Config['server'], 'bodyLimitBytes' | 'writeStallMs' | 'drainTimeoutMs'>
}

/** What the request said that became the connection. It holds for all that is asked on it. */
export interface Caller {
  readonly id: string
  readonly credential: string | undefined
  readonly claimedClass: string | undefined
  readonly hops: number
}

/** Messages that may wait behind the response that is being made; together no more bytes than one body may have. */
const MOST_WAITING = 8
/** Unsent bytes at which nobody is told any more that something was wrong. */
const MOST_UNREAD_BYTES = 1_048_576
/** So often the caller is asked whether it is there, and its key whether it is still good. */
const PING_MS = 30_000
/** Time for the other side to say goodbye. */
const LINGER_MS = 1_000
const GOING_AWAY = 1001
const REFUSED = 1008

/** The last response of the connection, which may be gone on from though it is not kept. */
interface Last extends Remembered {
  readonly isKept: boolean
  readonly characters: number
}

export class ResponseSocket {
  readonly #socket: WebSocket
  readonly #caller: Caller
  readonly #parts: SocketParts
  readonly #gone = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #waiting: Buffer[] = []
  #waitingBytes = 0
  #asked = 0
  #isBusy = false
  #isThere = true
  /** Why no more is answered, once that is so. */
  #leaving: { readonly code: number, readonly why: string } | null = null
  #last: Last | null = null

  constructor (socket: WebSocket, caller: Caller, parts: SocketParts) {
    this.#socket = socket
    this.#caller = caller
    this.#parts = parts
    this.#timer = setInterval(() => { void this.#check() }, PING_MS).unref()
    socket.on('pong', () => { this.#isThere = true })
    socket.on('message', (data, isBinary) => { this.#receive(data as Buffer, isBinary) })
    // What is wrong closes the connection; there is nobody to be told more.
    socket.on('error', () => {})
    socket.once('close', () => {
      clearInterval(this.#timer)
      this.#waiting.length = 0
      this.#remember(null)
      this.#gone.abort()
    })
  }

  /** Lets the response that is being made come to its end, answers no other, and closes. */
  leave (code = GOING_AWAY, why = 'The gateway is shutting down.'): void {
    if (this.#leaving !== null) return
    this.#leaving = { code, why }
    setTimeout(() => { this.#socket.terminate() }, this.#parts.limits.drainTimeoutMs + 2 * LINGER_MS).unref()
    if (!this.#isBusy) this.#close()
  }

  #close (): void {
    const { code, why } = this.#leaving!
    this.#socket.close(code, why)
    setTimeout(() => { this.#socket.terminate() }, LINGER_MS).unref()
  }

  /** Whoever does not answer is gone, and whoever has no good key any more has to go. */
  async #check (): Promise<void> {
    if (!this.#isThere) { this.#socket.terminate(); return }
    this.#isThere = false
    this.#socket.ping()
    try {
      await this.#parts.tenants.authenticate(this.#caller.credential)
    } catch (thrown) {
      const error = toGatewayError(thrown)
      if (error.code === 'invalid_api_key') this.leave(REFUSED, 'The API key is no longer good.')
    }
  }

  #receive (data: Buffer, isBinary: boolean): void {
    const fault = isBinary ? new GatewayError('invalid_json', 'The message is binary; expected a JSON object in a text message.') : this.#full(data.length)
    if (fault !== null) { this.#refuse(fault); return }
    this.#waiting.push(data)
    this.#waitingBytes += data.length
    if (!this.#isBusy) void this.#run()
  }

  /** Who asks on and on and reads nothing would have its refusals pile up here. */
  #refuse (fault: GatewayError): void {
    if (this.#socket.bufferedAmount > MOST_UNREAD_BYTES) this.#socket.terminate()
    else this.#outlet(null).refuse(fault)
  }

  #full (bytes: number): GatewayError | null {
    const isFull = this.#waiting.length >= MOST_WAITING || (this.#waiting.length > 0 && this.#waitingBytes + bytes > this.#parts.limits.bodyLimitBytes)
    return isFull ? new GatewayError('too_many_waiting', `There are ${this.#waiting.length} messages waiting for the response before them; send the next when one has ended.`) : null
  }

  async #run (): Promise<void> {
    this.#isBusy = true
    for (let bytes = this.#waiting.shift(); bytes !== undefined; bytes = this.#waiting.shift()) {
      this.#waitingBytes -= bytes.length
      await this.#answer(bytes)
      await this.#outlet(null).taken()
    }
    this.#isBusy = false
    if (this.#leaving !== null) this.#close()
  }

  /** One message, from its first byte to its record. Never throws. */
  async #answer (bytes: Buffer): Promise<void> {
    const call = new Call(`${this.#caller.id}-${++this.#asked}`, 'responses', this.#parts.recorders)
    call.hops = this.#caller.hops
    this.#parts.onStart()
    let outlet = this.#outlet(null)
    let previousId: unknown = null
    let answer: CallerOutlet | null = null
    try {
      const principal = await this.#principal(call)
      const { lane, generates, body } = readEvent(parseBody(bytes))
      previousId = body['previous_response_id'] ?? null
      const asker = { principal, claimed: this.#caller.claimedClass, remembered: this.#last, isRemembering: true }
      const asked = await readCall(this.#parts, body, asker)
      outlet = this.#outlet(lane, asked.warnings)
      const onEnd = (response: Members) => { this.#ended(principal, call, asked, response) }
      if (!generates) { await this.#prepare(call, principal, asked, outlet, onEnd); return }
      answer = asked.outlet(outlet, call, onEnd)
      await asked.life(this.#parts.services, call, { principal, body: asked.chat, claimedClass: asked.turn.claimedClass, signal: this.#gone.signal }, answer)
    } catch (thrown) {
      const error = this.#gone.signal.aborted ? clientClosed() : toGatewayError(thrown)
      if (error instanceof RateLimited) call.record.limit = error.limit
      call.end(error)
      if (error.code === 'internal_error') this.#parts.onFailure(error, call.id)
      // What a request that failed went on from is forgotten: its caller may not know how far it came.
      if (previousId !== null && previousId === this.#last?.id) this.#remember(null)
      if (outlet.begun) answer?.fail(error)
      else outlet.refuse(error)
    }
  }

  /** Asked anew for each message: a key may be revoked while a connection lives. */
  async #principal (call: Call): Promise<Principal> {
    const refusal = this.#leaving === null ? this.#parts.refusal() : new GatewayError('draining', this.#leaving.why, { retryAfterS: 5 })
    if (refusal !== null) throw refusal
    try {
      const principal = await this.#parts.tenants.authenticate(this.#caller.credential)
      call.record.tenant = principal.tenant.name
      call.record.keyId = principal.keyId
      call.record.receivedMs = call.elapsedMs
      return principal
    } catch (error) {
      if (toGatewayError(error).code === 'invalid_api_key') this.leave(REFUSED, 'The API key is no longer good.')
      throw error
    }
  }

  /** `generate: false`: all is checked, counted as a request and remembered, and no model is asked. */
  async #prepare (call: Call, { tenant }: Principal, { turn, stored }: ResponseCall, outlet: SocketOutlet, onEnd: (response: Members) => void): Promise<void> {
    const { services } = this.#parts
    call.record.model = routeOf(services, tenant, turn.asked.model).model.name
    call.record.dataClass = classOf(tenant.class, turn.claimedClass)
    call.hold(await services.limits.admit({ tenant: tenant.name, limits: tenant.limits }, { callId: call.id, tokens: 0 }))
    const answer = new ResponseAnswer({ id: turn.id, request: turn.asked, stored, onEnd })
    const nothing = { choices: [], usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } } as unknown as ChatChunk
    void outlet.frame(Buffer.from(answer.chunk(nothing) + answer.end()))
    call.end(null)
  }

  #ended ({ tenant }: Principal, call: Call, { turn: { asked, items, earlier, id }, stored }: ResponseCall, response: Members): void {
    const before = asked.previousId === this.#last?.id ? this.#last : null
    const dataClass = call.record.dataClass!
    const said = [...items, ...response['output'] as Members[]]
    if (stored) {
      // What was not kept has to be kept with what goes on from it.
      const isAlone = before !== null && !before.isKept
      const input = isAlone ? { previousId: null, items: [...earlier, ...items] } : { previousId: asked.previousId, items }
      this.#parts.kept.keep({ tenant: tenant.name, dataClass, response, ...input })
    }
    const characters = JSON.stringify(said).length + (before?.characters ?? JSON.stringify(earlier).length)
    // A caller that has left comes back with another connection.
    const isTooMuch = characters > this.#parts.limits.bodyLimitBytes || this.#gone.signal.aborted
    this.#remember(isTooMuch ? null : { id, items: [...earlier, ...said], dataClass, isKept: stored, characters })
  }

  #remember (last: Last | null): void {
    this.#last = last
    if (last === null) this.#parts.remembering.drop(this)
    else this.#parts.remembering.hold(this, last.characters, () => { this.#last = null })
  }

  #outlet (lane: string | null, warnings: readonly string[] = []): SocketOutlet {
    return new SocketOutlet(this.#socket, { lane, warning: () => warningOf(warnings), stallMs: this.#parts.limits.writeStallMs, signal: this.#gone.signal })
  }
}

const event = shape({ type: line({ least: 1, most: 64 }), stream_id: line({ least: 1, most: 128 }), generate: boolean, stream: boolean }, 'type')

/** @throws GatewayError that names the member */
function readEvent (message: Members): { lane: string | null, generates: boolean, body: Members } {
  const fault = event(message)
  if (fault !== null) throw toError(fault)
  const { type, stream_id: lane = null, generate = true, stream = true, ...body } = message
  if (type !== 'response.create') throw new GatewayError('unsupported_value', "Unsupported value: 'type' must be response.create; nothing else can be said here.", { param: 'type' })
  if (stream === false) throw new GatewayError('unsupported_value', "Unsupported value: 'stream' must be true or left out; a WebSocket has nothing but events.", { param: 'stream' })
  return { lane: lane as string | null, generates: generate === true, body: { ...body, stream: true } }
}
