/**
 * Programs that are too large to belong to this project. Installed into a folder of their own,
 *
 *   npm install --prefix ~/clients --ignore-scripts @openai/codex @anthropic-ai/claude-code @qwen-code/qwen-code
 *
 * they are driven by `CLIENTS=~/clients npm run clients`. What is not installed there is skipped, and said to be.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Test } from 'tap'

const FOLDER = process.env['CLIENTS']

/** The path of a file of a package, where it is installed. */
export function installed (path: string): { readonly path: string, readonly skip: string | false } {
  if (FOLDER === undefined) return { path, skip: `${path}: CLIENTS does not name a folder with the programs (test/clients/installed.ts)` }
  const found = resolve(FOLDER, 'node_modules', path)
  return { path: found, skip: existsSync(found) ? false : `${found} is not installed` }
}

export interface Ran { readonly code: number | null, readonly said: string, readonly complained: string }

/** Runs a program in a home of its own, with nothing of this environment but the path, and waits for its end. */
export async function run (t: Test, command: string, args: readonly string[], folder: string, env: NodeJS.ProcessEnv): Promise<Ran> {
  const child = spawn(command, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], detached: true, env: { PATH: process.env['PATH'], HOME: folder, NO_COLOR: '1', ...env } })
  // With whatever it has started itself.
  const kill = () => { try { process.kill(-child.pid!, 'SIGKILL') } catch { /* It is gone. */ } }
  t.teardown(kill)
  const late = setTimeout(kill, 100_000)
  let [said, complained] = ['', '']
  child.stdout.on('data', part => { said += part })
  child.stderr.on('data', part => { complained += part })
  const code = await new Promise<number | null>((resolve_, reject) => {
    child.once('error', reject)
    child.once('close', resolve_)
  })
  clearTimeout(late)
  return { code, said, complained }
}
