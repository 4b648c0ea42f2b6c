/** A provider that answers what a test says, by what it is asked; and a WebSocket that says requests and gathers events. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Test } from 'tap'
import { WebSocket } from 'ws'

/** JSON of whatever shape. */
export type Members = Record<string, ReturnType<typeof JSON.parse>>

export interface Script {
  readonly url: string
  readonly asked: { path: string, body: Members }[]
}

export async function startScript (t: Test, answer: (body: Members, response: ServerResponse, path: string) => void): Promise<Script> {
  const asked: Script['asked'] = []
  const sockets = new Set<Socket>()
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const body = JSON.parse(Buffer.concat(parts).toString()) as Members
    asked.push({ path: request.url!, body })
    answer(body, response, request.url!)
  })
  server.on('connection', socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, asked }
}

export const events = (response: ServerResponse, datas: readonly unknown[], end = 'data: [DONE]\n\n') => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.end(datas.map(data => `data: ${JSON.stringify(data)}\n\n`).join('') + end)
}

const HEAD = { id: 'chatcmpl-1', created: 1_790_000_000, model: 'm' }
const USAGE = { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10, prompt_tokens_details: { cached_tokens: 2 }, completion_tokens_details: { reasoning_tokens: 1 } }

/** One chat completion, whole or as a stream, as the request wants it. */
export function complete (body: Members, response: ServerResponse, message: Members, finish = 'stop'): void {
  if (body['stream'] !== true) {
    const choice = { index: 0, message: { role: 'assistant', content: null, ...message }, logprobs: null, finish_reason: finish }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ ...HEAD, object: 'chat.completion', choices: [choice], usage: USAGE }))
    return
  }
  const chunk = (delta: Members, finishReason: string | null = null) => ({ ...HEAD, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finishReason }], usage: null })
  const { tool_calls: calls, ...texts } = message
  const deltas = Object.entries(texts).flatMap(([name, text]) => (text as string).split(/(?<= )/).map(piece => chunk({ [name]: piece })))
  const called = (calls ?? []).map((call: Members, index: number) => chunk({ tool_calls: [{ index, ...call }] }))
  events(response, [chunk({ role: 'assistant', content: '' }), ...deltas, ...called, chunk({}, finish), { ...HEAD, object: 'chat.completion.chunk', choices: [], usage: USAGE }])
}

/** What came back for one request said on a WebSocket, up to and with the event that ends it. */
export interface Turn { readonly events: Members[], readonly last: Members }

export interface Conversation {
  readonly socket: WebSocket
  say (message: unknown): Promise<Turn>
  closed (): Promise<{ code: number, why: string }>
}

const ENDS = /^(?:error|response\.(?:completed|incomplete|failed))$/

export async function converse (t: Test, url: string, key: string, headers: Record<string, string> = {}): Promise<Conversation> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/responses`, { headers: { authorization: `Bearer ${key}`, ...headers } })
  t.teardown(() => { socket.terminate() })
  const closed = new Promise<{ code: number, why: string }>(resolve => { socket.once('close', (code, why) => { resolve({ code, why: why.toString() }) }) })
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
    socket.once('unexpected-response', (_request, response) => {
      const parts: Buffer[] = []
      response.on('data', part => parts.push(part))
      response.on('end', () => { reject(Object.assign(new Error(Buffer.concat(parts).toString()), { status: response.statusCode })) })
    })
  })
  return {
    socket,
    closed: () => closed,
    say: message => new Promise((resolve, reject) => {
      const gathered: Members[] = []
      const left = () => { reject(new Error('closed')) }
      const take = (data: unknown) => {
        const event = JSON.parse(String(data)) as Members
        gathered.push(event)
        if (!ENDS.test(event['type'])) return
        socket.off('message', take)
        socket.off('close', left)
        resolve({ events: gathered, last: event })
      }
      socket.on('message', take)
      socket.once('close', left)
      socket.send(typeof message === 'string' ? message : JSON.stringify(message))
    })
  }
}
