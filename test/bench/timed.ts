/** Streamed chats of any OpenAI-compatible server, timed by their caller. */
import { request, type Dispatcher } from 'undici'

export interface Server {
  readonly name: string
  /** Up to and with `/v1`. */
  readonly url: string
  readonly key: string | null
  readonly model: string
}

export interface Chat { readonly messages: readonly { readonly role: string, readonly content: string }[], readonly tokens: number }

/** `firstMs`: to the first word. */
export interface Timed { readonly firstMs: number, readonly tokens: number, readonly cached: number }

interface Chunk { choices?: { delta?: { content?: string | null, reasoning_content?: string | null } }[], usage?: { completion_tokens?: number, prompt_tokens_details?: { cached_tokens?: number } | null } | null, error?: { message?: string } }

/** @throws Error when the server refuses, breaks off or says nothing */
export async function timed ({ name, url, key, model }: Server, { messages, tokens }: Chat, dispatcher: Dispatcher): Promise<Timed> {
  const body = JSON.stringify({ model, messages, temperature: 0, max_tokens: tokens, stream: true, stream_options: { include_usage: true } })
  const sentMs = performance.now()
  const headers = { 'content-type': 'application/json', ...key !== null && { authorization: `Bearer ${key}` } }
  const answer = await request(`${url}/chat/completions`, { method: 'POST', headers, body, dispatcher })
  if (answer.statusCode !== 200) throw new Error(`${name} answered ${answer.statusCode}: ${(await answer.body.text()).slice(0, 300)}`)
  let firstMs: number | null = null
  let events = 0
  let [counted, cached] = [0, 0]
  let rest = ''
  for await (const bytes of answer.body) {
    const lines = (rest + String(bytes)).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (!line.startsWith('data: ') || line === 'data: [DONE]') continue
      const { choices, usage, error } = JSON.parse(line.slice('data: '.length)) as Chunk
      if (error !== undefined) throw new Error(`${name} broke off: ${error.message}`)
      const delta = choices?.[0]?.delta
      if (delta?.content || delta?.reasoning_content) {
        firstMs ??= performance.now() - sentMs
        events++
      }
      counted = usage?.completion_tokens ?? counted
      cached = usage?.prompt_tokens_details?.cached_tokens ?? cached
    }
  }
  if (firstMs === null) throw new Error(`${name} said nothing.`)
  return { firstMs, tokens: counted === 0 ? events : counted, cached }
}

export interface Cell { readonly tokensPerS: number, readonly firstMs: readonly number[], readonly cached: number }

/** So many chats, `atOnce` of them at any time. */
export async function cell (server: Server, chats: readonly Chat[], atOnce: number, dispatcher: Dispatcher): Promise<Cell> {
  const found: Timed[] = []
  const toGo = chats.values()
  const startedMs = performance.now()
  // One source, so that each takes the next as soon as it is free.
  await Promise.all(Array.from({ length: atOnce }, async () => { for (const chat of toGo) found.push(await timed(server, chat, dispatcher)) }))
  const tookS = (performance.now() - startedMs) / 1000
  const sum = (of: (each: Timed) => number) => found.reduce((all, each) => all + of(each), 0)
  return { tokensPerS: sum(({ tokens }) => tokens) / tookS, firstMs: found.map(({ firstMs }) => firstMs), cached: sum(({ cached }) => cached) }
}
