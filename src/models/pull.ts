/** `torchgate models pull`: from a source to a version that can be served, or to a partial that the same command goes on from. */
import { stat } from 'node:fs/promises'
import { modelNameOf } from '../config/defaults.ts'
import { sha256OfFile } from './digest.ts'
import { download, fileOrigin, webOrigin, type DownloadOptions, type Origin } from './fetch.ts'
import { readGguf } from './gguf.ts'
import { chooseFile, hubOf, hubOrigin, listFiles, partsOf } from './hub.ts'
import { licenceOf, withAccepted, isAccepted } from './licence.ts'
import { takeLock } from './lock.ts'
import { entryOf, isModelName, type Entry, type Version } from './manifest.ts'
import { dropPartial, Partial } from './partial.ts'
import { quantisationOf } from './quantisation.ts'
import { persistently } from './retry.ts'
import { fileNameOf, parseSource, printable, type FileSource, type HubSource, type Source, type UrlSource } from './source.ts'
import type { FreeBytes } from './space.ts'
import { addVersion, changeManifest, faultOfVersion, partialPath, readManifest } from './versions.ts'

export interface PullOptions {
  /** Of the models: modelsFolder(dataDir). */
  readonly folder: string
  readonly signal: AbortSignal
  readonly env: NodeJS.ProcessEnv
  /** What it is called here; the name of the file if left out. */
  readonly name?: string | undefined
  readonly sha256?: string | undefined
  readonly offline?: boolean | undefined
  readonly acceptLicences?: readonly string[] | undefined
  readonly onProgress?: ((phase: Phase, bytes: number, total: number | null) => void) | undefined
  readonly onNote?: ((text: string) => void) | undefined
  readonly pauseMs?: number | undefined
  readonly idleMs?: number | undefined
  readonly freeBytes?: FreeBytes | undefined
}

export type Phase = 'download' | 'verify'

export interface Pulled {
  readonly name: string
  readonly version: Version
  /** False when it was here already. */
  readonly isNew: boolean
  readonly isAccepted: boolean
}

/** A file on offer: what is known of it before its bytes come. */
interface Offer {
  readonly source: Source
  readonly file: string
  readonly origin: Origin
  readonly bytes: number | null
  readonly sha256: string | null
  readonly digestFrom: Version['digestFrom']
}

/** @throws Error in words for an operator; `signal.reason` when it was stopped, and then it can go on */
export async function pull (text: string, options: PullOptions): Promise<Pulled> {
  const { folder, signal } = options
  const source = parseSource(text)
  assertOnline(source, options)
  const offer = await offerOf(source, options)
  const name = nameFor(offer, options)
  const known = entryOf(readManifest(folder), name)
  const expected = expectedDigest(offer, known)
  const here = await alreadyHere(offer, known, expected, options)
  const version = here ?? await fetchVersion(offer, name, expected, options)
  const { licences } = await accept(version, options)
  signal.throwIfAborted()
  return { name, version, isNew: here === null, isAccepted: isAccepted(version.licence, licences) }
}

export function isOffline ({ TORCHGATE_OFFLINE = '' }: NodeJS.ProcessEnv): boolean {
  return !['', '0', 'false', 'no'].includes(TORCHGATE_OFFLINE.trim().toLowerCase())
}

function assertOnline (source: Source, { offline = false, env }: PullOptions): void {
  if (source.kind === 'file' || !(offline || isOffline(env))) return
  throw new Error(`${source.id} is not fetched, because ${offline ? '--offline says so' : 'TORCHGATE_OFFLINE is set'}. Bring the file here by other means and pull that: torchgate models pull ./FILE.gguf`)
}

