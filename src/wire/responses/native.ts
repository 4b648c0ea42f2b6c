/** Responses as a backend speaks them itself: what goes there, and what is looked at in what comes back. */
import { GatewayError } from '../../errors.ts'
import type { TokenUsage } from '../chat.ts'
import { isObject, type Members } from '../check.ts'
import { isCount } from '../observe.ts'
import { failureOf } from './answer.ts'

/** What a backend is asked that speaks the dialect. */
export interface NativeAsk { readonly model: string, readonly stream: boolean, readonly body: Members }

/** Longest event: the last one holds the whole answer. */
const MOST_BYTES = 67_108_864
/** Of a blank line all but its last byte. */
const TAIL_BYTES = '\r\n\r'.length

/** Hosted tools of which a backend reads what belongs to the operator's account there. */
const OF_THE_ACCOUNT: ReadonlySet<unknown> = new Set(['file_search'])
/** Tools that only say what the model may call; whoever sent them runs them. */
const OF_THE_CALLER: ReadonlySet<unknown> = new Set(['function', 'custom', 'namespace', 'local_shell', 'apply_patch', 'computer', 'computer_use', 'computer_use_preview'])

/** Left out of a request, and why. */
interface Within<T> { readonly kept: T, readonly warnings: string[] }

/**
 * A request with the tools that may go to a backend, wherever they stand in it: among the tools, within a namespace, or in an item that
 * brings more. A backend runs hosted ones itself and may tell the world, so they go only with a call that may go anywhere.
 */
export function bodyWithin (body: Members, mayGoAnywhere: boolean): { body: Members, warnings: string[] } {
  const { tools, input } = body
  const warnings: string[] = []
  const own = { ...body }
  if (Array.isArray(tools)) own['tools'] = taken(toolsWithin(tools, mayGoAnywhere, 'tools'), warnings)
  if (Array.isArray(input) && input.some(bringsTools)) own['input'] = input.map((item: Members, index) => bringsTools(item) ? taken(nested(item, mayGoAnywhere, `input[${index}]`), warnings) : item)
  return { body: own, warnings }
}

function taken<T> ({ kept, warnings }: Within<T>, all: string[]): T {
  all.push(...warnings)
  return kept
}

/** What a server of tools listed is no declaration. */
function bringsTools (item: unknown): boolean { return isObject(item) && Array.isArray(item['tools']) && item['type'] !== 'mcp_list_tools' }

function nested (holder: Members, mayGoAnywhere: boolean, path: string): Within<Members> {
  const { kept, warnings } = toolsWithin(holder['tools'] as unknown[], mayGoAnywhere, `${path}.tools`)
  return { kept: { ...holder, tools: kept }, warnings }
}

function toolsWithin (tools: readonly unknown[], mayGoAnywhere: boolean, path: string): Within<Members[]> {
  const warnings: string[] = []
  const kept = tools.filter(isObject).flatMap((tool, index) => {
    const { type } = tool
    if (OF_THE_CALLER.has(type) || (mayGoAnywhere && !OF_THE_ACCOUNT.has(type))) return [bringsTools(tool) ? taken(nested(tool, mayGoAnywhere, `${path}[${index}]`), warnings) : tool]
    const why = OF_THE_ACCOUNT.has(type) ? 'is not served' : 'would leave the boundary of the call'
    warnings.push(`${path}[${index}]: ${String(type).slice(0, MOST_OF_A_TYPE)} ${why} and was left out`)
    return []
  })
  return { kept, warnings }
}

const MOST_OF_A_TYPE = 64

/** Items of earlier responses as any backend takes them: without ids it does not know, and thoughts that nobody can read. */
export function replayed (items: readonly Members[]): Members[] {
  return items.filter(item => item['type'] !== 'reasoning' || isReadable(item)).map(item => {
    const { id, ...rest } = item
    return id === undefined ? item : rest
  })
}

