/** The life of a call of any kind. What is special about a kind stands in a file of its own: chat.ts, embeddings.ts. */
import type { Answer } from '../wire/answer.ts'
import { GatewayError, toGatewayError, type ErrorCode } from '../errors.ts'
import type { Backend, ChatOptions } from '../backends/backend.ts'
import type { Config, TenantConfig } from '../config/schema.ts'
import { RateLimited } from '../limits/leases.ts'
import type { Limits } from '../limits/limits.ts'
import { boundaryOf } from '../policy/boundary.ts'
import { classOf } from '../policy/classify.ts'
import { decide, why, type Plan, type RejectionReason } from '../policy/decide.ts'
import type { Principal } from '../tenants/tenants.ts'
import type { Latency } from '../usage/latency.ts'
import type { TokenUsage } from '../wire/chat.ts'
import type { Call } from './call.ts'
import { complexityOf, type Scorers } from './complexity.ts'
import { clientClosed, type Ask, type Dispatch } from './dispatch.ts'
import { drawOf } from './draw.ts'
import type { Fetching, Images } from './images.ts'
import { metered } from './meter.ts'
import { candidatesOf, routeOf, type Catalogue, type Need } from './targets.ts'

export interface Services extends Catalogue {
  readonly config: Pick<Config, 'policy' | 'limits'>
  readonly backends: ReadonlyMap<string, Backend>
  readonly scorers: Scorers
  readonly latency: Pick<Latency, 'firstTokenMs'>
  readonly limits: Limits
  readonly images: Images
  readonly dispatch: Dispatch
}

export interface Inbound {
  readonly principal: Principal
  readonly body: Record<string, unknown>
  /** `x-torchgate-class` as it came. */
  readonly claimedClass: string | undefined
  /** Aborts when the caller has left. */
  readonly signal: AbortSignal
}

/** Where the answer goes: one `body`; or `begin`, frames and `end`. `frame` gives a promise while the caller reads slowly. */
export interface Outlet {
  /** `completion` is what `bytes` say. */
  body (bytes: Buffer, completion: unknown): void
  /** @param type media type of what is no stream of chunks */
  begin (type?: string): void
  frame (bytes: Buffer): Promise<void> | undefined
  end (): void
}

/** What every request has. */
export interface ModelRequest {
  readonly model: string
  readonly stream?: boolean | null | undefined
  readonly stream_options?: { readonly include_usage?: boolean | undefined } | null | undefined
}

/** `media`: pictures, recordings and files in it. */
export interface Estimate { readonly input: number, readonly output: number, readonly media?: number }

/** What is special about the calls of one kind. */
export interface Kind<R extends ModelRequest> {
  /** @throws GatewayError that names the parameter at fault */
  validate (body: Record<string, unknown>): R
  /** Tokens to reserve before anybody has counted them. */
  estimate (request: R, assumedOutput: number): Estimate
  /** Looks at pictures, recordings and files before anything is asked of anybody. @throws GatewayError that names the one at fault */
  examine? (request: R, images: Images): void
  /** Brings what the request only names, once it is known how far the call may go. */
  complete? (request: R, images: Images, bounds: Fetching): Promise<void>
  /** What not every target can do; null where any can. */
  needs? (request: R, estimate: Estimate): Need | null
  /** What a human asks with it; null when that is no text. Left out for what is no question. */
  prompt? (request: R): string | null
  /** May the request be sent to another target? Any may if left out. */
  canRepeat? (request: R): boolean
  /** The request as a backend may have it; it may be changed. @throws GatewayError where the backend cannot have it */
  fit? (request: R, backend: Backend, call: Call, tenant: TenantConfig): R
  /** One attempt. `request.model` is the backend's own name. */
  ask (backend: Backend, request: R, options: ChatOptions): Promise<Answer>
  /** What a whole answer says of its usage; null when it says nothing. */
  usageOf (answer: unknown): TokenUsage | null
  /** Seconds of audio that a whole answer says were charged for. */
  audioSecondsOf? (answer: unknown): number | null
  /** Tokens of a whole answer that says nothing. */
  roughOutput (answer: unknown): number
}

/**
 * The life of one call, top to bottom. Each line is one stage, and each stage one folder. The caller was authenticated
 * and the body parsed before (http/server.ts). However this ends, the call ends with it: one settlement, one record.
 * @throws GatewayError for the caller to see; after `begin` it can only be shown inside the stream
 */
