/** Real worker processes for tests. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import type { WorkerMessage } from '../../src/worker/protocol.ts'

/** Program of a worker. */
export const MAIN = fileURLToPath(new URL('../../src/worker/main.ts', import.meta.url))

interface Owner { teardown (end: () => void): void }

/** Ends with the test that asked for it. */
function start (owner: Owner, args: readonly string[], stdio: 'pipe' | 'ipc'): ChildProcess {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: stdio === 'ipc' ? ['ignore', 'ignore', 'ignore', 'ipc'] : ['ignore', 'ignore', 'pipe'] })
  owner.teardown(() => { child.kill('SIGKILL') })
  return child
}

export const PILOT = ['--model', BUILTIN_MODEL.path, '--name', 'pilot', '--gpu', 'false', '--threads', '1']

/** A worker that stands alone on a TCP port. Resolves when it answers. */
export async function workerOnPort (owner: Owner, ...args: string[]): Promise<{ url: string, child: ChildProcess }> {
  const child = start(owner, [...PILOT, '--port', '0', ...args], 'pipe')
  const said: string[] = []
  for await (const line of createInterface({ input: child.stderr! })) {
    said.push(line)
    const url = / answers on (http:\S+),/.exec(line)?.[1]
    if (url === undefined) continue
    child.stderr!.resume()
    return { url, child }
  }
  throw new Error(`The worker did not start: ${said.join('\n')}`)
}

interface Spawned { readonly child: ChildProcess, readonly messages: readonly WorkerMessage[], readonly code: number | null }

/** A worker as the pool spawns it: its messages up to `ready`, or to its end. */
export async function spawnedWorker (owner: Owner, args: readonly string[]): Promise<Spawned> {
  const child = start(owner, args, 'ipc')
  const messages: WorkerMessage[] = []
  const exit = once(child, 'exit')
  const ready = new Promise<void>(resolve => {
    child.on('message', message => {
      messages.push(message as WorkerMessage)
      if (messages.at(-1)?.kind === 'ready') resolve()
    })
  })
  await Promise.race([ready, exit])
  return { child, messages, code: child.exitCode }
}

export interface Completion {
  readonly choices: readonly { readonly message: { readonly content: string }, readonly finish_reason: string }[]
  readonly usage: {
    readonly prompt_tokens: number
    readonly completion_tokens: number
    readonly total_tokens: number
    readonly prompt_tokens_details: { readonly cached_tokens: number }
  }
  readonly system_fingerprint: string
  readonly model: string
  readonly id: string
}

export interface Failure { readonly error: { readonly message: string, readonly type: string, readonly param: string | null, readonly code: string } }

export interface ChatOptions { readonly headers?: Record<string, string>, readonly signal?: AbortSignal }

/** One chat completion; `body` is added to a greedy request. */
export function chat (url: string, body: Record<string, unknown>, { headers = {}, signal }: ChatOptions = {}): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'pilot', temperature: 0, ...body }),
    ...signal !== undefined && { signal }
  })
}

export async function completion (url: string, body: Record<string, unknown>, options?: ChatOptions): Promise<Completion> {
  const response = await chat(url, body, options)
  if (response.status !== 200) throw new Error(await response.text())
  return await response.json() as Completion
}

/** The data of every server-sent event, parsed but for `[DONE]`. */
export async function events (response: Response): Promise<unknown[]> {
  const text = await response.text()
  return text.split('\n\n').filter(event => event !== '').map(event => {
    const data = event.replace(/^data: /, '')
    return data === '[DONE]' ? data : JSON.parse(data) as unknown
  })
}

export const user = (content: unknown): Record<string, unknown>[] => [{ role: 'user', content }]