function isReadable ({ encrypted_content: sealed, content }: Members): boolean {
  return typeof sealed === 'string' || (Array.isArray(content) && content.length > 0)
}

export function isResponse (value: unknown): boolean {
  return isObject(value) && value['object'] === 'response' && Array.isArray(value['output'])
}

/** Of a response, or of anything that has its `usage`. */
export function usageOfResponse (value: unknown): TokenUsage | null {
  const usage = isObject(value) ? value['usage'] : null
  if (!isObject(usage)) return null
  const { input_tokens: input, output_tokens: output, input_tokens_details: read, output_tokens_details: written } = usage
  if (!isCount(input) || !isCount(output)) return null
  return { input, output, cachedInput: Math.min(input, detail(read, 'cached_tokens')), reasoning: Math.min(output, detail(written, 'reasoning_tokens')) }
}

function detail (details: unknown, name: string): number {
  const count = isObject(details) ? details[name] : 0
  return isCount(count) ? count : 0
}

/** The events in bytes that hold nothing but whole ones. */
export function eventsIn (bytes: Buffer): string[] {
  return bytes.toString('utf8').replaceAll('\r\n', '\n').split('\n\n').filter(event => event.trim() !== '')
}

/** Cuts bytes behind the last event that is whole. Work is linear in the bytes. */
export class EventBytes {
  #pieces: Buffer[] = []
  #bytes = 0
  /** The last bytes of the pieces: a blank line may have begun in them. */
  #tail: Buffer = Buffer.alloc(0)

  /**
   * @returns what is whole by now, as it came; null where nothing is
   * @throws GatewayError for an event that is too long
   */
  push (piece: Buffer): Buffer | null {
    const end = this.#endIn(piece)
    if (end === 0) {
      this.#keep(piece)
      return null
    }
    const whole = Buffer.concat([...this.#pieces, piece.subarray(0, end)])
    this.#pieces = []
    this.#bytes = 0
    this.#tail = Buffer.alloc(0)
    this.#keep(piece.subarray(end))
    return whole
  }

  #keep (piece: Buffer): void {
    if (piece.length === 0) return
    this.#pieces.push(piece)
    this.#bytes += piece.length
    this.#tail = (piece.length >= TAIL_BYTES ? piece : Buffer.concat([this.#tail, piece])).subarray(-TAIL_BYTES)
    if (this.#bytes > MOST_BYTES) throw new GatewayError('backend_invalid_answer', `The backend sent an event longer than ${MOST_BYTES} bytes.`)
  }

  /** Behind the last blank line; one that began in the piece before counts. */
  #endIn (piece: Buffer): number {
    const before = this.#tail
    const seen = before.length === 0 ? piece : Buffer.concat([before, piece])
    const [lf, crlf] = [seen.lastIndexOf('\n\n'), seen.lastIndexOf('\r\n\r\n')]
    return Math.max(0, (lf === -1 ? 0 : lf + 2) - before.length, (crlf === -1 ? 0 : crlf + 4) - before.length)
  }
}

/** The JSON of an event; null where it has none. */
export function dataOf (event: string): Members | null {
  const data = event.split('\n').filter(line => line.startsWith('data:')).map(line => line.slice('data:'.length).trim()).join('\n')
  try {
    const value: unknown = JSON.parse(data)
    return isObject(value) ? value : null
  } catch {
    return null
  }
}

/** What says so in the words of an answer that has begun elsewhere. @param begun the response as it began, if it was seen */
export function failureEvents (error: GatewayError, begun: Members | null, nextNumber: number): string {
  const { error: said } = error.toBody()
  const told = { type: 'error', sequence_number: nextNumber, code: said.code, message: said.message, param: said.param, error: said }
  const response = { ...begun, status: 'failed', error: { code: failureOf(error), message: said.message } }
  const failed = { type: 'response.failed', sequence_number: nextNumber + 1, response }
  return [told, ...begun === null ? [] : [failed]].map(event => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('')
}
