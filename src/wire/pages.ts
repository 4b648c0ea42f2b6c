/** Lists in pages, as OpenAI's are. Source: `openai` package, `CursorPage`, read 2026-11-22. */
import { integer, oneOf, text, toError, within, type Check } from './check.ts'

export interface PageQuery { readonly after: string | null, readonly most: number, readonly ascending: boolean, readonly purpose: string | null }

const CHECKS: Readonly<Record<string, Check>> = { after: text({ least: 1, most: 512 }), order: oneOf('asc', 'desc'), purpose: text({ least: 1, most: 64 }) }

/**
 * What a list is asked for: latest first unless `order` says otherwise.
 * @param query as it came with the address
 * @param limits of `limit`, and what it is when nothing is said
 * @throws GatewayError naming the parameter
 */
export function readPage (query: Readonly<Record<string, unknown>>, limits: { readonly most: number, readonly usual: number }): PageQuery {
  const most = query['limit'] === undefined ? limits.usual : Number(query['limit'])
  const faults = Object.entries({ limit: integer(1, limits.most)(most), ...faultsOf(query) })
  for (const [name, fault] of faults) if (fault !== null) throw toError(within(name, fault))
  const given = query as Readonly<Record<string, string>>
  return { after: given['after'] ?? null, most, ascending: given['order'] === 'asc', purpose: given['purpose'] ?? null }
}

function faultsOf (query: Readonly<Record<string, unknown>>) {
  return Object.fromEntries(Object.entries(CHECKS).map(([name, check]) => [name, query[name] === undefined ? null : check(query[name])]))
}

/** @param rows one more than a page where there are more */
export function pageOf<T extends { readonly id: string }> (rows: readonly T[], most: number): object {
  const data = rows.slice(0, most)
  return { object: 'list', data, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null, has_more: rows.length > most }
}
