/** From a file to a configuration that is complete, consistent and safe to run. */
import { createHash } from 'node:crypto'
import { dirname, resolve } from 'node:path'
import { check } from './check.ts'
import { conform } from './conform.ts'
import { applyEnvironment } from './environment.ts'
import { isPulled } from './pulled.ts'
import { withPresets } from './presets.ts'
import { ConfigError, formatPath, type Finding, type Problem } from './problems.ts'
import { Config, NAMED_TEMPLATE, type LocalModelConfig, type Secret } from './schema.ts'
import { readSource } from './source.ts'

export interface LoadedConfig {
  /** With defaults, absolute paths and what the environment overrides. */
  readonly config: Config
  /** As it was given; null when no file was. */
  readonly file: string | null
  /** First 12 hex digits of the SHA-256 of `config`: two gateways that answer alike show the same. Secrets are not in it. */
  readonly revision: string
  /** What is allowed but hardly meant. */
  readonly warnings: readonly Problem[]
  /** Tells a finding of checkFiles or checkSecrets with its line in `file`. */
  place (finding: Finding): Problem
}

export interface LoadOptions { readonly env: NodeJS.ProcessEnv }

/**
 * Reads YAML or JSON. Relative paths count from the folder of the file.
 * @throws ConfigError with every problem, not only the first
 */
export function loadConfig (path: string, options: LoadOptions): LoadedConfig {
  const source = readSource(path)
  const place: Place = finding => ({ file: path, ...source.locate(finding.path), ...told(finding) })
  return finish(withAbsolutePaths(conformed(source.value, place), dirname(resolve(path))), path, place, options)
}

/** A configuration that was made, not read: held against the same rules. Relative paths count from the working folder. */
export function adoptConfig (config: Config, options: LoadOptions): LoadedConfig {
  return finish(withAbsolutePaths(conformed(config, nowhere), process.cwd()), null, nowhere, options)
}

type Place = LoadedConfig['place']

function nowhere (finding: Finding): Problem { return { file: null, line: null, column: null, ...told(finding) } }

function told ({ path, message, severity }: Finding): Pick<Problem, 'path' | 'message' | 'severity'> {
  return { path: formatPath(path), message, severity }
}

function conformed (value: unknown, place: Place): Config {
  const { value: config, findings } = conform(Config, withPresets(value))
  if (findings.length > 0) throw new ConfigError(inOrder(findings.map(place)))
  return config as Config
}

function finish (written: Config, file: string | null, place: Place, { env }: LoadOptions): LoadedConfig {
  const config = applyEnvironment(written, env)
  const problems = inOrder(check(config).map(place))
  if (problems.some(({ severity }) => severity === 'error')) throw new ConfigError(problems)
  return { config, file, revision: revisionOf(config), warnings: problems, place }
}

/** As a reader of the file meets them. */
function inOrder (problems: readonly Problem[]): Problem[] {
  return problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0))
}

function withAbsolutePaths (config: Config, folder: string): Config {
  const secret = (found: Secret): Secret => withAbsolutePath(found, folder)
  const redis = config.state.redis
  return {
    ...config,
    dataDir: resolve(folder, config.dataDir),
    state: redis === undefined ? config.state : { ...config.state, redis: { ...redis, url: secret(redis.url) } },
    models: config.models.map(model => {
      const scorer = model.complexity?.scorer
      return scorer === undefined ? model : { ...model, complexity: { ...model.complexity!, scorer: resolve(folder, scorer) } }
    }),
    backends: config.backends.map(backend => {
      if (backend.kind === 'pool') return { ...backend, models: backend.models.map(model => withAbsoluteFiles(model, folder)) }
      const { apiKey, apiKeys } = backend
      return {
        ...backend,
        ...apiKey !== undefined && { apiKey: secret(apiKey) },
        ...apiKeys !== undefined && { apiKeys: apiKeys.map(({ key, ...rest }) => ({ ...rest, key: secret(key) })) }
      }
    })
  }
}

/** A program without a folder is looked for in PATH. */
function withAbsolutePath (secret: Secret, folder: string): Secret {
  if ('file' in secret) return { file: resolve(folder, secret.file) }
  if (!('command' in secret)) return secret
  const [program = '', ...args] = secret.command
  return program.includes('/') ? { ...secret, command: [resolve(folder, program), ...args] } : secret
}

function withAbsoluteFiles (model: LocalModelConfig, folder: string): LocalModelConfig {
  const { path, chatTemplate, spill } = model
  return {
    ...model,
    path: isPulled(path) ? path : resolve(folder, path),
    ...chatTemplate !== undefined && chatTemplate !== NAMED_TEMPLATE && { chatTemplate: resolve(folder, chatTemplate) },
    ...spill !== undefined && { spill: { ...spill, folder: resolve(folder, spill.folder) } }
  }
}

function revisionOf (config: Config): string {
  return createHash('sha256').update(JSON.stringify(config)).digest('hex').slice(0, 12)
}
