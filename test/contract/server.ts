/** The server that is asked: any that speaks OpenAI's API over HTTP. Nothing of this project is known here. */

/** JSON of whatever shape. */
export type Json = ReturnType<typeof JSON.parse>

export interface Target {
  /** As SDKs are given it: with /v1. */
  readonly baseUrl: string
  readonly key: string
  readonly model: string
  readonly embeddingModel: string
  readonly timeoutMs: number
}

export interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** @throws Fault when the body is no JSON */
  json (): Json
}

export interface Event { readonly name: string | null, readonly data: string }

export interface Streamed extends Reply {
  readonly events: readonly Event[]
  /** The data of every event but `[DONE]`. */
  datas (): Json[]
}

/** The server does something else than the contract says. */
export class Fault extends Error {}
/** The server says itself that it does not do this. */
export class NotServed extends Error {}

export function expect (holds: boolean, found: string): asserts holds {
  if (!holds) throw new Fault(found)
}

/** What was found, short enough for a line, and never more than the server itself has said. */
export const show = (value: unknown): string => {
  const text = typeof value === 'string' ? value : JSON.stringify(value) ?? 'undefined'
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}

interface Options { readonly headers?: Readonly<Record<string, string>>, readonly method?: string, readonly raw?: string, readonly key?: string | null }

export class Server {
  readonly target: Target

  constructor (target: Target) {
    this.target = { ...target, baseUrl: target.baseUrl.replace(/\/+$/, '') }
  }

  get (path: string, options: Options = {}): Promise<Reply> {
    return this.#ask(path, undefined, { method: 'GET', ...options })
  }

  /** POST of JSON; whatever comes back. */
  post (path: string, body: unknown, options: Options = {}): Promise<Reply> {
    return this.#ask(path, body, options)
  }

  /**
   * POST of JSON that has to be answered with 200.
   * @throws NotServed when there is no such route, or the server refuses a parameter as unsupported, by name
   */
  async ok (path: string, body: unknown, options: Options = {}): Promise<Json> {
    return served(await this.#ask(path, body, options)).json()
  }

  /** The same, as server-sent events. */
  async stream (path: string, body: Json, options: Options = {}): Promise<Streamed> {
    const reply = served(await this.#ask(path, { ...body, stream: true }, options))
    const events = eventsOf(reply.text)
    return { ...reply, events, datas: () => events.filter(({ data }) => data !== '[DONE]').map(({ data }) => parse(data)) }
  }

  async #ask (path: string, body: unknown, { headers = {}, method = 'POST', raw, key = this.target.key }: Options): Promise<Reply> {
    const sent = raw ?? (body === undefined ? undefined : JSON.stringify(body))
    const response = await fetch(this.target.baseUrl + path, {
      method,
      headers: { ...key === null ? {} : { authorization: `Bearer ${key}` }, ...sent === undefined ? {} : { 'content-type': 'application/json' }, ...headers },
      ...sent === undefined ? {} : { body: sent },
      signal: AbortSignal.timeout(this.target.timeoutMs)
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: () => parse(text) }
  }
}

/** Codes with which a server says that it knows what is asked, and does not do it. */
const REFUSALS = new Set(['unsupported_value', 'unsupported_parameter', 'unsupported_model', 'not_supported_error'])

function served (reply: Reply): Reply {
  if (reply.status === 200) return reply
  const error = errorIn(reply.text)
  const says = `${reply.status} ${show(error?.message ?? reply.text)}`
  const isMissingRoute = (reply.status === 404 && error?.code !== 'model_not_found') || reply.status === 405 || reply.status === 501
  if (isMissingRoute || REFUSALS.has(error?.code) || REFUSALS.has(error?.type)) throw new NotServed(says)
  throw new Fault(says)
}

function errorIn (text: string): Json {
  try {
    return JSON.parse(text)?.error
  } catch {
    return undefined
  }
}

function parse (text: string): Json {
  try {
    return JSON.parse(text)
  } catch {
    throw new Fault(`no JSON: ${show(text)}`)
  }
}

function eventsOf (text: string): Event[] {
  return text.split(/\r?\n\r?\n/).map(block => block.split(/\r?\n/).filter(line => line !== '' && !line.startsWith(':'))).filter(lines => lines.length > 0).map(lines => {
    const field = (name: string) => lines.filter(line => line.startsWith(`${name}:`)).map(line => line.slice(name.length + 1).replace(/^ /, ''))
    return { name: field('event')[0] ?? null, data: field('data').join('\n') }
  })
}
