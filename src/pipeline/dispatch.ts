import { GatewayError, toGatewayError } from '../errors.ts'
import type { Backend, ChatOptions } from '../backends/backend.ts'
import type { Candidate, Plan } from '../policy/decide.ts'
import type { Answer } from '../wire/answer.ts'
import type { Attempt } from '../usage/record.ts'
import type { Call } from './call.ts'

export interface Dispatched { readonly target: Candidate, readonly answer: Answer }

/** Asks one backend, which calls the model by the name given. */
export type Ask = (backend: Backend, model: string, options: ChatOptions) => Promise<Answer>

export interface Order {
  readonly call: Call
  readonly ask: Ask
  readonly plan: Plan
  /** Whose prompt state may be shared: the tenant's name. */
  readonly isolation: string
  readonly signal: AbortSignal
  /** False once what was sent cannot be sent again. */
  readonly canRepeat?: () => boolean
}

export type Dispatch = (order: Order) => Promise<Dispatched>

/**
 * Tries targets in the order of the plan. A backend resolves at its first content, so whatever goes wrong before is
 * unseen by the caller; after it a failure is the caller's to see.
 */
export function tryTargets (backends: ReadonlyMap<string, Backend>): Dispatch {
  return async ({ call, ask, plan, isolation, signal, canRepeat }) => {
    let last: GatewayError | null = null
    let workersLost = 0
    for (const target of plan.targets) {
      let attempt = call.attempt(target)
      // Another worker of the same target, which may go on in the middle of a stream.
      const lost = (error: GatewayError) => {
        workersLost++
        const { firstTokenMs } = attempt
        close(attempt, error, call)
        attempt = call.attempt(target)
        attempt.firstTokenMs = firstTokenMs === null ? null : call.elapsedMs
      }
      try {
        const backend = backends.get(target.backend)
        if (backend === undefined) throw new GatewayError('internal_error', `No backend is named ${target.backend}.`)
        const answer = await ask(backend, target.model, { signal, boundary: plan.boundary, callId: call.id, hops: call.hops, isolation, workersLost, lost })
        attempt.firstTokenMs = call.elapsedMs
        if (answer.key !== undefined) attempt.key = answer.key
        return { target, answer }
      } catch (thrown) {
        last = signal.aborted ? clientClosed() : toGatewayError(thrown)
        close(attempt, last, call)
        if (last.code === 'worker_crashed') workersLost++
        if (!last.fallback || canRepeat?.() === false) throw last
      }
    }
    throw exhausted(last, call)
  }
}

/** Another target may. @throws GatewayError `unsupported_value` */
export function notServed ({ name }: Backend, what: string): never {
  throw new GatewayError('unsupported_value', `${name} serves no ${what}.`, { param: 'model' })
}

function close (attempt: Attempt, { code }: GatewayError, call: Call): void {
  attempt.error = code
  attempt.endMs = call.elapsedMs
}

export function clientClosed (): GatewayError {
  return new GatewayError('client_closed', 'The client left before the answer was complete.')
}

/** The last failure, saying what happened to each target when there were several. */
function exhausted (last: GatewayError | null, call: Call): GatewayError {
  if (last === null) return new GatewayError('no_eligible_target', 'No target is left for this call.')
  if (call.record.attempts.length < 2) return last
  const each = call.record.attempts.map(({ target, error }) => `${target} (${error})`).join(', ')
  return new GatewayError(last.code, `Every target failed: ${each}. The last one: ${last.message}`, {
    param: last.param, retryAfterS: last.retryAfterS, upstream: last.upstream, cause: last
  })
}
