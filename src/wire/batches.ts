/** What is asked of a batch, and what a line of its input says. Source: OpenAI API reference, "Batch"; `openai` package, resources/batches; read 2026-11-22. */
import { hash } from 'node:crypto'
import { isObject, line, object, oneOf, shape, text, toError, type Fault, type Members } from './check.ts'
import { lasting } from './files.ts'
import { metadata } from './validate.ts'

export interface BatchRequest {
  readonly inputFileId: string
  readonly endpoint: string
  readonly metadata: Members | null
  /** How long the files it makes are kept; null for as long as usual. */
  readonly outputLastsS: number | null
}

/** The only one there is. */
export const WINDOW = '24h'
export const WINDOW_MS = 86_400_000

/**
 * @param endpoints that a batch may be for
 * @param retentionS how long any file is kept at most
 * @throws GatewayError that names the parameter
 */
export function readBatch (body: Members, endpoints: readonly string[], retentionS: number): BatchRequest {
  const request = shape({
    input_file_id: line({ least: 1, most: 128 }),
    endpoint: oneOf(...endpoints),
    completion_window: oneOf(WINDOW),
    metadata,
    output_expires_after: lasting(retentionS)
  }, 'input_file_id', 'endpoint', 'completion_window')
  const fault = request(body) ?? unknownIn(body)
  if (fault !== null) throw toError(fault)
  const { output_expires_after: after } = body as { output_expires_after?: { seconds: number } }
  return {
    inputFileId: body['input_file_id'] as string,
    endpoint: body['endpoint'] as string,
    metadata: (body['metadata'] ?? null) as Members | null,
    outputLastsS: after?.seconds ?? null
  }
}

const KNOWN = new Set(['input_file_id', 'endpoint', 'completion_window', 'metadata', 'output_expires_after'])

function unknownIn (body: Members): Fault | null {
  const name = Object.keys(body).find(each => !KNOWN.has(each))
  if (name === undefined) return null
  return { code: 'unsupported_parameter', path: /^[\w.-]{1,64}$/.test(name) ? name : '?', says: path => `Unsupported parameter: '${path}'.` }
}

/** One request of a batch. */
export interface BatchLine { readonly customId: string, readonly model: string, readonly body: Members }

/** In the words of `errors.data` of a batch. */
export interface LineFault { readonly code: string, readonly message: string, readonly param: string | null }

const envelope = shape({
  custom_id: line({ least: 1, most: 256 }),
  method: oneOf('POST'),
  url: text({ least: 1, most: 256 }),
  body: object
}, 'custom_id', 'method', 'url', 'body')
const named = shape({ model: line({ least: 1, most: 256 }) }, 'model')

/** @param endpoint that every line has to name */
export function readLine (members: Members, endpoint: string): BatchLine | LineFault {
  const fault = envelope(members)
  if (fault !== null) return told(fault)
  const { custom_id: customId, url, body } = members as { custom_id: string, url: string, body: Members }
  if (url !== endpoint) return { code: 'invalid_url', message: 'The URL provided for this request does not match the batch endpoint.', param: 'url' }
  const inBody = named(body)
  if (inBody !== null) return told({ ...inBody, path: `body.${inBody.path}` })
  if (body['stream'] === true) return { code: 'invalid_value', message: "Invalid value for 'body.stream': the answer of a batch is a file, so nothing is streamed.", param: 'body.stream' }
  return { customId, model: body['model'] as string, body }
}

function told (fault: Fault): LineFault {
  const { code, message, param } = toError(fault)
  return { code, message, param }
}

/** How much of a prompt decides about its place. In UTF-16 units. */
const MOST_PREFIX = 512

/**
 * Requests of one model whose prefixes are alike are best answered one after another: their model has the beginning of the prompt
 * at hand. What stands before the messages in most templates comes first.
 */
export function prefixOf (body: Members): string {
  const before = hash('sha1', JSON.stringify([body['tools'] ?? null, body['instructions'] ?? null])).slice(0, 8)
  const said = beginningOf(body['messages'] ?? body['input'] ?? body['prompt'])
  // A copy: a part of a string keeps the whole of it in memory.
  return Buffer.from(before + said).toString()
}

function beginningOf (said: unknown): string {
  if (typeof said === 'string') return said.slice(0, MOST_PREFIX)
  if (!Array.isArray(said)) return ''
  let beginning = ''
  for (const item of said) {
    if (beginning.length >= MOST_PREFIX) break
    const content: unknown = isObject(item) ? item['content'] : item
    beginning += typeof content === 'string' ? content.slice(0, MOST_PREFIX) : JSON.stringify(content ?? item).slice(0, MOST_PREFIX)
  }
  return beginning.slice(0, MOST_PREFIX)
}