export async function serve<R extends ModelRequest> (kind: Kind<R>, services: Services, call: Call, inbound: Inbound, outlet: Outlet): Promise<void> {
  const { record } = call
  const { tenant } = inbound.principal
  try {
    const request = kind.validate(inbound.body)
    record.stream = request.stream === true
    const route = routeOf(services, tenant, request.model)
    record.model = route.model.name
    const tokens = kind.estimate(request, services.config.limits.assumedOutputTokens)
    call.counted.input = tokens.input
    const hasMedia = tokens.media !== undefined && tokens.media > 0
    if (hasMedia) kind.examine?.(request, services.images)
    call.hold(await services.limits.admit({ tenant: tenant.name, limits: tenant.limits }, { callId: call.id, tokens: tokens.input + tokens.output }))
    const dataClass = record.dataClass = classOf(tenant.class, inbound.claimedClass)
    const boundary = record.boundary = boundaryOf(tenant.boundary, dataClass, services.config.policy.boundaries)
    const need = kind.needs?.(request, tokens) ?? null
    const candidates = candidatesOf(route, services.backends, { canServe: need?.isMet, latency: services.latency })
    const complexity = complexityOf(services.scorers, route.model, () => kind.prompt?.(request) ?? null)
    const draw = drawOf(route.model, { tenant: tenant.name, keyId: inbound.principal.keyId, callId: call.id }, request)
    const plan = decide({ dataClass, boundary, order: route.model.order, complexity, draw, candidates })
    note(plan, call)
    if (plan.targets.length === 0) throw noTarget(plan, need?.unmet(route.model.name))
    if (hasMedia) await kind.complete?.(request, services.images, { boundary, signal: inbound.signal })
    const ask: Ask = (backend, model, options) => {
      const own = { ...request, model }
      return kind.ask(backend, kind.fit?.(own, backend, call, tenant) ?? own, options)
    }
    const canRepeat = kind.canRepeat && (() => kind.canRepeat!(request))
    const { target, answer } = await services.dispatch({ call, ask, plan, isolation: tenant.name, signal: inbound.signal, ...canRepeat && { canRepeat } })
    call.target = target
    await metered(answer, call, { kind, usageChunk: request.stream_options?.include_usage === true }, outlet)
    if (inbound.signal.aborted) throw clientClosed()
    call.end(null)
  } catch (thrown) {
    const error = inbound.signal.aborted ? clientClosed() : toGatewayError(thrown)
    if (error instanceof RateLimited) record.limit = error.limit
    call.end(error)
    throw error
  }
}

function note (plan: Plan, call: Call): void {
  const { record } = call
  call.why = why(plan)
  record.planned = plan.targets.length
  record.rejected = plan.rejected.map(({ candidate, reason }) => ({ target: candidate.label, reason }))
}

/** Capacity and health come back by themselves, so the caller is told when to ask again; what policy forbids stays forbidden. */
function noTarget (plan: Plan, unmet: GatewayError | undefined): GatewayError {
  const reasons = new Set(plan.rejected.map(({ reason }) => reason))
  // What only others can do is told as that; where some could but may not, or may later, the call is not to blame.
  if (reasons.has('capability') && reasons.size === 1 && unmet !== undefined) return unmet
  if (reasons.has('no_capacity')) return new GatewayError('backend_overloaded', 'Every permitted target is at capacity.', { retryAfterS: 1 })
  if (reasons.has('data_class')) return new GatewayError('no_eligible_target', `No permitted target can take this call (${why(plan)}).`)
  const able = plan.rejected.filter(({ reason }) => reason !== 'capability')
  const isOneReason = able.every(({ reason }) => reason === able[0]!.reason)
  const code = isOneReason ? DOWN[able[0]!.reason] ?? 'backend_unavailable' : 'backend_unavailable'
  const retryAfterS = Math.min(...able.map(({ candidate }) => candidate.retryAfterS ?? ASK_AGAIN_S))
  return new GatewayError(code, `Every target of the model is down (${why(plan)}).`, { retryAfterS })
}

/** What the targets themselves would say, where all of them rest for one reason. */
const DOWN: Partial<Record<RejectionReason, ErrorCode>> = { rate_limited: 'backend_rate_limited', key_refused: 'backend_auth_failed' }
const ASK_AGAIN_S = 2
