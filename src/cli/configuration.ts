import { resolve } from 'node:path'
import { checkFiles } from '../config/check.ts'
import { defaultConfig } from '../config/defaults.ts'
import { adoptConfig, loadConfig, type LoadedConfig } from '../config/load.ts'
import { ConfigError } from '../config/problems.ts'
import { checkSecrets } from '../config/secrets.ts'
import { BUILTIN_MODEL } from '../models/builtin.ts'

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
  const model = options.model === undefined ? {} : { model: resolve(options.model) }
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

/** Before a start: the files and secrets that the configuration names are there. */
export function assertSurroundings (loaded: LoadedConfig, env: NodeJS.ProcessEnv): void {
  const problems = [...checkFiles(loaded.config), ...checkSecrets(loaded.config, env)].map(finding => loaded.place(finding))
  if (problems.some(({ severity }) => severity === 'error')) throw new ConfigError(problems)
}
