import { sha256OfFile } from '../models/digest.ts'
import { isAccepted, withAccepted } from '../models/licence.ts'
import { takeLock } from '../models/lock.ts'
import { entryOf, isDigest, rolledBack, versionsOf, without, type Entry, type Manifest, type Version } from '../models/manifest.ts'
import { dropPartial } from '../models/partial.ts'
import { pull as pullModel } from '../models/pull.ts'
import { shown } from '../models/space.ts'
import { changeManifest, fileOf, modelsFolder, readManifest, underway } from '../models/versions.ts'
import { configurationFor, type ConfigurationOptions } from './configuration.ts'
import { progressOn } from './progress.ts'
import { reported, say } from './reported.ts'

export interface PullCommand extends ConfigurationOptions {
  readonly name?: string
  readonly sha256?: string
  readonly offline: boolean
  readonly acceptLicence: readonly string[]
}

/** `torchgate models pull`: what a configuration names it by comes on standard output, alone, so that it can be piped. */
export function pull (source: string, options: PullCommand, env: NodeJS.ProcessEnv): Promise<number> {
  return interruptibly(async signal => {
    const { name, offline, acceptLicence } = options
    const sha256 = options.sha256?.toLowerCase()
    if (sha256 !== undefined && !isDigest(sha256)) throw new Error('--sha256: expected 64 hexadecimal digits.')
    const progress = progressOn(process.stderr)
    try {
      const pulled = await pullModel(source, {
        folder: folderOf(options, env), signal, env, name, sha256, offline, acceptLicences: acceptLicence, onProgress: progress.update, onNote: progress.note
      })
      progress.end()
      const { version } = pulled
      say(`${pulled.name}: ${told(version)}${pulled.isNew ? '' : ', already here'}.`)
      if (version.digestFrom === 'first_pull') say(`Nobody has said what its sha256 has to be; ${version.sha256} is what came, and what it is held to from now on.`)
      if (!pulled.isAccepted) say(`It is not served before its licence is accepted. Read it, then: torchgate models accept ${version.licence}`)
      process.stdout.write(`model:${pulled.name}\n`)
    } finally {
      progress.end()
    }
  })
}

export interface ListOptions extends ConfigurationOptions { readonly json: boolean }

export function list (options: ListOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return reported(async () => {
    const folder = folderOf(options, env)
    const manifest = readManifest(folder)
    if (options.json) { printJson(manifest.models.map(entry => shownEntry(entry, manifest, folder))); return }
    for (const { name, current, previous } of manifest.models) {
      const before = previous === null ? '' : `, before that ${previous.sha256.slice(0, 12)}`
      process.stdout.write(`${name}  ${current.quantisation}  ${shown(current.bytes)}  ${licenceState(current, manifest)}  ${current.source}  ${current.sha256.slice(0, 12)}${before}\n`)
    }
    for (const { name, source, bytes, total } of await underway(folder)) {
      say(`${name}: ${shown(bytes)} of ${total === null ? 'an unknown size' : shown(total)} are here; torchgate models pull ${source} goes on.`)
    }
  })
}

export function show (name: string, options: ListOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return reported(async () => {
    const folder = folderOf(options, env)
    const manifest = readManifest(folder)
    const entry = shownEntry(existing(manifest, name, folder), manifest, folder)
    if (options.json) { printJson(entry); return }
    for (const [which, version] of Object.entries({ current: entry.current, previous: entry.previous })) {
      if (version === null) continue
      process.stdout.write(`${name} (${which})\n`)
      for (const [fact, value] of Object.entries(version)) process.stdout.write(`  ${fact.padEnd(13)}  ${String(value ?? 'unknown')}\n`)
    }
  })
}

/** Reads every byte again. @param name all models when left out */
export function verify (name: string | undefined, options: ConfigurationOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return interruptibly(async signal => {
    const folder = folderOf(options, env)
    const manifest = readManifest(folder)
    const entries = name === undefined ? manifest.models : [existing(manifest, name, folder)]
    const faults: string[] = []
    for (const entry of entries) {
      for (const version of versionsOf(entry)) {
        const fault = await faultOfBytes(fileOf(folder, version.sha256), version, signal)
        process.stdout.write(`${entry.name}  ${version.sha256.slice(0, 12)}  ${fault ?? 'ok'}\n`)
        if (fault !== null) faults.push(entry.name)
      }
    }
    if (faults.length > 0) throw new Error(`${[...new Set(faults)].join(', ')}: not what was pulled. Remove and pull again.`)
  })
}

