/** A hub and the content network it sends downloads to, on two origins of this host, that misbehave on request. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { pull, type PullOptions } from '../../src/models/pull.ts'

export const PILOT = readFileSync(BUILTIN_MODEL.path)
export const REPOSITORY = 'tiny/pilot-GGUF'
export const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** One more tensor byte changed: a model of the same name and size with another digest. */
export function changedPilot (at = PILOT.length - 1): Buffer {
  const bytes = Buffer.from(PILOT)
  bytes[at]! ^= 0xff
  return bytes
}

export type Answer = (request: IncomingMessage, response: ServerResponse) => void

export interface Seen { readonly host: 'hub' | 'cdn', readonly path: string, readonly headers: IncomingMessage['headers'] }

export interface HubServer {
  readonly url: string
  readonly cdnUrl: string
  /** Path -> bytes; what the listing shows and the network serves. */
  readonly files: Map<string, Buffer>
  /** What the network serves instead of `files`, as after an error there. */
  readonly served: Map<string, Buffer>
  readonly seen: Seen[]
  /** The next answers of the hub and of the network, before they go back to being good. */
  readonly hubNext: Answer[]
  readonly cdnNext: Answer[]
  etag: string | null
  ranges: boolean
}

export async function startHub (t: Test): Promise<HubServer> {
  const files = new Map([['pilot.Q8_0.gguf', PILOT], ['README.md', Buffer.from('# pilot')]])
  const hub: HubServer = { url: '', cdnUrl: '', files, served: new Map(), seen: [], hubNext: [], cdnNext: [], etag: '"first"', ranges: true }
  const cdnUrl = await listen(t, (request, response) => {
    hub.seen.push({ host: 'cdn', path: request.url!, headers: request.headers })
    const path = decodeURIComponent(new URL(request.url!, 'http://cdn').pathname.slice(1))
    const next = hub.cdnNext.shift()
    if (next !== undefined) next(request, response)
    else serveFile(hub, path, request, response)
  })
  const url = await listen(t, (request, response) => {
    hub.seen.push({ host: 'hub', path: request.url!, headers: request.headers })
    const next = hub.hubNext.shift()
    if (next !== undefined) next(request, response)
    else answerAsHub(hub, request, response)
  })
  return Object.assign(hub, { url, cdnUrl })
}

async function listen (t: Test, answer: Answer): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function answerAsHub (hub: HubServer, request: IncomingMessage, response: ServerResponse): void {
  const { pathname } = new URL(request.url!, 'http://hub')
  if (pathname === `/api/models/${REPOSITORY}/tree/main`) {
    const tree = [...hub.files].map(([path, bytes]) => ({
      type: 'file', path, size: bytes.length, oid: createHash('sha1').update(bytes).digest('hex'),
      ...(path.endsWith('.gguf') ? { lfs: { oid: digestOf(bytes), size: bytes.length, pointerSize: 134 } } : {})
    }))
    response.setHeader('content-type', 'application/json').end(JSON.stringify([{ type: 'directory', path: 'folder', size: 0, oid: '0' }, ...tree]))
    return
  }
  const path = decodeURIComponent(pathname.replace(`/${REPOSITORY}/resolve/main/`, ''))
  const bytes = hub.files.get(path)
  if (bytes === undefined) { response.writeHead(404).end('Not found'); return }
  response.writeHead(302, {
    location: `${hub.cdnUrl}/${encodeURIComponent(path)}`, 'x-linked-etag': `"${digestOf(bytes)}"`, 'x-linked-size': bytes.length, 'x-repo-commit': 'abc'
  }).end()
}

export function serveFile (hub: HubServer, path: string, request: IncomingMessage, response: ServerResponse, atMost = Infinity): void {
  const bytes = hub.served.get(path) ?? hub.files.get(path)
  if (bytes === undefined) { response.writeHead(404).end(); return }
  if (hub.etag !== null) response.setHeader('etag', hub.etag)
  const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? []
  const condition = request.headers['if-range']
  if (hub.ranges && from !== undefined && (condition === undefined || condition === hub.etag)) {
    if (Number(from) >= bytes.length) { response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end(); return }
    response.writeHead(206, { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`, 'content-length': bytes.length - Number(from) })
    send(response, bytes.subarray(Number(from)), atMost)
    return
  }
  response.writeHead(200, { 'content-length': bytes.length })
  send(response, bytes, atMost)
}

function send (response: ServerResponse, bytes: Buffer, atMost: number): void {
  if (bytes.length <= atMost) { response.end(bytes); return }
  response.write(bytes.subarray(0, atMost), () => { setTimeout(() => { response.destroy() }, 20) })
}

/** The connection breaks after so many bytes. */
export function cutAfter (hub: HubServer, bytes: number, path = 'pilot.Q8_0.gguf'): Answer {
  return (request, response) => { serveFile(hub, path, request, response, bytes) }
}

/** Sends so many bytes and then nothing more. */
export function stallAfter (hub: HubServer, bytes: number, path = 'pilot.Q8_0.gguf'): Answer {
  return (_request, response) => {
    if (hub.etag !== null) response.setHeader('etag', hub.etag)
    response.writeHead(200, { 'content-length': hub.files.get(path)!.length })
    response.write(hub.files.get(path)!.subarray(0, bytes))
  }
}

export function status (code: number, headers: Record<string, string> = {}): Answer {
  return (_request, response) => { response.writeHead(code, headers).end() }
}

export interface Puller {
  readonly folder: string
  readonly notes: string[]
  pull (source: string, more?: Partial<PullOptions>): ReturnType<typeof pull>
}

/** Pulls into a folder of the test's own, impatiently. */
export function pullerOf (t: Test, hub: HubServer, env: NodeJS.ProcessEnv = {}): Puller {
  const folder = join(t.testdir({}), 'models')
  const notes: string[] = []
  return {
    folder,
    notes,
    pull: (source, more = {}) => pull(source, {
      folder, signal: AbortSignal.timeout(20_000), env: { HF_ENDPOINT: hub.url, ...env }, pauseMs: 1, idleMs: 2000, onNote: text => { notes.push(text) }, ...more
    })
  }
}
