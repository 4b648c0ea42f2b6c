/**
 * The folder of pulled models: manifest.json, DIGEST.gguf, and partial/ with what is on its way. Files are named by their
 * content, so a version is never overwritten, going back is a change of the manifest alone, and two names may share one.
 */
import { chmod, readdir, rm, stat } from 'node:fs/promises'
import { readFileSync, statSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { takeLock } from './lock.ts'
import { digestsOf, NO_MODELS, parseManifest, withVersion, type Manifest, type Version } from './manifest.ts'
import { factsOf, type PartialFacts } from './partial.ts'
import { moveFile, replaceFile } from './replace.ts'

/** @param dataDir the folder of the database */
export function modelsFolder (dataDir: string): string { return join(dataDir, 'models') }

export function fileOf (folder: string, sha256: string): string { return join(folder, `${sha256}.gguf`) }
function manifestPath (folder: string): string { return join(folder, 'manifest.json') }

/** One source has one partial, so the same command finds it again. */
export function partialPath (folder: string, sourceId: string): string {
  return join(folder, 'partial', `${createHash('sha256').update(sourceId).digest('hex').slice(0, 16)}.partial`)
}

/** @throws Error naming the file when it is there and cannot be understood */
export function readManifest (folder: string): Manifest {
  const path = manifestPath(folder)
  try {
    return parseManifest(readFileSync(path, 'utf8'))
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return NO_MODELS
    throw new Error(`${path}: ${thrown instanceof Error ? thrown.message : String(thrown)}`, { cause: thrown })
  }
}

const PATIENCE_MS = 10_000

/** Changes the manifest, alone, and then drops the files that nothing names any more. */
export async function changeManifest (folder: string, change: (manifest: Manifest) => Manifest | Promise<Manifest>, signal: AbortSignal): Promise<Manifest> {
  await using _lock = await takeLock(join(folder, 'manifest.lock'), { signal, what: 'changing the manifest', patienceMs: PATIENCE_MS })
  const before = readManifest(folder)
  const after = await change(before)
  if (after === before) return before
  await replaceFile(manifestPath(folder), `${JSON.stringify(after, null, 2)}\n`)
  await sweep(folder, digestsOf(after))
  return after
}

/** Moves a whole, verified file in and makes it the version of `name` in one step under the lock, so that no sweep comes between. */
export function addVersion (folder: string, name: string, version: Version, partial: string, signal: AbortSignal): Promise<Manifest> {
  return changeManifest(folder, async manifest => {
    // Read-only: what has been verified stays as it is.
    await chmod(partial, 0o400)
    await moveFile(partial, fileOf(folder, version.sha256))
    return withVersion(manifest, name, version)
  }, signal)
}

async function sweep (folder: string, kept: ReadonlySet<string>): Promise<void> {
  for (const file of await readdir(folder)) {
    const [, digest] = /^([0-9a-f]{64})\.gguf$/.exec(file) ?? []
    if (digest !== undefined && !kept.has(digest)) await rm(join(folder, file), { force: true })
  }
}

/** What is wrong with the file of a version at a glance; its bytes are another matter. Null when it is there, whole. */
export function faultOfVersion (folder: string, { sha256, bytes }: Version): string | null {
  const path = fileOf(folder, sha256)
  try {
    const { size } = statSync(path)
    return size === bytes ? null : `${path} has ${size} bytes instead of ${bytes}`
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return `${path} is missing`
    throw thrown
  }
}

export interface Underway extends PartialFacts { readonly path: string, readonly bytes: number }

/** Downloads that were begun and not finished. */
export async function underway (folder: string): Promise<Underway[]> {
  const found: Underway[] = []
  for (const file of await filesIn(join(folder, 'partial'))) {
    if (!file.endsWith('.partial')) continue
    const path = join(folder, 'partial', file)
    const facts = await factsOf(path)
    const { size } = await stat(path)
    if (facts !== null && size > 0) found.push({ ...facts, path, bytes: size })
  }
  return found
}

async function filesIn (folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw thrown
  }
}
