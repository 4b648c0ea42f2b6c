/** Batches as callers know them. */
import { randomBytes } from 'node:crypto'
import { GatewayError } from '../errors.ts'
import type { Files } from '../files/files.ts'
import { classOf } from '../policy/classify.ts'
import type { BatchRow, BatchStore, Page } from '../store/store.ts'
import type { Principal } from '../tenants/tenants.ts'
import { WINDOW_MS, type BatchRequest } from '../wire/batches.ts'

export interface BatchesParts {
  readonly store: BatchStore
  readonly files: Files
  /** Of a tenant that have not ended. */
  readonly perTenant: number
  /** There is something new to do. */
  readonly onChange: () => void
}

export class Batches {
  readonly #parts: BatchesParts

  constructor (parts: BatchesParts) { this.#parts = parts }

  /**
   * @param claimedClass what the caller says of its requests; what was said of the file holds as well
   * @throws GatewayError `file_not_found`, `invalid_value`, `storage_full`, `too_many_batches`
   */
  async create ({ tenant, keyId }: Principal, asked: BatchRequest, claimedClass: string | undefined): Promise<BatchRow> {
    const { store, files, perTenant } = this.#parts
    const file = await files.find(tenant.name, asked.inputFileId, 'input_file_id')
    if (file.purpose !== 'batch') {
      throw new GatewayError('invalid_value', `Invalid value for 'input_file_id': the purpose of the file is ${file.purpose}; expected batch.`, { param: 'input_file_id' })
    }
    await files.assertRoom(tenant.name)
    const createdAt = new Date()
    const id = `batch_${randomBytes(16).toString('hex')}`
    const isIn = await store.insert({
      id,
      tenant: tenant.name,
      keyId,
      endpoint: asked.endpoint,
      inputFileId: file.id,
      dataClass: classOf(classOf(tenant.class, file.dataClass), claimedClass),
      metadata: asked.metadata === null ? null : JSON.stringify(asked.metadata),
      outputLastsS: asked.outputLastsS,
      createdAt,
      expiresAt: new Date(createdAt.getTime() + WINDOW_MS)
    }, perTenant)
    if (!isIn) throw new GatewayError('too_many_batches', `${perTenant} batches of the tenant ${tenant.name} have not ended (batches.perTenant).`)
    this.#parts.onChange()
    return this.find(tenant.name, id)
  }

  /** @throws GatewayError `batch_not_found` */
  async find (tenant: string, id: string): Promise<BatchRow> {
    return found(await this.#parts.store.find(tenant, id), id)
  }

  /** Latest first. */
  list (tenant: string, page: Page): Promise<readonly BatchRow[]> { return this.#parts.store.list(tenant, page) }

  /** What is under way is still answered. @throws GatewayError `batch_not_found`, `batch_not_cancellable` */
  async cancel (tenant: string, id: string): Promise<BatchRow> {
    const batch = found(await this.#parts.store.cancel(tenant, id, new Date()), id)
    if (batch.status !== 'cancelling') throw new GatewayError('batch_not_cancellable', `Cannot cancel a batch with status '${batch.status}'.`, { param: 'batch_id' })
    this.#parts.onChange()
    return batch
  }
}

/** Ids are repeated only where they look like ids. */
function found (batch: BatchRow | null, id: string): BatchRow {
  if (batch !== null) return batch
  throw new GatewayError('batch_not_found', `This tenant has no batch${/^[\w.-]{1,64}$/.test(id) ? ` ${id}` : ' of this id'}.`, { param: 'batch_id' })
}
