/** What of a chat request has no counterpart in another dialect, and is refused rather than lost. */
import { GatewayError } from '../errors.ts'
import type { Members } from './check.ts'

/** Another target may take it, so the call falls back where it can. */
export function unsupported (param: string, why: string): GatewayError {
  return new GatewayError('unsupported_value', `${param}: ${why}`, { param })
}

export interface Vocabulary {
  /** For messages: `the Gemini API`. */
  readonly api: string
  readonly translated: ReadonlySet<string>
  /** Values of other members that ask for nothing. */
  readonly harmless: Readonly<Record<string, (value: unknown) => boolean>>
}

/** @throws GatewayError `unsupported_value` naming the first member that cannot be honoured */
export function refuseUntranslatable (request: Members, { api, translated, harmless }: Vocabulary): void {
  for (const name in request) {
    const value = request[name]
    if (translated.has(name) || value === undefined || value === null) continue
    if (Object.hasOwn(harmless, name) && harmless[name]!(value)) continue
    // An unknown member is named by the caller, and might be anything.
    throw unsupported(/^[\w.-]{1,64}$/.test(name) ? name : '?', `${api} has nothing like it. Leave it out, or call another model.`)
  }
}
