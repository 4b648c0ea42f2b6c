/** `keep_alive`: how long a model stays in memory after a call. Source: Ollama API reference, "Parameters", read 2026-11-22. */

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const LONGEST_MS = 7 * 24 * 3_600_000
const PARTS = /(\d+(?:\.\d+)?)(ms|s|m|h)/g

/**
 * A number of seconds, or a text such as `5m`, `1h30m` or `90`; below 0 for ever.
 * @returns milliseconds, Infinity for ever, null when the value says nothing of that or more than a week
 */
export function keepAliveMs (value: unknown): number | null {
  const ms = typeof value === 'number' ? value * 1000 : typeof value === 'string' ? msOf(value) : null
  if (ms === null || !Number.isFinite(ms) || ms > LONGEST_MS) return null
  return ms < 0 ? Infinity : Math.round(ms)
}

function msOf (text: string): number | null {
  if (text.length > 32) return null
  const [, sign = '', rest = ''] = /^(-?)(.+)$/.exec(text) ?? []
  const factor = sign === '-' ? -1 : 1
  if (/^\d+(\.\d+)?$/.test(rest)) return factor * Number(rest) * 1000
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/.test(rest)) return null
  return factor * [...rest.matchAll(PARTS)].reduce((sum, [, number, unit]) => sum + Number(number) * UNITS[unit!]!, 0)
}