async function offerOf (source: Source, options: PullOptions): Promise<Offer> {
  const { sha256 = null } = options
  const offer = await (source.kind === 'hub' ? offerOfHub(source, options) : source.kind === 'url' ? offerOfUrl(source, options) : offerOfFile(source))
  if (partsOf(offer.file) > 1) throw new Error(`${printable(offer.file)} is one of ${partsOf(offer.file)} parts, and a worker loads one file. Join them (llama-gguf-split --merge) and pull the file.`)
  if (sha256 === null) return offer
  if (offer.sha256 !== null && offer.sha256 !== sha256) throw new Error(`${source.id} has sha256 ${offer.sha256} by the hub's own word, not ${sha256} as --sha256 says.`)
  return { ...offer, sha256, digestFrom: 'operator' }
}

async function offerOfHub (source: HubSource, { env, signal, onNote, pauseMs, idleMs }: PullOptions): Promise<Offer> {
  const hub = hubOf(env)
  const files = await listFiles(hub, source, { signal, pauseMs, onPause: why => { onNote?.(why) } })
  const file = chooseFile(files, source)
  const digestFrom = file.sha256 === null ? 'first_pull' as const : 'hub' as const
  return { source, file: fileNameOf(file.path), origin: hubOrigin(hub, source, file, idleMs), bytes: file.bytes, sha256: file.sha256, digestFrom }
}

async function offerOfUrl (source: UrlSource, { env, idleMs }: PullOptions): Promise<Offer> {
  const origin = webOrigin(source.url, { token: hubOf(env).token, ...(idleMs === undefined ? {} : { idleMs }) })
  return { source, file: fileNameOf(source.url.pathname), origin, bytes: null, sha256: null, digestFrom: 'first_pull' }
}

async function offerOfFile (source: FileSource): Promise<Offer> {
  const { size } = await found(source)
  return { source, file: fileNameOf(source.path.replaceAll('%', '%25')), origin: fileOrigin(source.path), bytes: size, sha256: null, digestFrom: 'first_pull' }
}

async function found ({ path }: FileSource) {
  try {
    const facts = await stat(path)
    if (!facts.isFile()) throw new Error(`${path} is not a file.`)
    return facts
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') throw new Error(`${path} does not exist. From the hub it is hf:OWNER/REPO:QUANTISATION.`, { cause: thrown })
    throw thrown
  }
}

/** @throws Error when another source has the name that the file would give itself: one would replace the other unasked */
function nameFor ({ source, file }: Offer, { name, folder }: PullOptions): string {
  if (name !== undefined) {
    if (!isModelName(name)) throw new Error(`--name ${printable(name)}: expected at most 64 lower-case letters, digits, ".", "_" and "-".`)
    return name
  }
  const given = modelNameOf(file)
  const known = entryOf(readManifest(folder), given)
  if (known === null || known.current.source === source.id) return given
  throw new Error(`${given} is already the name of a model from ${known.current.source}. Say --name ${given} to replace that one, or --name with another name to keep both.`)
}

/** What nobody has told is what came the first time: a file that changes under its address is not taken in silence. */
function expectedDigest ({ sha256, source }: Offer, known: Entry | null): string | null {
  if (sha256 !== null) return sha256
  return source.kind === 'url' && known?.current.source === source.id ? known.current.sha256 : null
}

/** The version in use, when the source has nothing else; null when there is something to fetch. */
async function alreadyHere (offer: Offer, known: Entry | null, expected: string | null, options: PullOptions): Promise<Version | null> {
  if (known === null || faultOfVersion(options.folder, known.current) !== null) return null
  const { current } = known
  if (offer.sha256 !== null) return offer.sha256 === current.sha256 ? current : null
  if (offer.source.kind === 'file') return await sha256OfFile(offer.source.path, { signal: options.signal }) === current.sha256 ? current : null
  return expected === current.sha256 && await isUnchanged(offer, current, options) ? current : null
}

async function isUnchanged ({ origin }: Offer, { etag, bytes }: Version, { signal, pauseMs }: PullOptions): Promise<boolean> {
  const delivery = await persistently(() => origin.open({ offset: 0, etag: null }, signal), { signal, pauseMs })
  delivery.close()
  return etag !== null && delivery.etag === etag && (delivery.total ?? bytes) === bytes
}

