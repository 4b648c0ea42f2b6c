import type { Backend } from '../backends/backend.ts'
import type { Config, TenantConfig } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import { boundaryOf } from '../policy/boundary.ts'
import { classOf } from '../policy/classify.ts'
import { explainScore, type Scored } from '../policy/complexity.ts'
import { decide, why, type Candidate, type Complexity, type Plan } from '../policy/decide.ts'
import type { Latency } from '../usage/latency.ts'
import { validateChat } from '../wire/validate.ts'
import { complexityOf, lastPrompt, scorerOf, type Scorers } from './complexity.ts'
import { drawOf } from './draw.ts'
import { candidatesOf, routeOf, type Catalogue } from './targets.ts'

export interface Question {
  readonly tenant: string
  readonly model: string
  /** What the caller would say with `x-torchgate-class`. */
  readonly class?: string | undefined
  /** The body of the call, for what depends on it. */
  readonly request?: Readonly<Record<string, unknown>> | undefined
}

/** What a decision depends on, with or without a running gateway. */
export interface Premises extends Catalogue {
  readonly config: Pick<Config, 'policy'>
  readonly scorers: Scorers
  /** Left out where nothing was measured. */
  readonly latency?: Pick<Latency, 'firstTokenMs'>
  readonly backends: ReadonlyMap<string, Pick<Backend, 'locality' | 'availability'>>
}

/** Every candidate and what became of it, in the words of the decision. */
export interface Explanation {
  readonly tenant: string
  readonly model: string
  readonly class: { readonly floor: string, readonly claimed: string | null, readonly effective: string }
  readonly boundary: { readonly tenant: string, readonly ofClass: string, readonly effective: string }
  readonly order: string
  /** Of the prompt in `request`, where the order depends on it: what each feature adds, the largest first. */
  readonly complexity: Complexity & Scored & { readonly scorer: string } | null
  readonly candidates: ReadonlyArray<Omit<Candidate, 'label'> & { readonly verdict: 'chosen' | 'fallback' | 'rejected', readonly reason: string }>
  readonly why: string
}

/**
 * What `serveChat` would decide for such a call now, through the same functions; nothing is sent and nothing counted.
 * @throws GatewayError `model_not_found`, `model_not_allowed`, `invalid_value`
 */
export function explain (premises: Premises, tenantOf: (name: string) => TenantConfig | null, question: Question): Explanation {
  const tenant = tenantOf(question.tenant)
  if (tenant === null) throw new GatewayError('invalid_value', 'No tenant of this name is configured.', { param: 'tenant' })
  const route = routeOf(premises, tenant, question.model)
  const dataClass = classOf(tenant.class, question.class)
  const { boundaries } = premises.config.policy
  const boundary = boundaryOf(tenant.boundary, dataClass, boundaries)
  const prompt = promptIn(question.request)
  const complexity = complexityOf(premises.scorers, route.model, () => prompt)
  const draw = drawOf(route.model, { tenant: tenant.name, keyId: '', callId: '' }, question.request ?? {})
  const plan = decide({ dataClass, boundary, order: route.model.order, complexity, draw, candidates: candidatesOf(route, premises.backends, premises) })
  const scorer = scorerOf(premises.scorers, route.model)
  return {
    tenant: tenant.name,
    model: question.model,
    class: { floor: tenant.class, claimed: question.class ?? null, effective: dataClass },
    boundary: { tenant: tenant.boundary, ofClass: boundaries[dataClass], effective: boundary },
    order: plan.order,
    complexity: complexity === null ? null : { ...complexity, scorer: scorer.name, ...explainScore(scorer, prompt!) },
    candidates: [
      ...plan.targets.map((candidate, index) => ({ ...shown(candidate), ...rank(plan, index) })),
      ...plan.rejected.map(({ candidate, reason }) => ({ ...shown(candidate), verdict: 'rejected' as const, reason }))
    ],
    why: why(plan)
  }
}

/** @throws GatewayError that names what is no chat completion in it */
function promptIn (request: Question['request']): string | null {
  return request?.['messages'] === undefined ? null : lastPrompt(validateChat(structuredClone(request)))
}

/** Why a target stands where it stands. */
function rank ({ targets, order, complexity }: Plan, index: number): { verdict: 'chosen' | 'fallback', reason: string } {
  const loading = targets[index]!.state === 'loading' ? ', still loading' : ''
  if (index === 0) return { verdict: 'chosen', reason: `first by order ${order}${complexity === null ? '' : `, ${complexity.score > complexity.threshold ? 'a hard' : 'an easy'} prompt`}${loading}` }
  return { verdict: 'fallback', reason: `after ${targets[index - 1]!.target}${loading}` }
}

function shown (candidate: Candidate): Omit<Candidate, 'label'> {
  const { label: _label, ...rest } = candidate
  return rest
}
