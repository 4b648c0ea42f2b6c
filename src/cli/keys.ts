import { join } from 'node:path'
import { openSqlite } from '../store/sqlite.ts'
import { administerKeys, type KeyAdministration } from '../tenants/administer.ts'
import { loadPepper } from '../tenants/pepper.ts'
import { configurationFor, type ConfigurationOptions } from './configuration.ts'
import { reported } from './reported.ts'

export interface CreateOptions extends ConfigurationOptions {
  readonly tenant: string
  readonly name: string
  readonly admin: boolean
  readonly expires?: string
}

/** `torchgate keys create`: prints the key on standard output, alone, so that it can be piped. */
export function create (options: CreateOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return administering(options, env, async keys => {
    const { key, row } = await keys.create({
      tenant: options.tenant,
      name: options.name,
      scopes: [options.admin ? 'admin' : 'inference'],
      expiresAt: options.expires === undefined ? null : endOfDay(options.expires)
    })
    process.stdout.write(`${key}\n`)
    process.stderr.write(`Key ${row.id} of tenant ${row.tenant}. It is shown only now.\n`)
  })
}

export function list (options: ConfigurationOptions & { readonly json: boolean }, env: NodeJS.ProcessEnv): Promise<number> {
  return administering(options, env, async keys => {
    const rows = (await keys.list()).map(({ hmac: _secret, ...row }) => row)
    if (options.json) { process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`); return }
    for (const row of rows) process.stdout.write(`${row.id}  ${row.tenant}  ${row.scopes.join(',')}  ${stateOf(row)}  ${row.name}\n`)
  })
}

export function revoke (id: string, options: ConfigurationOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return administering(options, env, async keys => {
    if (!await keys.revoke(id)) throw new Error(`No key has the id ${id}. torchgate keys list shows them.`)
    process.stderr.write(`Key ${id} is revoked.\n`)
  })
}

function administering (options: ConfigurationOptions, env: NodeJS.ProcessEnv, work: (keys: KeyAdministration) => Promise<void>): Promise<number> {
  return reported(async () => {
    const { config } = configurationFor(options, env)
    const store = openSqlite(join(config.dataDir, 'torchgate.db'))
    try {
      await work(administerKeys({ tenants: config.tenants, keys: store.keys, pepper: loadPepper(config.dataDir) }))
    } finally {
      await store.close()
    }
  })
}

function stateOf ({ revokedAt, expiresAt }: { revokedAt: Date | null, expiresAt: Date | null }): string {
  if (revokedAt !== null) return `revoked ${revokedAt.toISOString()}`
  return expiresAt === null ? 'live' : `until ${expiresAt.toISOString()}`
}

function endOfDay (text: string): Date {
  const date = new Date(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T23:59:59.999Z` : text)
  if (Number.isNaN(date.getTime())) throw new Error(`--expires ${text}: expected a date like 2027-12-31.`)
  return date
}
