import { randomBytes, randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { GatewayError } from '../errors.ts'

const LENGTH = 32

/**
 * The installation's secret behind every stored HMAC: `<dataDir>/pepper`, 32 random bytes, made on first use.
 * Without it no key can be checked, so it is backed up with the database, but not in the same place.
 * @throws GatewayError `internal_error` when the file has another length, or cannot be read or made
 */
export function loadPepper (dataDir: string): Buffer {
  const path = join(dataDir, 'pepper')
  try {
    return readPepper(path) ?? (makePepper(dataDir, path), readPepper(path) as Buffer)
  } catch (error) {
    if (error instanceof GatewayError) throw error
    throw new GatewayError('internal_error', `The pepper ${path} cannot be read or made: ${(error as Error).message}`, { cause: error })
  }
}

function readPepper (path: string): Buffer | null {
  let pepper: Buffer
  try {
    pepper = readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  if (pepper.length === LENGTH) return pepper
  throw new GatewayError('internal_error', `The pepper ${path} has ${pepper.length} bytes, expected ${LENGTH}. ` +
    'Restore it from a backup; only if there is none, remove it, and every key has to be made anew.')
}

/** A link appears whole or not at all and never replaces: of two processes that start together, both read what one wrote. */
function makePepper (dataDir: string, path: string): void {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const draft = `${path}.${randomUUID()}`
  try {
    writeFileSync(draft, randomBytes(LENGTH), { mode: 0o600, flag: 'wx', flush: true })
    linkSync(draft, path)
    syncFolder(dataDir)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    rmSync(draft, { force: true })
  }
}

/** The name must survive a power cut like the keys that depend on it. Windows has no such call. */
function syncFolder (folder: string): void {
  if (process.platform === 'win32') return
  const handle = openSync(folder, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}
