/** A provider that answers at once from fixed bytes: what is measured is what stands before it. Raw sockets, no HTTP stack. */
import { createServer, type AddressInfo, type Socket } from 'node:net'

const EVENTS = 100

/** A chat completion of about 0.9 KB. */
export const BODY = JSON.stringify({
  id: 'chatcmpl-bench', object: 'chat.completion', created: 1_790_000_000, model: 'bench-2026-11-01',
  choices: [{ index: 0, message: { role: 'assistant', content: 'word '.repeat(110).trim(), refusal: null }, logprobs: null, finish_reason: 'stop' }],
  usage: {
    prompt_tokens: 200,
    completion_tokens: 110,
    total_tokens: 310,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 }
  },
  system_fingerprint: 'fp_bench'
})

/** A stream of 102 events and [DONE], about 23 KB, sent at once. */
export const STREAM = [
  chunk({ role: 'assistant', content: '' }, null),
  ...Array.from({ length: EVENTS }, (_, index) => chunk({ content: `word${index} ` }, null)),
  chunk({}, 'stop'),
  `data: ${JSON.stringify({ ...base(), choices: [], usage: { prompt_tokens: 200, completion_tokens: EVENTS, total_tokens: 200 + EVENTS } })}\n\n`,
  'data: [DONE]\n\n'
].join('')

function base () {
  return { id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: 1_790_000_000, model: 'bench-2026-11-01', service_tier: 'default', system_fingerprint: 'fp_bench' }
}

function chunk (delta: object, finish: string | null): string {
  return `data: ${JSON.stringify({ ...base(), choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] })}\n\n`
}

const JSON_ANSWER = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(BODY)}\r\nconnection: keep-alive\r\n\r\n${BODY}`)
const STREAM_ANSWER = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n${Buffer.byteLength(STREAM).toString(16)}\r\n${STREAM}\r\n0\r\n\r\n`)
const WANTS_STREAM = Buffer.from('"stream":true')
const HEAD_END = Buffer.from('\r\n\r\n')

export async function openUpstream (): Promise<{ port: number, close (): void }> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    let pending: Buffer = Buffer.alloc(0)
    socket.on('data', (bytes: Buffer) => { pending = answerAll(socket, pending.length === 0 ? bytes : Buffer.concat([pending, bytes])) })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  return {
    port: (server.address() as AddressInfo).port,
    close () { server.close(); for (const socket of sockets) socket.destroy() }
  }
}

/** Answers every whole request in `bytes` and returns the rest. */
function answerAll (socket: Socket, bytes: Buffer): Buffer {
  for (;;) {
    const head = bytes.indexOf(HEAD_END)
    if (head < 0) return bytes
    const length = Number(/content-length: *(\d+)/i.exec(bytes.toString('latin1', 0, head))?.[1] ?? 0)
    const end = head + 4 + length
    if (bytes.length < end) return bytes
    socket.write(bytes.subarray(head, end).includes(WANTS_STREAM) ? STREAM_ANSWER : JSON_ANSWER)
    bytes = bytes.subarray(end)
  }
}
