/** `path: model:NAME` in a configuration -> the file that was pulled under this name, if it may be served. */
import { dirname } from 'node:path'
import { nearest } from '../config/nearest.ts'
import { quoted, type Finding } from '../config/problems.ts'
import { isPulled, pulledName } from '../config/pulled.ts'
import type { Config, LocalModelConfig } from '../config/schema.ts'
import { isAccepted } from './licence.ts'
import { entryOf, versionsOf, type Manifest, type Version } from './manifest.ts'
import { faultOfVersion, fileOf, modelsFolder, readManifest } from './versions.ts'

export interface ResolvedConfig {
  /** With real paths, and the digest that was verified when the model was pulled. */
  readonly config: Config
  /** What stands in the way; then the paths are as they were. */
  readonly findings: readonly Finding[]
}

/** Reads the manifest, and only if some model wants it. */
export function resolvePulled (config: Config): ResolvedConfig {
  const findings: Finding[] = []
  if (!config.backends.some(backend => backend.kind === 'pool' && backend.models.some(({ path }) => isPulled(path)))) return { config, findings }
  const folder = modelsFolder(config.dataDir)
  const manifest = manifestOrFault(folder)
  const backends = config.backends.map((backend, index) => backend.kind !== 'pool' ? backend : {
    ...backend,
    models: backend.models.map((model, at) => {
      if (!isPulled(model.path)) return model
      const found = typeof manifest === 'string' ? manifest : find(model, manifest, folder)
      if (typeof found !== 'string') return { ...model, path: fileOf(folder, found.sha256), sha256: found.sha256 }
      findings.push({ path: ['backends', index, 'models', at, 'path'], message: found, severity: 'error' })
      return model
    })
  })
  return { config: { ...config, backends }, findings }
}

function manifestOrFault (folder: string): Manifest | string {
  try {
    return readManifest(folder)
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown)
  }
}

/** @returns the version to serve, or why there is none and which command helps */
function find ({ path, sha256 }: LocalModelConfig, manifest: Manifest, folder: string): Version | string {
  const name = pulledName(path)
  const command = 'torchgate models'
  const where = `--data-dir ${dirname(folder)}`
  const entry = entryOf(manifest, name)
  if (entry === null) {
    const meant = nearest(name, manifest.models.map(model => model.name))
    const hint = meant === null ? '' : `did you mean model:${meant}? If not, `
    return `no model ${quoted(name)} has been pulled; ${hint}pull it: ${command} pull hf:OWNER/REPO:QUANTISATION --name ${name} ${where}`
  }
  const version = versionsOf(entry).find(candidate => sha256 === undefined || candidate.sha256 === sha256)
  if (version === undefined) return `neither version of ${name} has the sha256 that stands beside it; ${command} show ${name} ${where} tells those they have`
  if (!isAccepted(version.licence, manifest.licences)) {
    return `the licence of ${name} is ${version.licence}, and it has not been accepted; read it, then: ${command} accept ${version.licence} ${where}`
  }
  const fault = faultOfVersion(folder, version)
  return fault === null ? version : `${fault}; pull it again: ${command} pull ${version.source} --name ${name} ${where}`
}
