import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { openSqlite } from '../store/sqlite.ts'
import { administerKeys, type KeyAdministration } from '../tenants/administer.ts'
import { parseKey } from '../tenants/keys.ts'
import { loadPepper } from '../tenants/pepper.ts'
import { configurationFor, type ConfigurationOptions } from './configuration.ts'
import { reported, say } from './reported.ts'

export interface CreateOptions extends ConfigurationOptions {
  readonly tenant: string
  readonly name: string
  readonly admin: boolean
  readonly expires?: string
}

/**
 * `torchgate keys create`: prints the key on standard output, alone, so that it can be piped. Works before the first
 * start too, which then makes no keys of its own.
 */
export function create (options: CreateOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return administering(options, env, async (keys, database) => {
    const { key, row } = await keys.create({
      tenant: options.tenant,
      name: options.name,
      scopes: [options.admin ? 'admin' : 'inference'],
      expiresAt: options.expires === undefined ? null : endOfDay(options.expires)
    })
    process.stdout.write(`${key}\n`)
    say(`Key ${row.id} of tenant ${row.tenant}, in ${database}. It is shown only now.`)
  })
}

export function list (options: ConfigurationOptions & { readonly json: boolean }, env: NodeJS.ProcessEnv): Promise<number> {
  return administering({ ...options, existing: true }, env, async keys => {
    const rows = (await keys.list()).map(({ hmac: _secret, ...row }) => row)
    if (options.json) { process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`); return }
    for (const row of rows) process.stdout.write(`${row.id}  ${row.tenant}  ${row.scopes.join(',')}  ${stateOf(row)}  ${row.name}\n`)
  })
}

/** @param text the id, or the whole key: of one that leaked, that is what is at hand. It is not repeated. */
export function revoke (text: string, options: ConfigurationOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return administering({ ...options, existing: true }, env, async keys => {
    const id = parseKey(text)?.id ?? text
    if (!await keys.revoke(id)) throw new Error('No key has this id. torchgate keys list shows them.')
    say(`Key ${id} is revoked.`)
  })
}

interface Administering extends ConfigurationOptions {
  /** Refuses to make a database: there would be nothing in it. */
  readonly existing?: boolean
}

type Work = (keys: KeyAdministration, database: string) => Promise<void>

function administering (options: Administering, env: NodeJS.ProcessEnv, work: Work): Promise<number> {
  return reported(async () => {
    const { config } = configurationFor(options, env)
    const database = join(config.dataDir, 'torchgate.db')
    if (options.existing === true && !existsSync(database)) throw new Error(`There is no database ${database}. Name its folder with --data-dir or --config.`)
    const store = openSqlite(database)
    try {
      await work(administerKeys({ tenants: config.tenants, keys: store.keys, pepper: loadPepper(config.dataDir) }), database)
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
