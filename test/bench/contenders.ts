/** The two sides of npm run bench:local: this gateway, and a llama-server or whatever else speaks the OpenAI API. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { newKey, portInLog } from './started.ts'
import type { Server } from './timed.ts'

/** The same for both sides. */
export interface Setup { readonly model: string, readonly slots: number, readonly contextTokens: number, readonly threads: number, readonly gpu: boolean }

export interface Side { readonly server: Server, close (): Promise<void> }

const LOAD_MS = 120_000

export async function startOurs ({ model, slots, contextTokens, threads, gpu }: Setup, folder: string): Promise<Side> {
  const config = join(folder, 'torchgate.yaml')
  writeFileSync(config, `
server: { port: 0 }
admin: { port: 0 }
dataDir: ${folder}
backends:
  - name: local
    kind: pool
    models: [{ name: bench, path: '${resolve(model)}', slots: ${slots}, contextTokens: ${contextTokens}, threads: ${threads}, gpu: ${gpu ? 'auto' : 'false'} }]
models: [{ name: bench, targets: [{ backend: local, model: bench }] }]
tenants: [{ name: bench }]
`)
  const key = newKey(config, 'bench')
  const log = join(folder, 'gateway.log')
  const child = spawn(process.execPath, ['src/main.ts', 'start', '--config', config], { stdio: ['ignore', openSync(log, 'w'), 'inherit'] })
  const close = () => end(child)
  try {
    return { server: { name: 'torchgate', url: `http://127.0.0.1:${await portInLog(log, child)}/v1`, key, model: 'bench' }, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** @returns the other side, or why there is none */
export async function startOther (env: NodeJS.ProcessEnv, setup: Setup, folder: string): Promise<Side | string> {
  const { LLAMA_SERVER: program, OTHER_URL: url, OTHER_KEY: key = null, OTHER_MODEL: model = 'bench' } = env
  if (url !== undefined) return { server: { name: new URL(url).host, url: url.replace(/\/$/, ''), key, model }, close: async () => {} }
  if (program === undefined) return 'LLAMA_SERVER names no llama-server, and OTHER_URL no other server'
  return await startLlamaServer(program, setup, folder)
}

/** Context is told for all slots together there. */
async function startLlamaServer (program: string, { model, slots, contextTokens, threads, gpu }: Setup, folder: string): Promise<Side | string> {
  const port = await freePort()
  const log = join(folder, 'llama-server.log')
  const given = {
    '--model': resolve(model), '--host': '127.0.0.1', '--port': port, '--parallel': slots, '--ctx-size': slots * contextTokens,
    '--threads': threads, '--threads-batch': threads, '--n-gpu-layers': gpu ? 999 : 0
  }
  const output = openSync(log, 'w')
  const child = spawn(program, Object.entries(given).flatMap(([name, value]) => [name, String(value)]), { stdio: ['ignore', output, output] })
  const failures: string[] = []
  child.once('error', ({ message }) => { failures.push(message) })
  for (const endsAt = performance.now() + LOAD_MS; performance.now() < endsAt && failures.length === 0 && child.exitCode === null; await wait(100)) {
    if (await isHealthy(port)) return { server: { name: 'llama-server', url: `http://127.0.0.1:${port}/v1`, key: null, model: 'bench' }, close: () => end(child) }
  }
  await end(child)
  return `${program} did not start: ${failures[0] ?? readFileSync(log, 'utf8').slice(-500)}`
}

async function isHealthy (port: number): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/health`)
    await answer.body?.cancel()
    return answer.ok
  } catch {
    // It does not listen yet.
    return false
  }
}

async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function end (child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => { child.kill('SIGKILL') }, 10_000)
  await ended
  clearTimeout(timer)
}
