/** The command line as its users meet it: a process with a folder of its own, what it says, and what it leaves behind. */
import { spawn, spawnSync, type ChildProcessByStdio } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import type { Test } from 'tap'

export const ROOT = join(import.meta.dirname, '../..')
export const MAIN = join(ROOT, 'src/main.ts')
const PATIENCE_MS = 30_000

/** For `t.test(name, { skip: withoutCurl })`: a developer's machine may have none, CI has to. */
export const withoutCurl = spawnSync('curl', ['--version']).status === 0 || process.env['CI'] !== undefined ? false : 'no curl in PATH'

export interface Exit { readonly code: number | null, readonly signal: NodeJS.Signals | null }

export interface CommandOptions {
  /** On top of PATH and HOME; nothing else is inherited, so that no key or port of the developer's gets in. */
  readonly env?: NodeJS.ProcessEnv
  /** Default: node on src/main.ts. */
  readonly program?: readonly [string, ...string[]]
}

/**
 * A folder for data and temporary files. When the test ends, every process that names it on its command line, as
 * workers do with their socket, is a process left behind: the test fails, and they are ended.
 */
export function openFolder (t: Test): string {
  // Short, because the path of a socket is.
  const folder = mkdtempSync(join(tmpdir(), 'tg-'))
  t.teardown(async () => {
    const left = await nobodyOf(folder) ? [] : processesOf(folder)
    for (const pid of left) process.kill(pid, 'SIGKILL')
    rmSync(folder, { recursive: true, force: true })
    if (left.length > 0) throw new Error(`${left.length} processes were left behind`)
  })
  return folder
}

/** Processes that have `folder` on their command line. */
export function processesOf (folder: string): number[] {
  if (!existsSync('/proc/self/cmdline')) return []
  return readdirSync('/proc').filter(name => /^\d+$/.test(name)).map(Number).filter(pid => pid !== process.pid && commandOf(pid).includes(folder))
}

export function workersOf (folder: string): number[] {
  return processesOf(folder).filter(pid => commandOf(pid).includes('worker/main'))
}

function commandOf (pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    // Gone between the two looks.
    return ''
  }
}

/** Whether all of them end within `limitMs`. */
export async function nobodyOf (folder: string, limitMs = 3_000): Promise<boolean> {
  for (const endMs = performance.now() + limitMs; performance.now() < endMs; await wait(20)) {
    if (processesOf(folder).length === 0) return true
  }
  return false
}

/** `torchgate …` in a process group of its own, as a shell starts it. */
export class Command {
  stdout = ''
  stderr = ''
  readonly startedMs = performance.now()
  readonly exit: Promise<Exit>
  readonly #child: ChildProcessByStdio<null, Readable, Readable>
  #over: Exit | null = null

  constructor (t: Test, folder: string, args: readonly string[], { env = {}, program = [process.execPath, MAIN] }: CommandOptions = {}) {
    const [file, ...first] = program
    this.#child = spawn(file, [...first, ...args], {
      cwd: ROOT,
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], TMPDIR: folder, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true
    })
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => { this.stdout += text })
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => { this.stderr += text })
    this.exit = new Promise(resolve => {
      this.#child.once('close', (code, signal) => { resolve(this.#over = { code, signal }) })
    })
    t.teardown(async () => {
      if (this.#over === null) this.kill('SIGKILL')
      await this.exit
    })
  }

  get pid (): number { return this.#child.pid! }

  /** To this process alone. */
  kill (signal: NodeJS.Signals): void { this.#child.kill(signal) }

  /** To the whole group, as a terminal does with Ctrl-C. */
  interrupt (): void { process.kill(-this.pid, 'SIGINT') }

  /** Closes the reading ends of its output, as a pipe into a command that has ended. */
  leave (): void {
    this.#child.stdout.destroy()
    this.#child.stderr.destroy()
  }

  /** Waits until standard error says so. @returns the match */
  async says (what: RegExp): Promise<RegExpMatchArray> {
    for (const endMs = performance.now() + PATIENCE_MS; performance.now() < endMs; await wait(5)) {
      const match = what.exec(this.stderr)
      if (match !== null) return match
      if (this.#over !== null) break
    }
    throw new Error(`${String(what)} was not said, but:\n${this.stderr}\n${this.stdout}`)
  }
}

/** Runs to the end. */
export async function run (t: Test, folder: string, args: readonly string[], options?: CommandOptions) {
  const command = new Command(t, folder, args, options)
  const { code, signal } = await command.exit
  return { code, signal, stdout: command.stdout, stderr: command.stderr }
}

export interface Started {
  readonly command: Command
  readonly url: string
  readonly adminUrl: string
  /** Empty when none was shown. */
  readonly key: string
  readonly adminKey: string
}

/** `torchgate start` on free ports with the data in `folder`, once it listens. */
export async function start (t: Test, folder: string, args: readonly string[] = [], options?: CommandOptions): Promise<Started> {
  const command = new Command(t, folder, ['start', '--port', '0', '--admin-port', '0', '--data-dir', join(folder, 'data'), ...args], options)
  return { command, ...await addresses(command) }
}

export async function addresses (command: Command) {
  const [, url = ''] = await command.says(/^ {2}API +(http\S+)\/v1$/m)
  const [, adminUrl = ''] = await command.says(/^ {2}Metrics +(http\S+)\/metrics$/m)
  const [, key = ''] = /API key +(tg_live_\S+)/.exec(command.stderr) ?? []
  const [, adminKey = ''] = /Admin key +(tg_live_\S+)/.exec(command.stderr) ?? []
  return { url, adminUrl, key, adminKey }
}

export const isReady = (command: Command) => command.says(/^Ready after/m)
