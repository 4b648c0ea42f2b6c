/** A provider of audio, images and moderations that keeps every byte it is sent, and answers as it is told. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

export interface Heard {
  readonly path: string
  readonly headers: IncomingMessage['headers']
  /** Grows while the body comes. */
  bytes: Buffer
  isWhole: boolean
  /** The request or its connection has ended. */
  isOver: boolean
}

export type Script = (response: ServerResponse, heard: Heard) => void | Promise<void>

export interface MediaProvider {
  readonly url: string
  readonly heard: Heard[]
  connections: number
  /** Called when the request has come whole. */
  answer: Script
  /** Called at the head of a request; true where it has answered. */
  early: (response: ServerResponse) => boolean
}

export async function startMediaProvider (t: Test): Promise<MediaProvider> {
  const provider: MediaProvider = { url: '', heard: [], connections: 0, answer: json({}), early: () => false }
  const server = createServer((request, response) => {
    const heard: Heard = { path: request.url ?? '', headers: request.headers, bytes: Buffer.alloc(0), isWhole: false, isOver: false }
    provider.heard.push(heard)
    response.on('error', () => {})
    request.on('error', () => {})
    request.on('close', () => { heard.isOver = true })
    if (provider.early(response)) { request.resume(); return }
    request.on('data', (piece: Buffer) => { heard.bytes = Buffer.concat([heard.bytes, piece]) })
    request.on('end', () => {
      heard.isWhole = true
      void provider.answer(response, heard)
    })
  })
  server.on('connection', () => { provider.connections++ })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return Object.assign(provider, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1` })
}

export const json = (value: unknown, status = 200): Script => response => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

export const bytes = (type: string, body: string | Buffer): Script => response => {
  response.writeHead(200, { 'content-type': type }).end(body)
}

export const events = (...values: unknown[]): Script => bytes('text/event-stream', values.map(value => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`).join(''))

/** Names and values of a form, files as their bytes in Latin-1. */
export function fieldsOf ({ bytes: body, headers }: Heard): Record<string, { value: string, filename: string | undefined, type: string | undefined }> {
  const boundary = /boundary=(\S+)/.exec(headers['content-type'] ?? '')![1]!
  const parts = body.toString('latin1').split(`--${boundary}`).slice(1, -1)
  return Object.fromEntries(parts.map(part => {
    const end = part.indexOf('\r\n\r\n')
    const head = part.slice(0, end)
    const value = part.slice(end + 4, -2)
    return [/name="([^"]*)"/.exec(head)![1]!, { value, filename: /filename="([^"]*)"/.exec(head)?.[1], type: /Content-Type: (.*)/.exec(head)?.[1] }]
  }))
}
