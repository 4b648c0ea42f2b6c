import { resolve } from 'node:path'
import { applyEnvironment, defaultConfig } from '../config/defaults.ts'
import { loadConfig, type LoadedConfig } from '../config/load.ts'
import { builtin } from '../models/builtin.ts'

export interface ConfigurationOptions {
  readonly config?: string
  readonly model?: string
  readonly host?: string
  readonly port?: number
  readonly adminPort?: number
  readonly dataDir?: string
}

/**
 * The configuration a command works with: the file, or the defaults; then the environment; then the flags.
 * @throws ConfigError naming file, line, path, what was found and what would be right
 */
export function configurationFor (options: ConfigurationOptions, env: NodeJS.ProcessEnv): LoadedConfig {
  const loaded = options.config === undefined
    ? defaultConfig(env, { builtin, ...(options.model !== undefined && { model: resolve(options.model) }) })
    : loadConfig(options.config, { env })
  const { server, admin, ...rest } = applyEnvironment(loaded.config, env)
  const config = {
    ...rest,
    server: { ...server, ...(options.host !== undefined && { host: options.host }), ...(options.port !== undefined && { port: options.port }) },
    admin: { ...admin, ...(options.adminPort !== undefined && { port: options.adminPort }) },
    ...(options.dataDir !== undefined && { dataDir: resolve(options.dataDir) })
  }
  return { ...loaded, config }
}
