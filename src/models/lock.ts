/** A file that says who is at work, so that two commands do not write the same thing. Works between containers too. */
import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

export interface LockOptions {
  readonly signal: AbortSignal
  /** What the holder does, for the message. */
  readonly what: string
  /** How long to wait for another holder; 0 refuses at once. */
  readonly patienceMs?: number
}

/** A holder touches its lock this often; one that was not touched for STALE_MS belongs to nobody. */
const TOUCH_MS = 10_000
const STALE_MS = 60_000
const LOOK_MS = 50

/** @throws Error naming the holder; `signal.reason` */
export async function takeLock (path: string, { signal, what, patienceMs = 0 }: LockOptions): Promise<AsyncDisposable> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), token: randomUUID(), what })
  for (const endMs = performance.now() + patienceMs; ;) {
    signal.throwIfAborted()
    if (await create(path, mine)) return held(path, mine)
    const holder = await holderOf(path)
    if (holder !== null && isGone(holder)) {
      await clear(path, holder.text)
      continue
    }
    if (holder !== null && performance.now() >= endMs) {
      throw new Error(`process ${holder.pid} on ${holder.host} is at work on it (${holder.what}). Wait until it has ended; its lock is ${path}.`)
    }
    await wait(LOOK_MS)
  }
}

interface Holder { readonly text: string, readonly pid: number, readonly host: string, readonly what: string, readonly touchedMs: number }

async function create (path: string, text: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx', 0o600)
    try {
      await handle.writeFile(text)
    } finally {
      await handle.close()
    }
    return true
  } catch (thrown) {
    if (codeOf(thrown) === 'EEXIST') return false
    throw thrown
  }
}

/** Null when it has just been given back. */
async function holderOf (path: string): Promise<Holder | null> {
  try {
    const [text, { mtimeMs }] = [await readFile(path, 'utf8'), await stat(path)]
    return { pid: 0, host: 'another host', what: 'unknown', ...fieldsOf(text), text, touchedMs: mtimeMs }
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return null
    throw thrown
  }
}

/** A holder that has just begun has written nothing yet, and one that was killed perhaps never will. */
function fieldsOf (text: string): Partial<Holder> {
  try {
    return JSON.parse(text) as Partial<Holder>
  } catch {
    return {}
  }
}

function isGone ({ pid, host, touchedMs }: Holder): boolean {
  if (Date.now() - touchedMs > STALE_MS) return true
  if (host !== hostname() || pid === 0) return false
  try {
    process.kill(pid, 0)
    return false
  } catch (thrown) {
    return codeOf(thrown) === 'ESRCH'
  }
}

/** Takes a lock that belongs to nobody away. Another command may have been faster and hold a new one: that is put back. */
async function clear (path: string, stale: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  try {
    if (await readFile(path, 'utf8') !== stale) return
    await rename(path, aside)
    if (await readFile(aside, 'utf8') !== stale) await link(aside, path)
  } catch (thrown) {
    if (codeOf(thrown) !== 'ENOENT' && codeOf(thrown) !== 'EEXIST') throw thrown
  } finally {
    await rm(aside, { force: true })
  }
}

function held (path: string, mine: string): AsyncDisposable {
  const touching = setInterval(() => {
    const now = new Date()
    // Whoever took it away has said so already; at the end we find out.
    utimes(path, now, now).catch(() => {})
  }, TOUCH_MS)
  touching.unref()
  return {
    async [Symbol.asyncDispose] () {
      clearInterval(touching)
      if ((await holderOf(path))?.text === mine) await rm(path, { force: true })
    }
  }
}

function codeOf (thrown: unknown): unknown { return thrown instanceof Error && 'code' in thrown ? thrown.code : undefined }
