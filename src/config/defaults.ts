/** What runs when there is no configuration file: one local model, and every cloud provider whose key is in the environment. */
import { availableParallelism } from 'node:os'
import { basename, resolve } from 'node:path'
import { check } from './check.ts'
import { conform } from './conform.ts'
import { applyEnvironment, isSet } from './environment.ts'
import { PRESETS } from './presets.ts'
import { isPulled, pulledName } from './pulled.ts'
import { ConfigError, formatPath, placeless } from './problems.ts'
import { PROVIDERS, type Provider } from './providers.ts'
import { Config } from './schema.ts'

/** The small model that comes along. */
export interface BuiltinModel { readonly name: string, readonly path: string, readonly sha256: string, readonly contextTokens: number }

export interface DefaultOptions {
  readonly builtin: BuiltinModel
  /** A GGUF file to serve instead of the built-in model, relative to the working folder, or `model:NAME`. */
  readonly model?: string
}

/** @throws ConfigError when a variable that replaces a base URL holds none that may be used; the text is not in the message */
export function defaultConfig (env: NodeJS.ProcessEnv, { builtin, model }: DefaultOptions): Config {
  const local = model === undefined ? builtinModel(builtin) : ownModel(model)
  const providers = PROVIDERS.filter(({ key }) => isSet(env, key))
  const { value, findings } = conform(Config, {
    backends: [{ name: 'local', kind: 'pool', models: [local] }, ...providers.map(provider => cloudBackend(provider, env))],
    models: [{ name: local.name, targets: [{ backend: 'local', model: local.name }] }, ...providers.flatMap(publicNames)],
    tenants: [{ name: 'default' }]
  })
  if (findings.length > 0) throw new ConfigError(findings.map(({ path, message }) => placeless(formatPath(path), message)))
  const config = value as Config
  assertBaseUrls(config, env)
  return config
}

/** Nobody wrote `backends[1].baseUrl`, so what is wrong with it is told of the variable it came from. */
function assertBaseUrls (config: Config, env: NodeJS.ProcessEnv): void {
  const problems = check(applyEnvironment(config, env)).flatMap(({ path: [section, index, member], message }) => {
    if (section !== 'backends' || member !== 'baseUrl') return []
    const backend = config.backends[Number(index)]
    const variable = PROVIDERS.find(({ name }) => name === backend?.name)?.baseUrlVariable
    return [placeless(variable ?? `${backend?.name}.baseUrl`, message)]
  })
  if (problems.length > 0) throw new ConfigError(problems)
}

function builtinModel ({ name, path, sha256, contextTokens }: BuiltinModel) {
  // It is so small that handing the numbers to a GPU would take longer than computing them here.
  return { name, path: resolve(path), sha256, contextTokens, slots: 4, threads: 1, gpu: false }
}

const MOST_THREADS = 8

function ownModel (path: string) {
  // One core stays free for the gateway, which would otherwise wait behind its own worker.
  const threads = Math.max(1, Math.min(availableParallelism() - 1, MOST_THREADS))
  return { name: isPulled(path) ? pulledName(path) : modelNameOf(path), path: isPulled(path) ? path : resolve(path), contextTokens: 4096, slots: 4, threads, gpu: 'auto' }
}

/** `Qwen3 0.6B-Q8_0-00001-of-00002.gguf` is called `qwen3-0.6b-q8_0`. */
export function modelNameOf (path: string): string {
  const name = basename(path).toLowerCase().replace(/\.gguf$/, '').replace(/-\d{5}-of-\d{5}$/, '')
  return name.replaceAll(/[^a-z0-9._-]+/g, '-').replace(/^[^a-z0-9]+/, '').slice(0, 64) || 'model'
}

function cloudBackend ({ name, kind = 'openai', key, baseUrl, baseUrlVariable, responses = false }: Provider, env: NodeJS.ProcessEnv) {
  const own = ownBaseUrl(baseUrlVariable, env)
  const isOwn = own !== null
  return { name, kind, ...kind === 'openai' && !isOwn && Object.hasOwn(PRESETS, name) && { preset: name }, baseUrl: own ?? baseUrl, locality: 'cloud', apiKey: { env: key }, ...responses && !isOwn && { responses } }
}

function ownBaseUrl (variable: string | null, env: NodeJS.ProcessEnv): string | null {
  const text = variable === null ? '' : env[variable]?.trim() ?? ''
  if (variable === null || text === '') return null
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) throw new ConfigError([placeless(variable, 'expected a URL that starts with http:// or https://')])
  return text.replace(/\/+$/, '')
}

/** `groq/llama-3` always works; the names that only one provider uses also work alone. */
function publicNames ({ name, bare }: Provider) {
  return [
    { name: `${name}/*`, targets: [{ backend: name, model: '*' }] },
    ...bare.map(pattern => ({ name: pattern, targets: [{ backend: name, model: pattern }] }))
  ]
}
