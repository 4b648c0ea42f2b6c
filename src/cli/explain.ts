import { modelRoutes, patternAllows } from '../config/resolve.ts'
import type { BackendConfig } from '../config/schema.ts'
import { scorersOf } from '../pipeline/complexity.ts'
import { explain, type Premises } from '../pipeline/explain.ts'
import { configurationFor } from './configuration.ts'
import { reported } from './reported.ts'

export interface ExplainOptions {
  readonly config?: string
  readonly tenant: string
  /** As a caller would name it; not the file that `start --model` takes. */
  readonly model: string
  readonly class?: string
  /** What is asked, for models whose order depends on it. */
  readonly prompt?: string
}

/**
 * `torchgate explain`: what the configuration decides, with every backend taken to be healthy. The admin API's
 * /admin/v1/explain answers the same for the running gateway, with the health of now.
 */
export function explainCall ({ config: file, prompt, ...question }: ExplainOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return reported(async () => {
    const { config } = configurationFor(file === undefined ? {} : { config: file }, env)
    const premises: Premises = {
      config,
      scorers: scorersOf(config),
      routes: modelRoutes(config),
      allows: (tenant, model) => patternAllows(tenant.models, model),
      backends: new Map(config.backends.map(backend => [backend.name, healthy(backend)]))
    }
    const tenantOf = (name: string) => config.tenants.find(tenant => tenant.name === name) ?? null
    process.stdout.write(`${JSON.stringify(explain(premises, tenantOf, { ...question, ...prompt !== undefined && { request: { model: question.model, messages: [{ role: 'user', content: prompt }] } } }), null, 2)}\n`)
  })
}

function healthy (backend: BackendConfig) {
  const locality = backend.kind === 'pool' ? 'local' as const : backend.locality
  return { locality, availability: () => ({ state: 'ready' as const, queued: 0, freeSlots: 1, contextTokens: null }) }
}
