import type { Call } from '../pipeline/call.ts'

/** What was decided and tried, on answers and on errors alike: `x-torchgate-target`, `-why` and `-attempts`. */
export function decisionHeaders ({ why, target, record }: Call): Record<string, string> {
  if (why === null) return {}
  return {
    'x-torchgate-why': ascii(why),
    'x-torchgate-attempts': String(record.attempts.length),
    ...(target !== null && { 'x-torchgate-target': ascii(target.target) })
  }
}

/** A wildcard target carries the caller's own text; a header has room for plain ASCII only. */
export function ascii (text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}
