/** A provider that says what it was told, and counts how often it was told each thing. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { Test } from 'tap'

export interface Echo {
  readonly url: string
  /** What it was asked, in the order in which it came. */
  readonly asked: string[]
  /** Most requests that were under way together. */
  most: number
  delayMs: number
  /** Gives the status with which a text is refused; 0 where it is answered. */
  refuse: (text: string) => number
}

type Body = { readonly model: string, readonly messages?: { content: string }[], readonly input?: string, readonly prompt?: string }

export async function startEcho (t: Test): Promise<Echo> {
  let running = 0
  const server = createServer(async (request, response) => {
    echo.most = Math.max(echo.most, ++running)
    response.on('close', () => { running-- })
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const body = JSON.parse(Buffer.concat(parts).toString()) as Body
    const text = body.messages?.at(-1)?.content ?? body.input ?? body.prompt ?? ''
    echo.asked.push(text)
    if (echo.delayMs > 0) await wait(echo.delayMs)
    const status = echo.refuse(text)
    if (status === 0) send(response, 200, answerTo(body, text))
    else send(response, status, { error: { message: 'No.', type: 'server_error', code: null, param: null } })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const echo: Echo = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, asked: [], most: 0, delayMs: 0, refuse: () => 0 }
  return echo
}

function answerTo ({ model, messages, input }: Body, text: string): object {
  const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, prompt_tokens_details: { cached_tokens: 1 } }
  const head = { id: 'x', created: 1_790_000_000, model, usage }
  if (input !== undefined) return { object: 'list', model, data: [{ object: 'embedding', index: 0, embedding: [0.5, text.length] }], usage: { prompt_tokens: 3, total_tokens: 3 } }
  if (messages === undefined) return { ...head, object: 'text_completion', choices: [{ index: 0, text: `echo ${text}`, logprobs: null, finish_reason: 'stop' }] }
  return { ...head, object: 'chat.completion', choices: [{ index: 0, message: { role: 'assistant', content: `echo ${text}`, refusal: null }, logprobs: null, finish_reason: 'stop' }] }
}

function send (response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
