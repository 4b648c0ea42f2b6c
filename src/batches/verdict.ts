import type { ErrorCode, GatewayError } from '../errors.ts'

/** What becomes of a line that failed: this is its answer, or it is tried again. */
export type Verdict = { readonly kind: 'final' } | Again

export interface Again {
  readonly kind: 'again'
  /** What rests meanwhile: all of the tenant, all lines of the batch for this model, or this line alone. */
  readonly rests: 'tenant' | 'model' | 'line'
  readonly ms: number
  /** Whether it counts as one of the tries that a line has. */
  readonly isTry: boolean
}

/** Nothing is wrong with the line or with the model: both wait, for as long as the window of the batch lasts. */
const WAITS: Readonly<Partial<Record<ErrorCode, { readonly rests: 'tenant' | 'model', readonly s: number }>>> = {
  rate_limit_exceeded: { rests: 'tenant', s: 1 },
  state_unavailable: { rests: 'tenant', s: 5 },
  backend_rate_limited: { rests: 'model', s: 5 },
  backend_overloaded: { rests: 'model', s: 2 },
  backend_unavailable: { rests: 'model', s: 5 },
  draining: { rests: 'model', s: 1 }
}

/** The next try may end otherwise. */
const TEMPORARY: ReadonlySet<ErrorCode> = new Set([
  'backend_auth_failed', 'backend_failed', 'backend_interrupted', 'backend_invalid_answer', 'backend_timeout', 'backend_unreachable', 'internal_error', 'worker_crashed'
])
const LONGEST_REST_MS = 60_000
const FIRST_REST_MS = 1000

/** @param tries that the line has had in vain before, @param most it may have */
export function verdictOn (error: GatewayError, tries: number, most: number): Verdict {
  const { code, retryAfterS } = error
  // The gateway is being closed.
  if (code === 'client_closed') return { kind: 'again', rests: 'line', ms: 0, isTry: false }
  // It is larger than its limit, whenever it is asked.
  if (code === 'rate_limit_exceeded' && retryAfterS === null) return { kind: 'final' }
  const wait = WAITS[code]
  if (wait !== undefined) return { kind: 'again', rests: wait.rests, ms: Math.min(LONGEST_REST_MS, (retryAfterS ?? wait.s) * 1000), isTry: false }
  if (!TEMPORARY.has(code) || tries + 1 >= most) return { kind: 'final' }
  return { kind: 'again', rests: 'line', ms: Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** tries), isTry: true }
}
