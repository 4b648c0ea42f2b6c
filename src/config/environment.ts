/** Environment variables that override the configuration, for containers and quick starts. */
import { ConfigError, placeless, quoted, type Problem } from './problems.ts'
import type { Config } from './schema.ts'

/** docs/configuration.md prints this table. */
export const ENVIRONMENT = {
  HOST: { overrides: 'server.host', says: 'Address of the API.' },
  PORT: { overrides: 'server.port', says: 'Port of the API; 0 takes a free one.' },
  ADMIN_HOST: { overrides: 'admin.host', says: 'Address of metrics, health and the admin API.' },
  ADMIN_PORT: { overrides: 'admin.port', says: 'Port of metrics, health and the admin API; 0 takes a free one.' },
  REDIS_URL: { overrides: 'state.redis.url', says: 'Redis or Valkey for limits that are exact across replicas. `REDIS_URL_FILE` names a file that holds it.' }
} as const

const DEFAULT_REDIS_TIMEOUT_MS = 50

/**
 * The configuration with what the environment overrides. An empty variable counts as unset.
 * @throws ConfigError naming every variable at fault
 */
export function applyEnvironment (config: Config, env: NodeJS.ProcessEnv): Config {
  const problems: Problem[] = []
  const port = (name: 'PORT' | 'ADMIN_PORT', written: number) => {
    const text = env[name]?.trim() ?? ''
    if (text === '') return written
    if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text)
    problems.push(placeless(name, `expected a number from 0 to 65535, got ${quoted(text)}`))
    return written
  }
  const host = (name: 'HOST' | 'ADMIN_HOST', written: string) => env[name]?.trim() || written
  const server = { ...config.server, host: host('HOST', config.server.host), port: port('PORT', config.server.port) }
  const admin = { ...config.admin, host: host('ADMIN_HOST', config.admin.host), port: port('ADMIN_PORT', config.admin.port) }
  if (problems.length > 0) throw new ConfigError(problems)
  return { ...config, server, admin, state: withRedis(config.state, env) }
}

function withRedis (state: Config['state'], env: NodeJS.ProcessEnv): Config['state'] {
  if (!isSet(env, 'REDIS_URL')) return state
  return { ...state, redis: { timeoutMs: state.redis?.timeoutMs ?? DEFAULT_REDIS_TIMEOUT_MS, url: { env: 'REDIS_URL' } } }
}

/** True when the variable, or its twin that names a file (`NAME_FILE`), says something. */
export function isSet (env: NodeJS.ProcessEnv, name: string): boolean {
  return (env[name] ?? '') !== '' || (env[`${name}_FILE`] ?? '') !== ''
}
