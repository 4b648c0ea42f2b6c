/** Where secrets are found. A value goes to whoever asked for it and nowhere else: not into a message, not into a log. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { isSet } from './environment.ts'
import { ConfigError, placeless, type Finding, type Path } from './problems.ts'
import type { BackendConfig, Config, PoolConfig, Secret } from './schema.ts'

const LARGEST_SECRET_BYTES = 64 * 1024

export interface SecretOptions {
  /** Path in the configuration, for messages: `backends[1].apiKey`. */
  readonly path: string
  readonly env: NodeJS.ProcessEnv
}

/**
 * The secret's text. When `NAME` is unset and `NAME_FILE` is set, the file of that name is read, as containers do it.
 * White space at the end is dropped.
 * @throws ConfigError naming `path` and what would be right, never the value
 */
export function resolveSecret (secret: Secret, { path, env }: SecretOptions): string {
  const found = read(secret, env)
  if ('fault' in found) throw new ConfigError([placeless(path, found.fault)], { cause: found.cause })
  return found.text
}

/** Every secret of the configuration that cannot be had. */
export function checkSecrets (config: Config, env: NodeJS.ProcessEnv): Finding[] {
  return secretsOf(config).flatMap(({ path, secret }): Finding[] => {
    const found = read(secret, env)
    return 'fault' in found ? [{ path, message: found.fault, severity: 'error' }] : []
  })
}

function secretsOf (config: Config): { path: Path, secret: Secret }[] {
  const keys = config.backends.flatMap((backend, index) => backend.kind === 'pool' ? [] : keysOf(backend, ['backends', index]))
  const redis = config.state.redis
  return redis === undefined ? keys : [{ path: ['state', 'redis', 'url'], secret: redis.url }, ...keys]
}

function keysOf ({ apiKey, apiKeys = [] }: Exclude<BackendConfig, PoolConfig>, path: Path): { path: Path, secret: Secret }[] {
  const one = apiKey === undefined ? [] : [{ path: [...path, 'apiKey'], secret: apiKey }]
  return [...one, ...apiKeys.map(({ key }, at) => ({ path: [...path, 'apiKeys', at, 'key'], secret: key }))]
}

type Found = { readonly text: string } | { readonly fault: string, readonly cause?: unknown }

function read (secret: Secret, env: NodeJS.ProcessEnv): Found {
  if ('file' in secret) return readFile(secret.file, `the file ${secret.file}`)
  if ('command' in secret) return run(secret, env)
  const { env: name } = secret
  if ((env[name] ?? '') !== '') return clean(env[name]!, `the environment variable ${name}`)
  if (!isSet(env, name)) return { fault: `the environment variable ${name} is not set, nor is ${name}_FILE` }
  return readFile(env[`${name}_FILE`]!, `the file that ${name}_FILE names`)
}

function readFile (path: string, subject: string): Found {
  try {
    const bytes = readFileSync(path)
    if (bytes.length > LARGEST_SECRET_BYTES) return { fault: `${subject} is larger than ${LARGEST_SECRET_BYTES} bytes, so it is hardly a secret` }
    return clean(bytes.toString('utf8'), subject)
  } catch (cause) {
    return { fault: `${subject} cannot be read${cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : ''}`, cause }
  }
}

/** Its arguments may hold what nobody should read, and so may what it writes to its error stream: neither is ever shown. */
function run ({ command: [program = '', ...args], timeoutMs }: Extract<Secret, { command: unknown }>, env: NodeJS.ProcessEnv): Found {
  const subject = `the command ${basename(program)}`
  const { error, status, signal, stdout } = spawnSync(program, args, {
    env, timeout: timeoutMs, maxBuffer: LARGEST_SECRET_BYTES, stdio: ['ignore', 'pipe', 'ignore'], killSignal: 'SIGKILL'
  })
  const code = error !== undefined && 'code' in error ? String(error.code) : null
  if (code === 'ETIMEDOUT') return { fault: `${subject} did not end within ${timeoutMs} ms` }
  if (code === 'ENOBUFS') return { fault: `${subject} wrote more than ${LARGEST_SECRET_BYTES} bytes, so it is hardly a secret` }
  if (error !== undefined) return { fault: `${subject} cannot be run (${code ?? 'unknown'})` }
  if (status !== 0) return { fault: `${subject} ended with ${status === null ? signal : `status ${status}`}` }
  return clean(stdout.toString('utf8'), `what ${subject} wrote`)
}

/** A line break or another control character would end the header or the command that the secret is put into. */
function clean (raw: string, subject: string): Found {
  const text = raw.trimEnd()
  if (text === '') return { fault: `${subject} is empty` }
  if (/\p{Cc}/u.test(text)) return { fault: `${subject} holds a line break or another control character; expected one line` }
  return { text }
}
