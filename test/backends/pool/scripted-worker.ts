/**
 * A worker without a model that keeps to the contract between pool and worker: the flags, the messages to its parent, the
 * HTTP face on a Unix socket. What it does is told by the path of its model and by the text of the last message.
 */
import { closeSync, existsSync, openSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

const { values: flags } = parseArgs({
  options: Object.fromEntries(['model', 'name', 'socket', 'slots', 'context-tokens', 'batch-tokens', 'threads', 'gpu', 'sha256', 'chat-template', 'thinking-tokens']
    .map(name => [name, { type: 'string' as const }]))
})
const slots = Number(flags['slots'])
let busy = 0
let steps = 0

process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit(0))

const LOADS: Record<string, () => void | Promise<void>> = {
  'good.gguf': () => {},
  'slow.gguf': () => sleep(300),
  'endless.gguf': () => new Promise(() => {}),
  'failed-but-stays.gguf': () => { process.send?.({ kind: 'failed', message: 'stuck' }); return new Promise(() => {}) },
  'abort.gguf': () => { console.error('GGML_ASSERT: bad block'); process.abort() },
  'stubborn.gguf': () => { process.on('SIGTERM', () => {}); process.removeAllListeners('disconnect') },
  'flags.gguf': () => { console.error(JSON.stringify({ flags, names: Object.keys(process.env), threads: process.env['UV_THREADPOOL_SIZE'] })) }
}

process.send?.({ kind: 'loading', fraction: 0.5 })
await (LOADS[String(flags['model'])] ?? mustExist)()
const server = createServer((request, response) => void serve(request, response))
server.listen(String(flags['socket']), () => {
  process.send?.({ kind: 'ready', contextTokens: Number(flags['context-tokens']), slots, memoryBytes: 1000 })
  setInterval(() => process.connected && process.send?.({ kind: 'alive', steps, isBusy: busy > 0 }), 100)
})

function mustExist (): void | Promise<void> {
  if (existsSync(String(flags['model']))) return
  process.send?.({ kind: 'failed', message: 'no such file' }, () => process.exit(70))
  return new Promise(() => {})
}

async function serve (request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = JSON.parse(Buffer.concat(await request.toArray() as Buffer[]).toString())
  const script = new URLSearchParams(body.messages.at(-1).content)
  const leave = new AbortController()
  response.on('close', () => { leave.abort() })
  busy++
  try {
    if (script.has('strict') && busy > slots) return void response.writeHead(500).end('{"error":{"message":"more calls than slots"}}')
    await answer(script, body.stream === true, response, leave.signal, String(request.headers['x-torchgate-isolation']))
  } catch (error) {
    if (!leave.signal.aborted) throw error
  } finally {
    busy--
  }
}

async function answer (script: URLSearchParams, stream: boolean, response: ServerResponse, signal: AbortSignal, isolation: string): Promise<void> {
  await misbehave(script.get('before'), script.get('once'), signal)
  await sleep(Number(script.get('startMs') ?? 0), undefined, { signal })
  const words = Array.from({ length: Number(script.get('words') ?? 3) }, (_, at) => `${isolation}${at} `)
  if (!stream) return whole(words.join(''), response)
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(event({ role: 'assistant', content: '' }))
  for (const [at, word] of words.entries()) {
    steps++
    response.write(event({ content: word }))
    if (at === 1) await misbehave(script.get('after'), script.get('once'), signal)
    await sleep(Number(script.get('everyMs') ?? 1), undefined, { signal })
  }
  response.write(event({}, 'stop'))
  response.end('data: [DONE]\n\n')
}

async function misbehave (how: string | null, once: string | null, signal: AbortSignal): Promise<void> {
  if (how === null || (once !== null && existsSync(once))) return
  if (once !== null) closeSync(openSync(once, 'w'))
  await sleep(10)
  if (how === 'crash') process.kill(process.pid, 'SIGKILL')
  if (how === 'deaf') {
    server.close()
    console.error('deaf')
  }
  await sleep(60_000, undefined, { signal })
}

function event (delta: object, finish: string | null = null): string {
  return `data: ${JSON.stringify({
    id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: flags['name'],
    choices: [{ index: 0, delta, finish_reason: finish }]
  })}\n\n`
}

function whole (content: string, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify({
    id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: flags['name'],
    choices: [{ index: 0, message: { role: 'assistant', content, refusal: null }, finish_reason: 'stop', logprobs: null }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }
  }))
}
