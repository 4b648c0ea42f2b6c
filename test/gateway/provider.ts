/** A provider to be talked to over real sockets, and told how to behave. It counts every byte that reaches it. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { Test } from 'tap'

export interface Provider {
  readonly url: string
  /** Connections and bytes that reached it. */
  readonly seen: { connections: number, bytes: number, requests: { headers: IncomingMessage['headers'], body: Record<string, unknown> }[] }
  behave: Behaviour
  /** Refuses new connections and drops the open ones, as a crash does. */
  kill (): void
}

export type Behaviour =
  | { readonly do: 'answer', readonly words?: readonly string[], readonly gapMs?: number }
  | { readonly do: 'status', readonly status: number, readonly body?: unknown, readonly headers?: Readonly<Record<string, string>> }
  | { readonly do: 'hang' }
  /** Answers after a while. */
  | { readonly do: 'slow', readonly ms: number }
  /** Sends that many words, then drops the connection. */
  | { readonly do: 'break', readonly after: number }

export async function startProvider (t: Test): Promise<Provider> {
  const sockets = new Set<Socket>()
  const server = createServer((request, response) => { void answer(provider, request, response) })
  server.on('connection', socket => {
    provider.seen.connections++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('data', bytes => { provider.seen.bytes += bytes.length })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const provider: Provider = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    seen: { connections: 0, bytes: 0, requests: [] },
    behave: { do: 'answer' },
    kill () {
      server.close()
      for (const socket of sockets) socket.destroy()
    }
  }
  t.teardown(() => provider.kill())
  return provider
}

async function answer (provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<void> {
  response.on('error', () => {})
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  const body = JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>
  provider.seen.requests.push({ headers: request.headers, body })
  const { behave } = provider
  if (behave.do === 'hang') return
  if (behave.do === 'status') {
    const refusal = behave.body ?? { error: { message: 'No.', type: 'server_error', code: null, param: null } }
    response.writeHead(behave.status, { 'content-type': 'application/json', ...behave.headers }).end(JSON.stringify(refusal))
    return
  }
  if (behave.do === 'slow') await wait(behave.ms)
  const words = behave.do === 'answer' || behave.do === 'slow' ? (behave.do === 'answer' ? behave.words : undefined) ?? ['from ', 'the ', 'cloud'] : Array.from({ length: behave.after + 1 }, () => 'word ')
  if (body['stream'] === true) await stream(response, words, behave)
  else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(completion(words.join(''))))
}

async function stream (response: ServerResponse, words: readonly string[], behave: Behaviour): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const send = (choices: unknown[], usage: unknown = null) => response.write(`data: ${JSON.stringify({ ...HEAD, object: 'chat.completion.chunk', choices, usage })}\n\n`)
  send([{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }])
  for (const [index, content] of words.entries()) {
    if (response.destroyed) return
    if (behave.do === 'break' && index === behave.after) {
      // What was written before has to arrive, or nothing was sent at all.
      if (behave.after > 0) await wait(50)
      response.destroy()
      return
    }
    send([{ index: 0, delta: { content }, finish_reason: null }])
    if (behave.do === 'answer' && behave.gapMs !== undefined) await wait(behave.gapMs)
  }
  send([{ index: 0, delta: {}, finish_reason: 'stop' }])
  send([], usageOf(words.length))
  response.end('data: [DONE]\n\n')
}

const HEAD = { id: 'chatcmpl-provider', created: 1_790_000_000, model: 'provider-model' }
const usageOf = (output: number) => ({ prompt_tokens: 7, completion_tokens: output, total_tokens: 7 + output })

function completion (content: string) {
  return {
    ...HEAD,
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content, refusal: null }, logprobs: null, finish_reason: 'stop' }],
    usage: usageOf(3)
  }
}
