import { ascii } from './decision.ts'

const MOST_WARNINGS = 8

/** What was left out of a request, in one line; null where nothing was. */
export function warningOf (warnings: readonly string[]): string | null {
  if (warnings.length === 0) return null
  const more = warnings.length - MOST_WARNINGS
  return ascii([...warnings.slice(0, MOST_WARNINGS), ...more > 0 ? [`and ${more} more`] : []].join('; '))
}

export function warningHeaders (warnings: readonly string[]): Readonly<Record<string, string>> {
  const warning = warningOf(warnings)
  return warning === null ? {} : { 'x-torchgate-warning': warning }
}

/** Beside those of the dialect. */
export function withWarnings (headers: Record<string, string>, warnings: readonly string[]): Record<string, string> {
  const { 'x-torchgate-warning': before, ...others } = headers
  return { ...others, ...warningHeaders(before === undefined ? warnings : [before, ...warnings]) }
}
