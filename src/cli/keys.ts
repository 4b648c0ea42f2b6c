import { join } from 'node:path'
import { openSqlite } from '../store/sqlite.ts'
import type { Store } from '../store/store.ts'
import { issueKey } from '../tenants/administer.ts'
import { loadPepper } from '../tenants/pepper.ts'
import { configurationFor, type ConfigurationOptions } from './configuration.ts'
import { reported } from './reported.ts'

export interface CreateOptions extends ConfigurationOptions { readonly tenant: string, readonly name: string, readonly admin: boolean, readonly expires?: string }

/** `torchgate keys create`: prints the key on standard output, alone, so that it can be piped. */
export function create (options: CreateOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return reported(async () => {
    const { config } = configurationFor(options, env)
    if (!config.tenants.some(({ name }) => name === options.tenant)) {
      throw new Error(`--tenant ${options.tenant}: not configured; there are ${config.tenants.map(({ name }) => name).join(', ')}.`)
    }
    const expiresAt = options.expires === undefined ? null : endOfDay(options.expires)
    await withStore(config.dataDir, async store => {
      const pepper = loadPepper(config.dataDir)
      const scopes = options.admin ? ['admin' as const] : ['inference' as const]
      const { key, id } = await issueKey(store.keys, pepper, { tenant: options.tenant, name: options.name, scopes, expiresAt })
      process.stdout.write(`${key}\n`)
      process.stderr.write(`Key ${id} of tenant ${options.tenant}. It is shown only now.\n`)
    })
  })
}

export function list (options: ConfigurationOptions & { readonly json: boolean }, env: NodeJS.ProcessEnv): Promise<number> {
  return reported(async () => {
    const { config } = configurationFor(options, env)
    await withStore(config.dataDir, async store => {
      const rows = (await store.keys.list()).map(({ hmac: _secret, ...row }) => row)
      if (options.json) { process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`); return }
      for (const { id, tenant, scopes, name, createdAt, expiresAt, revokedAt } of rows) {
        const state = revokedAt !== null ? `revoked ${revokedAt.toISOString()}` : expiresAt !== null ? `until ${expiresAt.toISOString()}` : 'live'
        process.stdout.write(`${id}  ${tenant}  ${scopes.join(',')}  ${createdAt.toISOString()}  ${state}  ${name}\n`)
      }
    })
  })
}

export function revoke (id: string, options: ConfigurationOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return reported(async () => {
    const { config } = configurationFor(options, env)
    await withStore(config.dataDir, async store => {
      if (!await store.keys.revoke(id, new Date())) throw new Error(`No key has the id ${id}. torchgate keys list shows them.`)
      process.stderr.write(`Key ${id} is revoked.\n`)
    })
  })
}

async function withStore (dataDir: string, work: (store: Store) => Promise<void>): Promise<void> {
  const store = openSqlite(join(dataDir, 'torchgate.db'))
  try { await work(store) } finally { await store.close() }
}

function endOfDay (text: string): Date {
  const date = new Date(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T23:59:59.999Z` : text)
  if (Number.isNaN(date.getTime())) throw new Error(`--expires ${text}: expected a date like 2027-12-31.`)
  return date
}
