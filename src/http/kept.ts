/** Responses kept for callers, where the policy of their tenant allows it. */
import type { DataClass, TenantConfig } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import type { ResponseRow, ResponseStore } from '../store/store.ts'
import { responseOfItem } from '../wire/responses/ids.ts'
import type { ResponseRequest } from '../wire/responses/request.ts'

type Members = Record<string, unknown>

export interface KeepingParts {
  readonly store: ResponseStore
  readonly retentionHours: number
  readonly perTenant: number
  /** Most characters of all the items a response goes on from. */
  readonly mostCharacters: number
  readonly onError: (error: unknown) => void
}

/** What was said before, oldest first, and how secret it is. */
export interface Earlier { readonly items: readonly Members[], readonly dataClass: string }

export interface Finished {
  readonly tenant: string
  readonly previousId: string | null
  readonly dataClass: DataClass
  readonly items: readonly Members[]
  readonly response: Members
}

/** Responses that one may go on from, one after another. */
const MOST_LINKS = 1000
const SWEEP_MS = 60_000
/** Deleted in one go; what is left waits for the next. */
const MOST_SWEPT = 1000

export class KeptResponses {
  readonly #parts: KeepingParts
  readonly #timer: NodeJS.Timeout

  constructor (parts: KeepingParts) {
    this.#parts = parts
    this.#timer = setInterval(() => { this.#sweep() }, SWEEP_MS).unref()
    this.#sweep()
  }

  close (): void { clearInterval(this.#timer) }

  /** The caller is told of a response before it is known to be on disk: one that could not be written is not found later. */
  keep ({ tenant, previousId, dataClass, items, response }: Finished): void {
    const { store, retentionHours, perTenant, onError } = this.#parts
    const createdAt = new Date()
    const row: ResponseRow = {
      id: response['id'] as string,
      tenant,
      createdAt,
      expiresAt: new Date(createdAt.getTime() + retentionHours * 3_600_000),
      previousId,
      dataClass,
      input: JSON.stringify(items),
      response: JSON.stringify(response)
    }
    store.insert(row, perTenant).catch(onError)
  }

  /** @throws GatewayError `response_not_found` */
  async find (tenant: string, id: string): Promise<ResponseRow> {
    const row = await this.#parts.store.find(tenant, id, new Date())
    if (row === null) throw new GatewayError('response_not_found', `No response${named(id)} is kept for this tenant.`, { param: 'response_id' })
    return row
  }

  /** @throws GatewayError `response_not_found` */
  async delete (tenant: string, id: string): Promise<void> {
    await this.find(tenant, id)
    await this.#parts.store.delete(tenant, id)
  }

  /**
   * Everything up to and with the answer of a response.
   * @throws GatewayError `previous_response_not_found` when it is gone, or one that it goes on from; `invalid_value` when it is too much
   */
  async earlier (tenant: string, id: string | null): Promise<Earlier | null> {
    if (id === null) return null
    const rows = await this.#chain(tenant, id)
    const items = rows.toReversed().flatMap(allOf)
    // A response is at least as secret as the one it goes on from, so the last tells for all.
    return { items, dataClass: rows[0]!.dataClass }
  }

  /** What the model was given for a response, oldest first. */
  async input (tenant: string, id: string): Promise<readonly Members[]> {
    const row = await this.find(tenant, id)
    const earlier = await this.earlier(tenant, row.previousId)
    return [...earlier?.items ?? [], ...itemsOf(row)]
  }

  /**
   * Finds single items, reading each response once.
   * @returns null for an item that is not kept; throws GatewayError `invalid_value` when it is too much
   */
  lookup (tenant: string): (id: string) => Promise<{ item: Members, dataClass: string } | null> {
    const read = new Map<string, { items: ReadonlyMap<unknown, Members>, dataClass: string } | null>()
    let characters = 0
    return async id => {
      const response = responseOfItem(id)
      if (response === null) return null
      let found = read.get(response)
      if (found === undefined) {
        const row = await this.#parts.store.find(tenant, response, new Date())
        characters += row === null ? 0 : row.input.length + row.response.length
        if (read.size >= MOST_LINKS || characters > this.#parts.mostCharacters) throw tooMuch('input')
        found = row === null ? null : { items: new Map(allOf(row).map(item => [item['id'], item])), dataClass: row.dataClass }
        read.set(response, found)
      }
      const item = found?.items.get(id)
      return found === null || item === undefined ? null : { item, dataClass: found.dataClass }
    }
  }

  /** Latest first. */
  async #chain (tenant: string, id: string): Promise<ResponseRow[]> {
    const rows: ResponseRow[] = []
    let characters = 0
    for (let at: string | null = id; at !== null;) {
      const row: ResponseRow | null = await this.#parts.store.find(tenant, at, new Date())
      if (row === null) throw gone(at, at === id)
      characters += row.input.length + row.response.length
      if (rows.push(row) > MOST_LINKS || characters > this.#parts.mostCharacters) throw tooMuch('previous_response_id')
      at = row.previousId
    }
    return rows
  }

  #sweep (): void { this.#parts.store.sweep(new Date(), MOST_SWEPT).catch(this.#parts.onError) }
}

/**
 * Left open by the caller, the tenant's policy says it.
 * @throws GatewayError where it is asked for and not allowed
 */
export function isStored ({ store }: ResponseRequest, { storeResponses = false }: TenantConfig): boolean {
  if (store === true && !storeResponses) {
    throw new GatewayError('unsupported_value', "Unsupported value: 'store' must be false; this tenant's responses are not kept (tenants[].storeResponses).", { param: 'store' })
  }
  return store ?? storeResponses
}

function itemsOf (row: ResponseRow): Members[] { return JSON.parse(row.input) as Members[] }

/** What went in and what came out. */
function allOf (row: ResponseRow): Members[] { return [...itemsOf(row), ...(JSON.parse(row.response) as { output: Members[] }).output] }

/** Ids are repeated only where they look like ids. */
function named (id: string): string { return /^[\w.-]{1,64}$/.test(id) ? ` ${id}` : '' }

function gone (id: string, isFirst: boolean): GatewayError {
  const what = isFirst ? `Previous response${named(id)}` : `Response${named(id)}, which the previous response goes on from,`
  return new GatewayError('previous_response_not_found', `${what} is not kept for this tenant; send the items in input.`, { param: 'previous_response_id' })
}

function tooMuch (param: string): GatewayError {
  return new GatewayError('invalid_value', `Invalid value for '${param}': it goes on from more than can be sent in one request; send the items in input.`, { param })
}
