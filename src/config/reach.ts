/** Which tenants can reach which targets: the promises of a configuration that its own boundaries would break. */
import type { Finding } from './problems.ts'
import { modelRoutes } from './resolve.ts'
import { LOCALITIES, type Config, type Locality, type TenantConfig } from './schema.ts'

export function rank (locality: Locality): number { return LOCALITIES.indexOf(locality) }

/** The nearer of the tenant's own boundary and that of its lowest class: no call of this tenant goes farther. */
function boundaryOf (tenant: TenantConfig, config: Config): Locality {
  const ofClass = config.policy.boundaries[tenant.class]
  return rank(ofClass) < rank(tenant.boundary) ? ofClass : tenant.boundary
}

/**
 * A tenant that names a model it can never reach is an error, one that merely matches it by `*` a warning.
 * A target that nobody can reach is an error: as a fallback it would look like a way out and be none.
 */
export function checkReach (config: Config): Finding[] {
  const models = reachableModels(config)
  const judge = judgeOf(config, models)
  const findings = config.tenants.flatMap((tenant, index) => checkTenant(tenant, index, boundaryOf(tenant, config), judge))
  return [...findings, ...models.flatMap(model => checkTargets(config, model))]
}

interface ReachableModel {
  readonly name: string
  readonly index: number
  /** Of each target, in order; null for a backend that does not exist, which is reported elsewhere. */
  readonly localities: readonly (Locality | null)[]
  readonly nearest: number
  /** How far the farthest-reaching tenant that may call it may go; -1 while there is none. */
  farthest: number
}

function reachableModels (config: Config): ReachableModel[] {
  const backends = new Map(config.backends.map(backend => [backend.name, backend.kind === 'pool' ? 'local' : backend.locality]))
  return config.models.map(({ name, targets }, index) => {
    const localities = targets.map(({ backend }) => backends.get(backend) ?? null)
    return { name, index, localities, nearest: Math.min(...localities.map(found => rank(found ?? 'local'))), farthest: -1 }
  })
}

/** How many models a pattern opens, and which of them have no target within the boundary. */
interface Verdict { readonly opened: number, readonly beyond: readonly string[] }
type Judge = (pattern: string, boundary: Locality) => Verdict

/** Notes on each model who may call it. Most tenants share their patterns, so each is worked out once per boundary. */
function judgeOf (config: Config, models: readonly ReachableModel[]): Judge {
  const matched = matcherOf(config, models)
  const known = new Map<string, Verdict>()
  return (pattern, boundary) => {
    const key = `${boundary} ${pattern}`
    const before = known.get(key)
    if (before !== undefined) return before
    const opened = matched(pattern)
    for (const model of opened) model.farthest = Math.max(model.farthest, rank(boundary))
    const verdict = { opened: opened.length, beyond: opened.filter(({ nearest }) => nearest > rank(boundary)).map(({ name }) => name) }
    known.set(key, verdict)
    return verdict
  }
}

function matcherOf (config: Config, models: readonly ReachableModel[]): (pattern: string) => readonly ReachableModel[] {
  const routes = modelRoutes(config)
  const byName = new Map(models.map(model => [model.name, model]))
  return pattern => {
    if (pattern.endsWith('*')) return matchedByPrefix(pattern.slice(0, -1), models)
    const route = routes.find(pattern)
    return route === null ? [] : [byName.get(route.model.name)!]
  }
}

/** `gpt-4*` opens every model that begins so, and of the wider ones (`gpt-*`, `g*`) the longest, which answers for the rest. */
function matchedByPrefix (prefix: string, models: readonly ReachableModel[]): ReachableModel[] {
  const within = models.filter(({ name }) => withoutStar(name).startsWith(prefix))
  if (within.some(({ name }) => name === `${prefix}*`)) return within
  const wider = models.filter(({ name }) => name.endsWith('*') && withoutStar(name).length < prefix.length && prefix.startsWith(withoutStar(name)))
  const longest = wider.toSorted((a, b) => b.name.length - a.name.length)[0]
  return longest === undefined ? within : [...within, longest]
}

function withoutStar (name: string): string { return name.endsWith('*') ? name.slice(0, -1) : name }

function checkTenant (tenant: TenantConfig, index: number, boundary: Locality, judge: Judge): Finding[] {
  return tenant.models.flatMap((pattern, at): Finding[] => {
    const path = ['tenants', index, 'models', at]
    const { opened, beyond } = judge(pattern, boundary)
    if (opened === 0) return [{ path, message: `"${pattern}" matches no model`, severity: 'warning' }]
    if (beyond.length === 0) return []
    const message = `${someOf(beyond)}: no target lies within ${boundary}, and tenant ${tenant.name} may go no farther`
    return [{ path, message, severity: pattern.endsWith('*') ? 'warning' : 'error' }]
  })
}

const MOST_NAMED = 3

function someOf (names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMED).map(name => `"${name}"`).join(', ')
  return names.length > MOST_NAMED ? `${shown} and ${names.length - MOST_NAMED} more` : shown
}

function checkTargets (config: Config, model: ReachableModel): Finding[] {
  if (model.farthest === -1) return [{ path: ['models', model.index, 'name'], message: `no tenant may call "${model.name}"`, severity: 'warning' }]
  return model.localities.flatMap((locality, at): Finding[] => {
    if (locality === null || rank(locality) <= model.farthest) return []
    const backend = config.models[model.index]!.targets[at]!.backend
    const message = `${backend} is ${locality}, and no tenant that may call "${model.name}" may go farther than ${LOCALITIES[model.farthest]}`
    return [{ path: ['models', model.index, 'targets', at, 'backend'], message, severity: 'error' }]
  })
}
