import { createHash } from 'node:crypto'
import { GatewayError } from '../../errors.ts'

/** One step forward. Once released it never changes: a correction is a further migration. */
export interface Migration {
  /** 1, 2, 3, … without a gap. */
  readonly id: number
  readonly name: string
  /** Statements in the dialect of the store, run in one transaction together with those of other pending migrations. */
  readonly sql: string
}

/** A row of the `migrations` table. */
export interface AppliedMigration { readonly id: number, readonly name: string, readonly checksum: string }

/**
 * What has still to be applied, in order.
 * @param applied in order of id
 * @throws GatewayError `internal_error` when the database holds a migration that this version does not know, or knows differently
 */
export function pendingMigrations (applied: readonly AppliedMigration[], known: readonly Migration[]): readonly Migration[] {
  for (const [index, row] of applied.entries()) {
    const migration = known[index]
    if (migration === undefined) {
      throw new GatewayError('internal_error', `Migration ${row.id} "${row.name}" was applied by a newer version of torchgate; ` +
        `this one knows ${known.length}. Run the newer version, or restore a copy from before it.`)
    }
    if (row.id !== migration.id || row.checksum !== checksumOf(migration)) {
      throw new GatewayError('internal_error', `Migration ${row.id} "${row.name}" was applied with other statements than ` +
        `${migration.id} "${migration.name}" of this version has. Run the version that wrote the database.`)
    }
  }
  return known.slice(applied.length)
}

/** SHA-256 of the statements, hex. The name may be improved later, the statements may not. */
export function checksumOf (migration: Migration): string {
  return createHash('sha256').update(migration.sql).digest('hex')
}
