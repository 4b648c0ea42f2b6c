import type { PoolConfig } from '../../config/schema.ts'
import { GatewayError, toGatewayError, type ErrorCode } from '../../errors.ts'
import type { Answer } from '../../wire/answer.ts'
import { exchange } from '../http.ts'
import type { Route } from '../routes.ts'
import type { Call } from './call.ts'
import type { Slot } from './worker.ts'

/** From a broken connection until the end of the process behind it must have been seen, if it has ended. */
const END_SEEN_MS = 2000

/** How the end of a worker looks from its connections. */
const LOSSES: readonly ErrorCode[] = ['backend_unreachable', 'backend_interrupted', 'backend_invalid_answer']

export interface Question {
  readonly pool: string
  readonly callId: string
  readonly isolation: string
  readonly route: Route
  readonly body: string
  readonly stream: boolean
  readonly choices: number
  readonly timeouts: PoolConfig['timeouts']
  /** Workers that the call has lost at other targets. */
  readonly workersLost: number
  /** Told of a worker that ended under the call, when another one is asked. */
  readonly lost: ((error: GatewayError) => void) | undefined
  /** The body says what is known of a stream, which goes on here. */
  readonly isContinuation?: boolean
}

/**
 * One try of one worker, whose slot the call holds already. Ends the call with a whole answer; the frames of a stream, and
 * what their failure means (`whatHappened`), belong to the caller of this function, and so does the call.
 * @throws GatewayError `worker_crashed` when the worker ended or does not listen any more; else what the exchange threw
 */
export async function attempt (slot: Slot, call: Call, question: Question): Promise<Answer> {
  try {
    const answer = await ask(slot, call, question)
    if (answer.kind === 'body') call.end()
    return answer
  } catch (error) {
    throw await whatHappened(error, slot, call, question.pool)
  }
}

function ask (slot: Slot, call: Call, { pool, callId, isolation, route, body, stream, choices, timeouts, isContinuation = false }: Question): Promise<Answer> {
  const headers = ['content-type', 'application/json', 'x-torchgate-isolation', isolation, 'x-request-id', callId]
  if (stream) headers.push('x-torchgate-marks', isContinuation ? 'continue' : 'begin')
  const { firstTokenMs, answerMs, idleMs } = timeouts
  return exchange(slot.dispatcher, { origin: 'http://worker', path: `/v1${route.path}`, headers, body }, {
    name: `${pool}/${slot.worker}`, timeouts: { firstTokenMs, answerMs, idleMs, totalMs: call.leftMs }, signal: call.signal, stream, choices, route
  })
}

/** What the failure of an exchange means, once it is seen whether its worker has ended. */
export async function whatHappened (error: unknown, slot: Slot, call: Call, pool: string): Promise<GatewayError> {
  const failure = toGatewayError(error)
  const isLost = !call.signal.aborted && LOSSES.includes(failure.code) && await settlesWithin(slot.ended, END_SEEN_MS)
  if (call.signal.aborted) return toGatewayError(call.signal.reason)
  const crashed = (how: string) => new GatewayError('worker_crashed', `${pool}/${slot.worker} ${how}.`, { cause: failure })
  if (isLost) return crashed(`ended while it had the call: ${slot.lastExit()}`)
  if (!isRefused(failure)) return failure
  slot.distrust()
  return crashed('takes no connections any more')
}

/** Nobody listens on the socket. A worker that was told to stop by somebody else than the pool looks like this. */
function isRefused ({ cause }: GatewayError): boolean {
  return cause instanceof Error && 'code' in cause && (cause.code === 'ECONNREFUSED' || cause.code === 'ENOENT')
}

async function settlesWithin (promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>(resolve => { timer = setTimeout(() => { resolve(false) }, ms) })
  const inTime = await Promise.race([promise.then(() => true), late])
  clearTimeout(timer)
  return inTime
}
