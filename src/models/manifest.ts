/** What has been pulled: manifest.json beside the files. Changes are pure; the file itself is versions.ts's. */
import type { Acceptance } from './licence.ts'

/** One file, named by its digest. */
export interface Version {
  readonly sha256: string
  readonly bytes: number
  /** As its publisher calls it. */
  readonly file: string
  readonly source: string
  /** Branch, tag or commit of the repository it was asked at; null when it is from none. */
  readonly revision: string | null
  /** Of the server that sent it, to see whether there is something new; null when it sent none. */
  readonly etag: string | null
  /** Who said what the digest has to be; `first_pull` means nobody did, and it is what came. */
  readonly digestFrom: 'hub' | 'operator' | 'first_pull'
  readonly licence: string
  readonly quantisation: string
  readonly architecture: string
  readonly parameters: number
  readonly contextTokens: number | null
  readonly pulledAt: string
}

export interface Entry { readonly name: string, readonly current: Version, readonly previous: Version | null }

export interface Manifest {
  readonly version: 1
  readonly models: readonly Entry[]
  readonly licences: readonly Acceptance[]
}

export const NO_MODELS: Manifest = { version: 1, models: [], licences: [] }

export function entryOf ({ models }: Manifest, name: string): Entry | null {
  return models.find(entry => entry.name === name) ?? null
}

/** The version before becomes the previous one; one that comes back trades places with what it was replaced by. */
export function withVersion (manifest: Manifest, name: string, version: Version): Manifest {
  const before = entryOf(manifest, name)
  const previous = before === null ? null : before.current.sha256 === version.sha256 ? before.previous : before.current
  return withEntry(manifest, { name, current: version, previous })
}

/** @returns null when there is nothing to go back to */
export function rolledBack (manifest: Manifest, name: string): Manifest | null {
  const entry = entryOf(manifest, name)
  if (entry === null || entry.previous === null) return null
  return withEntry(manifest, { name, current: entry.previous, previous: entry.current })
}

export function without (manifest: Manifest, name: string): Manifest {
  return { ...manifest, models: manifest.models.filter(entry => entry.name !== name) }
}

function withEntry (manifest: Manifest, entry: Entry): Manifest {
  const models = [...without(manifest, entry.name).models, entry].toSorted((a, b) => a.name < b.name ? -1 : 1)
  return { ...manifest, models }
}

export function versionsOf ({ current, previous }: Entry): readonly Version[] {
  return previous === null ? [current] : [current, previous]
}

/** Digests that some model has, now or before. */
export function digestsOf ({ models }: Manifest): ReadonlySet<string> {
  return new Set(models.flatMap(entry => versionsOf(entry).map(({ sha256 }) => sha256)))
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/
const DIGEST = /^[0-9a-f]{64}$/

export function isModelName (name: string): boolean { return NAME.test(name) }
export function isDigest (text: string): boolean { return DIGEST.test(text) }

/** @throws Error when the text is no manifest: what it names becomes the name of a file, so nothing is taken on trust */
export function parseManifest (text: string): Manifest {
  const value = JSON.parse(text) as Partial<Manifest>
  if (value.version !== 1) throw new Error(`version 1 is expected, got ${JSON.stringify(value.version)}.`)
  if (!Array.isArray(value.models) || !Array.isArray(value.licences)) throw new Error('the lists of models and licences are missing.')
  for (const entry of value.models as Entry[]) assertEntry(entry)
  if (!value.licences.every(({ licence }: Acceptance) => typeof licence === 'string')) throw new Error('a licence has no name.')
  return value as Manifest
}

function assertEntry (entry: Entry): void {
  const { name } = entry
  if (typeof name !== 'string' || !isModelName(name)) throw new Error('a model has no name that may be one.')
  for (const version of versionsOf(entry)) {
    if (typeof version?.sha256 !== 'string' || !isDigest(version.sha256)) throw new Error(`${name} has no sha256.`)
    if (!Number.isSafeInteger(version.bytes) || typeof version.licence !== 'string' || typeof version.source !== 'string') throw new Error(`${name} lacks its size, licence or source.`)
  }
}
