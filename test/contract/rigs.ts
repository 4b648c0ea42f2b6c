/** The two gateways whose conformance is told in docs/conformance.md. */
import { pilotPool, startGateway, type Surroundings } from '../gateway/harness.ts'
import { Server } from './server.ts'
import { startUpstream } from './upstream.ts'

const TIMEOUT_MS = 60_000

/** torchgate with the built-in model. */
export async function local (t: Surroundings): Promise<Server> {
  const { url, key } = await startGateway(t, `
backends:${pilotPool(2)}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: acme }]
`)
  return new Server({ baseUrl: `${url}/v1`, key: await key('acme'), model: 'pilot', embeddingModel: 'pilot', timeoutMs: TIMEOUT_MS })
}

/** torchgate in front of a provider that serves chat completions and vectors, by a script. */
export async function upstream (t: Surroundings): Promise<Server> {
  const provider = await startUpstream(t)
  const { url, key } = await startGateway(t, `
backends: [{ name: far, kind: openai, baseUrl: ${provider}, locality: cloud }]
models: [{ name: scripted, targets: [{ backend: far, model: script }] }]
tenants: [{ name: acme }]
`)
  return new Server({ baseUrl: `${url}/v1`, key: await key('acme'), model: 'scripted', embeddingModel: 'scripted', timeoutMs: TIMEOUT_MS })
}
