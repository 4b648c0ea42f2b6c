import type { FastifyInstance } from 'fastify'
import type { Backend } from '../backends/backend.ts'
import type { Config } from '../config/schema.ts'
import { byDistance } from '../policy/boundary.ts'
import { routeOf } from '../pipeline/targets.ts'
import type { Services } from '../pipeline/chat.ts'

/** GET /v1/models and /v1/models/{id}: what this key may call. Ids may contain `/`, which the SDKs send as %2F. */
export async function modelsRoute (server: FastifyInstance, { services, models, createdS }: { services: Services, models: Config['models'], createdS: number }): Promise<void> {
  const entry = (id: string, backends: readonly string[]) => describe(id, backends, services.backends, createdS)

  server.get('/v1/models', { config: { scope: 'inference' } }, async request => {
    const { tenant } = request.principal!
    const listed = models.filter(({ name }) => !name.endsWith('*') && services.allows(tenant, name))
    return { object: 'list', data: listed.map(({ name, targets }) => entry(name, targets.map(({ backend }) => backend))) }
  })

  server.get<{ Params: { '*': string } }>('/v1/models/*', { config: { scope: 'inference' } }, async request => {
    const id = request.params['*']
    const route = routeOf(services, request.principal!.tenant, id)
    return entry(id, route.targets.map(({ backend }) => backend))
  })
}

/** OpenAI's four members, and where it runs. */
function describe (id: string, names: readonly string[], backends: ReadonlyMap<string, Backend>, createdS: number) {
  const localities = names.map(name => backends.get(name)!.locality).toSorted(byDistance)
  return { id, object: 'model', created: createdS, owned_by: names[0] ?? 'torchgate', localities: [...new Set(localities)] }
}

