/** Routing as a pure function: same facts, same plan. Nothing here awaits, logs or reads a clock. */
import type { DataClass, Locality, ModelConfig } from '../config/schema.ts'
import { isWithin } from './boundary.ts'
import { orderBy } from './order.ts'

/** One thing that could answer, as policy sees it. */
export interface Candidate {
  /** `backend/model`, unique; what headers, metrics and records call it. */
  readonly target: string
  /** The same as configured, where a wildcard stands for many models: the label of metrics. */
  readonly label: string
  readonly backend: string
  /** The backend's own name of the model. */
  readonly model: string
  readonly locality: Locality
  readonly state: 'ready' | 'weak' | 'idle' | 'loading' | 'saturated' | 'down'
  /** Of one that is down, where more is known than that. */
  readonly whyDown?: 'rate_limited' | 'key_refused'
  /** When one that is down is asked again. */
  readonly retryAfterS?: number
  /** Calls waiting for a place, and places that are free. */
  readonly queued?: number
  readonly freeSlots?: number
  /** Share of the calls beside those of the others; 1 if left out. */
  readonly weight?: number
  /** To the first content, as measured of late; left out where nothing was. */
  readonly firstTokenMs?: number
  /** The call needs what it cannot do. */
  readonly isUnable?: boolean
}

export interface Facts {
  readonly dataClass: DataClass
  /** Farthest place this call may travel. */
  readonly boundary: Locality
  readonly order: ModelConfig['order']
  /** How hard the prompt looks, where the order depends on it and there is a prompt to look at. */
  readonly complexity?: Complexity | null
  /** Chance, for orders that need some: the same text gives the same order. */
  readonly draw?: string
  /** As listed in the configuration. */
  readonly candidates: readonly Candidate[]
}

/** Above the threshold a prompt counts as hard. */
export interface Complexity { readonly score: number, readonly threshold: number }

export interface Plan {
  /** In the order to try them. Empty means refuse. */
  readonly targets: readonly Candidate[]
  readonly rejected: readonly Rejection[]
  readonly order: Facts['order']
  readonly complexity: Complexity | null
  readonly dataClass: DataClass
  readonly boundary: Locality
}

export interface Rejection { readonly candidate: Candidate, readonly reason: RejectionReason }

/** Values of the `reason` label of torchgate_routing_exclusions_total. */
export const REJECTION_REASONS = ['data_class', 'capability', 'unhealthy', 'no_capacity', 'rate_limited', 'key_refused'] as const
export type RejectionReason = (typeof REJECTION_REASONS)[number]

/**
 * Hard rules first: what lies outside the boundary is out whatever else is true. Then health. The order only sorts
 * what is left; a target that is weak comes after those that are well, and one that is still loading comes last. One that is loaded on demand keeps its
 * place while it is idle: a call has to come for it, or it would never be loaded.
 */
export function decide (facts: Facts): Plan {
  const targets: Candidate[] = []
  const rejected: Rejection[] = []
  for (const candidate of facts.candidates) {
    const reason = refusal(candidate, facts.boundary)
    if (reason === null) targets.push(candidate)
    else rejected.push({ candidate, reason })
  }
  const complexity = facts.complexity ?? null
  const ordered = orderBy(facts)
  targets.sort((a, b) => readyFirst(a, b) || ordered(a, b))
  return { targets, rejected, order: facts.order, complexity, dataClass: facts.dataClass, boundary: facts.boundary }
}

function refusal (candidate: Candidate, boundary: Locality): RejectionReason | null {
  if (!isWithin(boundary, candidate.locality)) return 'data_class'
  if (candidate.isUnable === true) return 'capability'
  if (candidate.state === 'down') return candidate.whyDown ?? 'unhealthy'
  if (candidate.state === 'saturated') return 'no_capacity'
  return null
}

function readyFirst (a: Candidate, b: Candidate): number {
  return LATER[a.state] - LATER[b.state]
}

const LATER: Readonly<Record<Candidate['state'], number>> = { ready: 0, idle: 0, saturated: 0, weak: 1, loading: 2, down: 3 }

/**
 * The plan in one ASCII line for `x-torchgate-why`, from enums and configured names only, so no caller's text gets in:
 * `class=internal;boundary=cloud;order=listed;eligible=1/2;skip=openai/gpt-4o:unhealthy`
 */
export function why (plan: Plan): string {
  const all = plan.targets.length + plan.rejected.length
  const head = `class=${plan.dataClass};boundary=${plan.boundary};order=${orderOf(plan)};eligible=${plan.targets.length}/${all}`
  let line = head
  for (const { candidate, reason } of plan.rejected) {
    const part = `${line === head ? ';skip=' : ','}${candidate.label}:${reason}`
    if (line.length + part.length > WHY_LIMIT) return `${line},...`
    line += part
  }
  return line
}

function orderOf ({ order, complexity }: Plan): string {
  if (complexity === null) return order
  const { score, threshold } = complexity
  return `${order}(${score.toFixed(2)}${score > threshold ? '>' : '<='}${threshold})`
}

const WHY_LIMIT = 1000
