/** How a worker is kept from everything but its model: what this system allows, and the command line that does it. */
import { spawnSync } from 'node:child_process'
import { existsSync, readlinkSync, realpathSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { PoolConfig } from '../../config/schema.ts'

/** What holds the workers of a pool; part of its status. */
export interface Isolation {
  readonly wanted: PoolConfig['isolation']
  /** Node's permission model: JavaScript of a worker reads its program and its model, and once that is loaded nothing more. */
  readonly permissions: boolean
  /** A namespace without network, for all code of a worker: what is not JavaScript is held by this alone. */
  readonly networkNamespace: boolean
  /** Why there is no such namespace; null where there is one, or none was wanted. */
  readonly reason: string | null
}

/** What one worker needs. */
export interface Needs {
  /** Its program. */
  readonly entry: string
  /** The model file. */
  readonly model: string
  /** File of its chat template, where it is not in the model's. */
  readonly chatTemplate?: string | null
  /** Folder of its states on disk; null without. */
  readonly spill?: string | null
  readonly socketPath: string
  /** Drivers and libraries of a GPU are looked for in many places, and tried in a helper process. */
  readonly usesGpu: boolean
  /** Folder of compiled code, which Node reads and writes; null without. */
  readonly compiled: string | null
}

/**
 * A user namespace comes with the network namespace: without one only root may have it, and in it a worker can neither
 * trace the gateway nor read its environment. The user stays who it is, and the process the same one: unshare ends by exec.
 */
const ALONE = ['--user', '--map-current-user', '--net', '--']
const PROBE_MS = 5000
const NAMESPACE = '/proc/self/ns/net'

/** Since Node 26.3 a process can give up what it was allowed; since 25 the network is part of that. */
export const CAN_SEAL = isNode(26, 3)
const HAS_NET = process.allowedNodeEnvironmentFlags.has('--allow-net')

/** It starts a process to see what the system allows: once per pool. @throws Error where isolation is required and cannot be had */
export function isolationOf (pool: string, wanted: PoolConfig['isolation']): Isolation {
  if (wanted === 'off') return { wanted, permissions: false, networkNamespace: false, reason: null }
  const reason = whyNoNamespace()
  if (reason !== null && wanted === 'required') {
    throw new Error(`${pool}: isolation is required, but workers cannot be kept from the network here: ${reason}. Allow this user to make user and network namespaces, or set isolation: auto.`)
  }
  return { wanted, permissions: true, networkNamespace: reason === null, reason }
}

/** The program of a worker and its arguments, as a command to spawn. */
export function commandOf ({ permissions, networkNamespace }: Isolation, needs: Needs, args: readonly string[]): [string, string[]] {
  const node = [process.execPath, ...permissions ? permissionsOf(needs) : [], needs.entry, ...args]
  return networkNamespace ? [unshare() ?? 'unshare', [...ALONE, ...node]] : [node[0]!, node.slice(1)]
}

/** Tried out, since no setting of a kernel tells what its security modules will say. */
function whyNoNamespace (): string | null {
  if (process.platform !== 'linux') return `only Linux has network namespaces, and this is ${process.platform}`
  const program = unshare()
  if (program === null) return 'there is no unshare (of util-linux) in PATH'
  const { status, signal, error, stdout, stderr } = spawnSync(program, [...ALONE, 'readlink', NAMESPACE], { encoding: 'utf8', timeout: PROBE_MS })
  if (error !== undefined) return error.message
  if (status !== 0) return stderr.trim().split('\n').at(-1) || `unshare ended with ${signal ?? `exit ${status}`}`
  return stdout.trim() === readlinkSync(NAMESPACE) ? 'unshare left the network as it was' : null
}

/** Found here rather than by spawn, which would look in the PATH that the configuration may give a worker. */
function unshare (): string | null {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter(folder => folder !== '')
  return folders.map(folder => join(folder, 'unshare')).find(path => existsSync(path)) ?? null
}

function permissionsOf ({ entry, model, chatTemplate = null, spill = null, socketPath, usesGpu, compiled }: Needs): string[] {
  const cache = compiled === null || !CAN_SEAL ? [] : [join(compiled, '/')]
  const own = spill === null ? [] : [join(spill, '/')]
  const reads = usesGpu ? ['*'] : [...programOf(entry), model, ...chatTemplate === null ? [] : [chatTemplate], socketPath, ...cache, ...own]
  return [
    '--permission',
    '--allow-addons',
    ...HAS_NET ? ['--allow-net'] : [],
    ...usesGpu ? ['--allow-child-process'] : [],
    ...reads.map(path => `--allow-fs-read=${path}`),
    ...[socketPath, ...cache, ...own].map(path => `--allow-fs-write=${path}`),
    // Node warns of the flags themselves.
    '--disable-warning=SecurityWarning',
    '--disable-warning=ExperimentalWarning'
  ]
}

/** This program, and the packages that Node would find for it: in its folder, or where it is itself installed as a package. */
function programOf (entry: string): string[] {
  const source = fileURLToPath(new URL('../../', import.meta.url))
  const above: string[] = []
  for (let folder = dirname(source); !above.includes(folder); folder = dirname(folder)) above.push(folder)
  const packages = above.map(folder => join(folder, 'node_modules')).filter(folder => existsSync(folder))
    // A linked folder is read where it really is.
    .flatMap(folder => [...new Set([folder, realpathSync(folder)])].map(path => join(path, '/')))
  return [entry, source, join(dirname(source), 'package.json'), ...packages]
}

function isNode (leastMajor: number, leastMinor: number): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > leastMajor || (major === leastMajor && minor >= leastMinor)
}