async function fetchVersion (offer: Offer, name: string, expected: string | null, options: PullOptions): Promise<Version> {
  const { folder, signal } = options
  const path = partialPath(folder, offer.source.id)
  await using _lock = await takeLock(`${path}.lock`, { signal, what: `pulling ${offer.source.id}` })
  const { etag, told } = await fetchBytes(offer, path, { name, expected }, options)
  const digestFrom = told !== null && offer.digestFrom === 'first_pull' ? 'hub' : offer.digestFrom
  const version = await verified(path, { ...offer, digestFrom }, { expected: expected ?? told, etag }, options)
  await addVersion(folder, name, version, path, signal)
  await dropPartial(path)
  return version
}

interface Wanted { readonly name: string, readonly expected: string | null }

async function fetchBytes ({ origin, source, ...offer }: Offer, path: string, { name, expected }: Wanted, options: PullOptions) {
  const partial = await Partial.open(path, { source: source.id, name, sha256: expected })
  try {
    await download(origin, partial, downloadOptions(offer, options))
    return partial.facts
  } finally {
    await partial.close()
  }
}

function downloadOptions ({ bytes }: Pick<Offer, 'bytes'>, { signal, onNote, onProgress, pauseMs, freeBytes }: PullOptions): DownloadOptions {
  return { signal, total: bytes, onNote, pauseMs, freeBytes, onProgress: (done, total) => { onProgress?.('download', done, total) } }
}

interface Arrived { readonly expected: string | null, readonly etag: string | null }

/** Reads the file back from the disk. What does not hold is dropped: going on from it would never end well. */
async function verified (path: string, offer: Offer, { expected, etag }: Arrived, { signal, onProgress }: PullOptions): Promise<Version> {
  const { size } = await stat(path)
  const sha256 = await sha256OfFile(path, { signal, onProgress: bytes => { onProgress?.('verify', bytes, size) } })
  try {
    if (expected !== null && sha256 !== expected) throw new Error(mismatch(offer, expected, sha256))
    return versionOf(path, offer, { sha256, bytes: size, etag })
  } catch (thrown) {
    await dropPartial(path)
    throw thrown
  }
}

function mismatch ({ source, digestFrom }: Offer, expected: string, got: string): string {
  if (digestFrom === 'first_pull') {
    return `${source.id} has changed: sha256 ${got}, where the first pull had ${expected}. It was dropped. If the new file is wanted, say so: --sha256 ${got}`
  }
  return `${source.id}: expected sha256 ${expected}, got ${got}. The file was damaged on its way or is another one; it was dropped. Pull again.`
}

function versionOf (path: string, { source, file, digestFrom }: Offer, facts: Pick<Version, 'sha256' | 'bytes' | 'etag'>): Version {
  const head = readGguf(path)
  if (head.splits > 1) throw new Error(`${printable(file)} is one of ${head.splits} parts, and a worker loads one file. Join them (llama-gguf-split --merge) and pull the file.`)
  return {
    ...facts,
    file: printable(file),
    source: source.id,
    revision: source.kind === 'hub' ? source.revision : null,
    digestFrom,
    licence: licenceOf(head, facts.sha256),
    quantisation: quantisationOf(head.fileType),
    architecture: printable(head.architecture, 64),
    parameters: head.parameters,
    contextTokens: head.contextTokens,
    pulledAt: new Date().toISOString()
  }
}

/** Records what was accepted, though it be the licence of another model: the operator has read it. */
async function accept ({ licence }: Version, { folder, acceptLicences = [], signal, onNote }: PullOptions) {
  if (acceptLicences.length === 0) return readManifest(folder)
  for (const other of acceptLicences) if (other !== licence) onNote?.(`--accept-licence ${other}: the licence of this model is ${licence}.`)
  return changeManifest(folder, manifest => ({ ...manifest, licences: withAccepted(manifest.licences, acceptLicences, new Date()) }), signal)
}
