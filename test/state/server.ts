import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Test } from 'tap'

const there = spawnSync('redis-server', ['--version']).status === 0

/** For `t.test(name, { skip: withoutRedis })`: on a developer's machine Redis may be missing, in CI it must not. */
export const withoutRedis = there || process.env['CI'] !== undefined ? false : 'no redis-server in PATH'

/** A real Redis on a socket in a folder of its own; gone when the test ends. */
export class RedisServer {
  readonly #folder = mkdtempSync(join(tmpdir(), 'redis-'))
  readonly #settings: string[]
  #process: ChildProcess | null = null

  private constructor (settings: string[]) { this.#settings = settings }

  static async start (t: Test, { settings = [], up = true }: { settings?: string[], up?: boolean } = {}): Promise<RedisServer> {
    const server = new RedisServer(settings)
    t.teardown(() => server.end())
    if (up) await server.start()
    return server
  }

  get url (): string { return join(this.#folder, 'redis.sock') }

  async start (): Promise<void> {
    const settings = ['--port', '0', '--unixsocket', this.url, '--dir', this.#folder, '--save', '', '--appendonly', 'no', ...this.#settings]
    this.#process = spawn('redis-server', settings, { stdio: ['ignore', 'pipe', 'inherit'] })
    for await (const text of this.#process.stdout!) {
      if (String(text).includes('eady to accept connections')) break
    }
  }

  signal (signal: NodeJS.Signals): void { this.#process!.kill(signal) }

  async kill (): Promise<void> {
    if (this.#process === null) return
    const gone = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await gone
    this.#process = null
  }

  async end (): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** One command by a client of its own, which knows the password. */
  async ask (command: string, ...args: string[]): Promise<unknown> {
    const password = this.#settings[this.#settings.indexOf('--requirepass') + 1]
    const client = new Redis(this.url, { lazyConnect: true, retryStrategy: null, ...(this.#settings.includes('--requirepass') ? { password } : {}) })
    try {
      return await client.call(command, ...args)
    } finally {
      client.disconnect()
    }
  }
}

/** Waits until `holds` does, `limitMs` at most. */
export async function eventually (holds: () => boolean | Promise<boolean>, limitMs = 5_000): Promise<boolean> {
  const until = performance.now() + limitMs
  while (performance.now() < until) {
    if (await holds()) return true
    await sleep(10)
  }
  return false
}