async function faultOfBytes (path: string, { sha256 }: Version, signal: AbortSignal): Promise<string | null> {
  try {
    const found = await sha256OfFile(path, { signal })
    return found === sha256 ? null : `${path} has sha256 ${found}`
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return `${path} is missing`
    throw thrown
  }
}

/** Both versions, and what has been begun under this name. */
export function remove (name: string, options: ConfigurationOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return interruptibly(async signal => {
    const folder = folderOf(options, env)
    const begun = (await underway(folder)).filter(partial => partial.name === name)
    if (begun.length === 0) existing(readManifest(folder), name, folder)
    for (const { path, source } of begun) {
      await using _lock = await takeLock(`${path}.lock`, { signal, what: `removing ${source}` })
      await dropPartial(path)
    }
    await changeManifest(folder, manifest => entryOf(manifest, name) === null ? manifest : without(manifest, name), signal)
    say(`${name} is removed.`)
  })
}

/** Back to the version before the last pull; the same once more goes forward again. */
export function rollback (name: string, options: ConfigurationOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return interruptibly(async signal => {
    const folder = folderOf(options, env)
    const manifest = await changeManifest(folder, before => {
      existing(before, name, folder)
      const after = rolledBack(before, name)
      if (after === null) throw new Error(`${name} has no version before this one.`)
      return after
    }, signal)
    const { current } = entryOf(manifest, name)!
    say(`${name}: ${told(current)}. A gateway takes it at its next start.`)
  })
}

/** Records that the operator has read a licence and agrees. */
export function accept (licence: string, options: ConfigurationOptions, env: NodeJS.ProcessEnv): Promise<number> {
  return interruptibly(async signal => {
    const folder = folderOf(options, env)
    const manifest = await changeManifest(folder, before => ({ ...before, licences: withAccepted(before.licences, [licence], new Date()) }), signal)
    const names = manifest.models.filter(({ current }) => current.licence === licence).map(({ name }) => name)
    say(`The licence ${licence} is accepted${names.length === 0 ? '; no model here has it yet' : `, for ${names.join(', ')}`}.`)
  })
}

function folderOf (options: ConfigurationOptions, env: NodeJS.ProcessEnv): string {
  return modelsFolder(configurationFor(options, env).config.dataDir)
}

function existing (manifest: Manifest, name: string, folder: string): Entry {
  const entry = entryOf(manifest, name)
  if (entry !== null) return entry
  const names = manifest.models.map(model => model.name)
  throw new Error(`${folder} has no model of this name; it has ${names.length === 0 ? 'none at all' : names.join(', ')}.`)
}

function shownEntry ({ name, current, previous }: Entry, manifest: Manifest, folder: string) {
  const shownVersion = (version: Version) => ({ ...version, isAccepted: isAccepted(version.licence, manifest.licences), path: fileOf(folder, version.sha256) })
  return { name, current: shownVersion(current), previous: previous === null ? null : shownVersion(previous) }
}

function told ({ quantisation, bytes, licence, sha256 }: Version): string {
  return `${quantisation}, ${shown(bytes)}, licence ${licence}, sha256 ${sha256.slice(0, 12)}…`
}

function licenceState ({ licence }: Version, { licences }: Manifest): string {
  return `${licence}${isAccepted(licence, licences) ? '' : ' (not accepted)'}`
}

function printJson (value: unknown): void { process.stdout.write(`${JSON.stringify(value, null, 2)}\n`) }

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const

/** The first Ctrl-C stops at the next safe place, the second at once. @returns the exit code; 128 and its number for a signal */
async function interruptibly (work: (signal: AbortSignal) => Promise<void>): Promise<number> {
  const stopping = new AbortController()
  let by: keyof typeof EXIT_CODES | null = null
  const stop = (signal: keyof typeof EXIT_CODES) => {
    by ??= signal
    stopping.abort(new Error('stopped. What has arrived is kept; the same command goes on from there.'))
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  try {
    const code = await reported(() => work(stopping.signal))
    return by !== null && code !== 0 ? EXIT_CODES[by] : code
  } finally {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
}
