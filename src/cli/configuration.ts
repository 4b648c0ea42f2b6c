import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { checkFiles } from '../config/check.ts'
import { defaultConfig } from '../config/defaults.ts'
import { adoptConfig, loadConfig, type LoadedConfig } from '../config/load.ts'
import { isPulled } from '../config/pulled.ts'
import { ConfigError, formatPath, type Finding, type Problem } from '../config/problems.ts'
import { checkSecrets } from '../config/secrets.ts'
import { BUILTIN_MODEL } from '../models/builtin.ts'
import { resolvePulled } from '../models/pulled.ts'
import { readScorer } from '../policy/scorer.ts'

export interface ConfigurationOptions {
  readonly config?: string
  readonly model?: string
  readonly host?: string
  readonly port?: number
  readonly adminPort?: number
  readonly dataDir?: string
}

/**
 * The configuration a command works with: the file, or the defaults; over it the environment; over it the flags.
 * @throws ConfigError naming file, line, path, what was found and what would be right; Error for flags that exclude each other
 */
export function configurationFor (options: ConfigurationOptions, env: NodeJS.ProcessEnv): LoadedConfig {
  if (options.config !== undefined && options.model !== undefined) {
    throw new Error('--model goes without --config: a configuration file names its models itself (backends[].models[].path).')
  }
  const merged = { ...env, ...flags(options) }
  const model = options.model === undefined ? {} : { model: isPulled(options.model) ? options.model : resolve(options.model) }
  const loaded = options.config === undefined
    ? adoptConfig(defaultConfig(env, { builtin: BUILTIN_MODEL, ...model }), { env: merged })
    : loadConfig(options.config, { env: merged })
  if (options.dataDir === undefined) return loaded
  return { ...loaded, config: { ...loaded.config, dataDir: resolve(options.dataDir) } }
}

/** A flag says what its variable would have said, so both meet the same checks. */
function flags ({ host, port, adminPort }: ConfigurationOptions): NodeJS.ProcessEnv {
  return {
    ...(host !== undefined && { HOST: host }),
    ...(port !== undefined && { PORT: String(port) }),
    ...(adminPort !== undefined && { ADMIN_PORT: String(adminPort) })
  }
}

/** What a configuration names outside itself: files, pulled models, secrets. */
export interface Surroundings {
  /** With the real paths of pulled models. */
  readonly loaded: LoadedConfig
  readonly problems: readonly Problem[]
}

export function surroundingsOf (loaded: LoadedConfig, env: NodeJS.ProcessEnv): Surroundings {
  const { config, findings } = resolvePulled(loaded.config)
  const isTold = ({ path }: Finding) => findings.some(finding => formatPath(finding.path) === formatPath(path))
  const missing = checkFiles(config).filter(finding => !isTold(finding))
  const all = [...findings, ...missing, ...checkScorers(config), ...checkSecrets(config, env)]
  return { loaded: { ...loaded, config }, problems: all.map(finding => loaded.place(finding)) }
}

/** Of those that are there. */
function checkScorers ({ models }: LoadedConfig['config']): Finding[] {
  return models.flatMap(({ complexity }, index) => {
    if (complexity?.scorer === undefined || !existsSync(complexity.scorer)) return []
    try {
      readScorer(complexity.scorer)
      return []
    } catch (thrown) {
      return [{ path: ['models', index, 'complexity', 'scorer'], message: (thrown as Error).message, severity: 'error' as const }]
    }
  })
}

/** Before a start: what the configuration names is there. @returns it with the real paths of pulled models */
export function assertSurroundings (loaded: LoadedConfig, env: NodeJS.ProcessEnv): LoadedConfig {
  const { loaded: found, problems } = surroundingsOf(loaded, env)
  if (problems.some(({ severity }) => severity === 'error')) throw new ConfigError(problems)
  return found
}
