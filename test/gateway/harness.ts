/** A whole gateway in this process, on free ports, with its own folder; and what the tests ask of it. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import OpenAI from 'openai'
import type { Test } from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { openGateway, type Gateway } from '../../src/gateway.ts'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import { administerKeys } from '../../src/tenants/administer.ts'
import { loadPepper } from '../../src/tenants/pepper.ts'

export interface Running {
  readonly gateway: Gateway
  readonly url: string
  readonly folder: string
  readonly adminKey: string
  /** A new key of a tenant. */
  key (tenant: string): Promise<string>
  /** An OpenAI client with a new key; it does not retry, so that a test sees what happened. */
  client (tenant: string): Promise<OpenAI>
  /** GET on the admin listener with the admin key. */
  admin<T = Record<string, unknown>> (path: string): Promise<T>
  /** The value of a series on /metrics; its labels in any order; 0 when it is not there. */
  metric (name: string, labels?: Readonly<Record<string, string>>): Promise<number>
  /** Finished calls, oldest first, once there are `count` of them. */
  records (count: number): Promise<Recorded[]>
}

/** What a test gives; and whoever else opens gateways, to close them. */
export type Surroundings = Pick<Test, 'testdir' | 'teardown'>

/** A call as /admin/v1/calls/recent shows it. */
export interface Recorded {
  readonly outcome: string
  readonly error: string | null
  readonly [fact: string]: unknown
}

/** One worker of the built-in model with the given slots, as backend `pool`, model `pilot`. */
export function pilotPool (slots = 4, workers = 1, more = ''): string {
  return `
  - name: pool
    kind: pool
    models: [{ name: pilot, path: ${BUILTIN_MODEL.path}, sha256: ${BUILTIN_MODEL.sha256}, contextTokens: 2048, slots: ${slots}, workers: ${workers}, gpu: false }]
    restart: { backoffMs: 20 }
${more}`
}

/**
 * @param yaml sections backends, models, tenants and whatever else; ports and folders are filled in
 * @param server members of the section server
 */
export async function startGateway (t: Surroundings, yaml: string, env: NodeJS.ProcessEnv = {}, server = 'drainTimeoutMs: 3000'): Promise<Running> {
  const folder = t.testdir()
  const file = join(folder, 'torchgate.yaml')
  // On a busy machine a test stands still now and then.
  const patient = server.includes('shed:') ? server : `${server}, shed: { eventLoopDelayMs: 60000 }`
  writeFileSync(file, `server: { port: 0, ${patient} }\nadmin: { port: 0 }\ndataDir: ${join(folder, 'data')}\nlog: { level: silent }\n${yaml}`)
  const { config, revision } = loadConfig(file, { env })
  const gateway = await openGateway(config, { env, revision })
  t.teardown(() => gateway.close(AbortSignal.abort()))
  await gateway.whenReady(AbortSignal.timeout(30_000))

  const key = async (tenant: string, scope: 'inference' | 'admin' = 'inference') => {
    const store = openSqlite(join(config.dataDir, 'torchgate.db'))
    try {
      const keys = administerKeys({ tenants: config.tenants, keys: store.keys, pepper: loadPepper(config.dataDir) })
      return (await keys.create({ tenant, name: 'test', scopes: [scope], expiresAt: null })).key
    } finally {
      await store.close()
    }
  }
  const adminKey = gateway.firstKeys!.admin
  const admin = async <T> (path: string): Promise<T> => {
    const response = await fetch(gateway.adminUrl + path, { headers: { authorization: `Bearer ${adminKey}` } })
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    return await response.json() as T
  }
  return {
    gateway,
    url: gateway.url,
    folder,
    adminKey,
    key,
    client: async tenant => new OpenAI({ apiKey: await key(tenant), baseURL: `${gateway.url}/v1`, maxRetries: 0 }),
    admin,
    metric: async (name, labels = {}) => seriesOf(await (await fetch(`${gateway.adminUrl}/metrics`)).text(), name, labels),
    async records (count) {
      for (let tries = 0; tries < 250; tries++) {
        const { data } = await admin<{ data: Recorded[] }>('/admin/v1/calls/recent')
        if (data.length >= count) return data.toReversed()
        await wait(20)
      }
      throw new Error(`There were not ${count} records after 5 s.`)
    }
  }
}

/** Sums the series of `name` that carry all of `labels`. */
export function seriesOf (text: string, name: string, labels: Readonly<Record<string, string>>): number {
  let sum = 0
  for (const line of text.split('\n')) {
    if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue
    if (Object.entries(labels).every(([label, value]) => line.includes(`${label}="${value}"`))) sum += Number(line.slice(line.lastIndexOf(' ') + 1))
  }
  return sum
}

export const ask = (content: string, model = 'pilot') => ({ model, messages: [{ role: 'user' as const, content }], temperature: 0 })

/** Reads a stream to its end. */
export async function readAll (stream: AsyncIterable<OpenAI.Chat.ChatCompletionChunk>): Promise<{ text: string, finish: string | null }> {
  let text = ''
  let finish: string | null = null
  for await (const { choices } of stream) {
    text += choices[0]?.delta.content ?? ''
    finish = choices[0]?.finish_reason ?? finish
  }
  return { text, finish }
}

/** Waits until `holds` gives true. */
export async function eventually (holds: () => boolean | Promise<boolean>, timeoutMs = 5000): Promise<boolean> {
  for (const endMs = performance.now() + timeoutMs; performance.now() < endMs;) {
    if (await holds()) return true
    await wait(10)
  }
  return false
}
