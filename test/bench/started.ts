/** A gateway as a process of its own: where it listens, and a key for it. */
import { spawnSync, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'

const TRIES = 400

/** A key of the tenant, made before the gateway starts. */
export function newKey (config: string, tenant: string): string {
  return spawnSync(process.execPath, ['src/main.ts', 'keys', 'create', '--config', config, '--tenant', tenant], { encoding: 'utf8' }).stdout.trim()
}

/** The port that the log at `path` tells. */
export async function portInLog (path: string, child: ChildProcess): Promise<number> {
  for (let tries = 0; tries < TRIES; tries++) {
    const port = /"url":"http:\/\/[^"]*:(\d+)"/.exec(readFileSync(path, 'utf8'))?.[1]
    if (port !== undefined) return Number(port)
    if (child.exitCode !== null) break
    await wait(50)
  }
  throw new Error(`The gateway did not start:\n${readFileSync(path, 'utf8')}`)
}
