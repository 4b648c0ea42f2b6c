import type { Backend } from '../backends/backend.ts'
import type { TargetConfig, TenantConfig } from '../config/schema.ts'
import type { ModelRoute, ModelRoutes } from '../config/resolve.ts'
import { GatewayError } from '../errors.ts'
import type { Candidate } from '../policy/decide.ts'
import type { Latency } from '../usage/latency.ts'

export interface Catalogue {
  readonly routes: ModelRoutes
  readonly allows: (tenant: TenantConfig, model: string) => boolean
}

/**
 * The route of a public model name for a tenant.
 * @throws GatewayError `model_not_found`, or `model_not_allowed` when it exists for others
 */
export function routeOf ({ routes, allows }: Catalogue, tenant: TenantConfig, model: string): ModelRoute {
  const route = routes.find(model)
  if (route === null) {
    throw new GatewayError('model_not_found', `The model \`${shown(model)}\` does not exist. GET /v1/models lists those this key may call.`, { param: 'model' })
  }
  if (!allows(tenant, model)) {
    throw new GatewayError('model_not_allowed', `The tenant ${tenant.name} may not call the model \`${shown(model)}\`.`, { param: 'model' })
  }
  return route
}

/** Names come from the caller: bounded and printable before they go into a message. */
function shown (model: string): string {
  const printable = model.replace(/[^\x20-\x7e]/g, '?')
  return printable.length > 64 ? `${printable.slice(0, 64)}...` : printable
}

/** What a call needs that not every target can do. */
export interface Need {
  isMet (backend: Backend, target: TargetConfig): boolean
  /** What the caller is told where no target can. */
  unmet (model: string): GatewayError
}

export interface Looking<B> {
  /** Of what the call needs; all can if left out. */
  readonly canServe?: ((backend: B, target: TargetConfig) => boolean) | undefined
  readonly latency?: Pick<Latency, 'firstTokenMs'>
}

/** What could answer, with each backend's health as of now. */
export function candidatesOf<B extends Pick<Backend, 'locality' | 'availability'>> (route: ModelRoute, backends: ReadonlyMap<string, B>, { canServe, latency }: Looking<B> = {}): Candidate[] {
  return route.targets.map(({ backend: name, model }, index) => {
    const backend = backends.get(name)
    if (backend === undefined) throw new GatewayError('internal_error', `No backend is named ${name}.`)
    const target = route.model.targets[index]!
    const label = `${name}/${target.model}`
    const { state, reason, retryAfterS, queued, freeSlots } = backend.availability(model)
    const firstTokenMs = route.model.order === 'fastest' ? latency?.firstTokenMs(label) : undefined
    return {
      target: `${name}/${model}`, label, backend: name, model, locality: backend.locality, state, queued, freeSlots,
      ...target.weight !== undefined && { weight: target.weight },
      ...firstTokenMs !== undefined && { firstTokenMs },
      ...reason !== undefined && reason !== 'failing' && { whyDown: reason },
      ...retryAfterS !== undefined && { retryAfterS },
      ...canServe?.(backend, target) === false && { isUnable: true }
    }
  })
}
