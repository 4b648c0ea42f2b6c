/** What answers with audio and images say of their usage. Source: `openai` package, resources/audio and /images, read 2026-11-22. */
import type { TokenUsage } from './chat.ts'
import { isObject, type Members } from './check.ts'
import { isCount, usageOfChunk } from './observe.ts'

/** Tokens of an answer, or of an event; null when it is none, or counts something else. */
export function usageOfMedia (value: unknown): TokenUsage | null {
  const usage = usageIn(value)
  if (usage === null) return null
  const { input_tokens: input, output_tokens: output } = usage
  if (!isCount(input) || !isCount(output)) return usageOfChunk(value)
  const details = usage['input_tokens_details'] ?? usage['input_token_details']
  const cached = isObject(details) ? details['cached_tokens'] : 0
  return { input, output, cachedInput: isCount(cached) ? Math.min(input, cached) : 0, reasoning: 0 }
}

/** Longer is a mistake: a year. */
const MOST_SECONDS = 31_536_000

/** Seconds of audio, where they are what is charged for. */
export function audioSecondsOf (value: unknown): number | null {
  const usage = usageIn(value)
  const seconds = usage?.['type'] === 'duration' ? usage['seconds'] : null
  return typeof seconds === 'number' && seconds >= 0 && seconds <= MOST_SECONDS ? seconds : null
}

function usageIn (value: unknown): Members | null {
  const usage = isObject(value) ? value['usage'] : null
  return isObject(usage) ? usage : null
}

const KEY = Buffer.from('"usage"')
/** No usage is longer. */
const MOST_BYTES = 4096

/**
 * Finds the last usage in events that pass, however they are cut and however long they are. Inside of JSON text every quote is
 * escaped, so a transcript cannot be taken for one.
 */
export class UsageTap {
  #rest = Buffer.alloc(0)
  /** As `{ usage }`; null while there is none. */
  found: Members | null = null

  push (bytes: Buffer): void {
    const seen = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    let keep = Math.max(0, seen.length - KEY.length + 1)
    for (let at = seen.indexOf(KEY); at !== -1; at = seen.indexOf(KEY, at + KEY.length)) {
      const usage = objectAt(seen.toString('latin1', at + KEY.length, at + MOST_BYTES))
      if (isObject(usage)) this.found = { usage }
      if (usage === undefined && seen.length - at < MOST_BYTES) {
        keep = Math.min(keep, at)
        break
      }
    }
    this.#rest = Buffer.from(seen.subarray(keep))
  }
}

/** The object behind `: `; null where there is none, undefined where it has not come to its end. */
function objectAt (text: string): unknown {
  const start = /^\s*:\s*(?=\{)/.exec(text)
  if (start === null) return /^\s*:?\s*$/.test(text) ? undefined : null
  let depth = 0
  for (let at = start[0].length; at < text.length; at++) {
    if (text[at] === '{') depth++
    if (text[at] === '}' && --depth === 0) return parsed(text.slice(start[0].length, at + 1))
  }
  return undefined
}

function parsed (text: string): unknown {
  try { return JSON.parse(text) } catch { return null }
}
