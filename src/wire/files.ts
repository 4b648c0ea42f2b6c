/** The fields beside an uploaded file. Source: OpenAI API reference, "Upload file"; `openai` package, resources/files; read 2026-11-22. */
import { integer, invalidValue, oneOf, shape, toError } from './check.ts'

const PURPOSES = ['assistants', 'batch', 'evals', 'fine-tune', 'user_data', 'vision']
/** Of `expires_after.seconds`, as OpenAI takes them. */
const LEAST_S = 3600
const MOST_S = 2_592_000

const SECONDS = 'expires_after[seconds]'
const ANCHOR = 'expires_after[anchor]'

export interface FileFields {
  readonly purpose: string
  /** How long it is kept; null for as long as usual. */
  readonly lastsS: number | null
}

/**
 * @param retentionS how long anything is kept at most
 * @throws GatewayError that names the field
 */
export function readFileFields (fields: Readonly<Record<string, string>>, retentionS: number): FileFields {
  const request = shape({ purpose: oneOf(...PURPOSES), expires_after: lasting(retentionS) }, 'purpose')
  const { [ANCHOR]: anchor, [SECONDS]: seconds, ...others } = fields
  const after = { ...anchor !== undefined && { anchor }, ...seconds !== undefined && { seconds: Number(seconds) } }
  for (const name of Object.keys(others)) {
    if (name !== 'purpose') throw toError({ code: 'unsupported_parameter', path: /^[\w.[\]-]{1,64}$/.test(name) ? name : '?', says: path => `Unsupported parameter: '${path}'.` })
  }
  const body = { ...others, ...Object.keys(after).length > 0 && { expires_after: after } }
  const fault = request(body)
  if (fault !== null) throw toError(fault)
  return { purpose: fields['purpose']!, lastsS: after.seconds ?? null }
}

/** `expires_after` of a file, or of the files that a batch makes. Longer than files are kept is refused, not cut short. */
export function lasting (retentionS: number) {
  const allowed = integer(LEAST_S, MOST_S)
  return shape({
    anchor: oneOf('created_at'),
    seconds: value => allowed(value) ?? (value as number > retentionS ? invalidValue(`files are kept for ${retentionS} seconds at most here.`) : null)
  }, 'anchor', 'seconds')
}
