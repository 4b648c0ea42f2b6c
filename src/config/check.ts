/** What a schema cannot say: whether the parts of a configuration fit each other. Pure, but for checkFiles. */
import { accessSync, constants, statSync } from 'node:fs'
import { BlockList, isIP } from 'node:net'
import { nearest } from './nearest.ts'
import { PRESETS } from './presets.ts'
import { listed, type Finding, type Path } from './problems.ts'
import { PROVIDERS } from './providers.ts'
import { checkReach, rank } from './reach.ts'
import { DATA_CLASSES, LOCALITIES, NAMED_TEMPLATE, type BackendConfig, type Config, type ModelConfig, type PoolConfig, type TargetConfig } from './schema.ts'

/** Everything that does not fit, errors and warnings, in no particular order of weight. */
export function check (config: Config): Finding[] {
  return [
    ...checkPorts(config),
    ...checkBoundaries(config),
    ...checkNetworks(config),
    ...checkNames(config),
    ...config.backends.flatMap((backend, index) => backend.kind === 'pool' ? checkPool(backend, index) : checkUpstream(backend, index, config)),
    ...config.models.flatMap((model, index) => model.targets.flatMap((target, at) => checkTarget(config, model, target, ['models', index, 'targets', at]))),
    ...config.models.flatMap((model, index) => [...checkComplexity(model, ['models', index]), ...checkLot(model, ['models', index])]),
    ...checkLimits(config),
    ...checkReach(config)
  ]
}

function error (path: Path, message: string): Finding { return { path, message, severity: 'error' } }
function warning (path: Path, message: string): Finding { return { path, message, severity: 'warning' } }

function checkPorts ({ server, admin }: Config): Finding[] {
  if (server.port !== admin.port || server.port === 0) return []
  return [error(['admin', 'port'], `${admin.port} is also the port of the API (server.port); expected another`)]
}

function checkBoundaries ({ policy: { boundaries } }: Config): Finding[] {
  return DATA_CLASSES.slice(1).flatMap((higher, index) => {
    const lower = DATA_CLASSES[index]!
    if (rank(boundaries[higher]) <= rank(boundaries[lower])) return []
    const choices = LOCALITIES.filter(locality => rank(locality) <= rank(boundaries[lower]))
    return [error(['policy', 'boundaries', higher], `expected ${listed(choices)}, because ${lower} data may go no farther than ${boundaries[lower]}; got "${boundaries[higher]}"`)]
  })
}

function checkNetworks ({ egress }: Config): Finding[] {
  return egress.domainNetworks.flatMap((network, index) => {
    const fault = faultOfNetwork(network)
    return fault === null ? [] : [error(['egress', 'domainNetworks', index], fault)]
  })
}

function faultOfNetwork (network: string): string | null {
  const [, address = '', prefix = ''] = /^([^/]+)\/(\d{1,3})$/.exec(network) ?? []
  const family = isIP(address)
  if (family === 0 || Number(prefix) > (family === 4 ? 32 : 128)) return 'expected a range in CIDR form such as 203.0.113.0/24 or 2001:db8::/32'
  return Number(prefix) === 0 ? 'holds every address there is, so nothing would be cloud; expected a narrower range' : null
}

function checkNames (config: Config): Finding[] {
  return [
    ...repeated(config.backends, ['backends']),
    ...config.backends.flatMap((backend, index) => backend.kind === 'pool' ? repeated(backend.models, ['backends', index, 'models']) : []),
    ...repeated(config.models, ['models']),
    ...repeated(config.tenants, ['tenants'])
  ]
}

function repeated (items: readonly { readonly name: string }[], path: Path): Finding[] {
  const first = new Map<string, number>()
  return items.flatMap(({ name }, index) => {
    const before = first.get(name)
    if (before === undefined) first.set(name, index)
    return before === undefined ? [] : [error([...path, index, 'name'], `"${name}" is already the name of ${path.at(-1)}[${before}]; expected another`)]
  })
}

function checkPool ({ restart, models, queue }: PoolConfig, index: number): Finding[] {
  const path = ['backends', index]
  const backoff = restart.maxBackoffMs >= restart.backoffMs
    ? []
    : [error([...path, 'restart', 'maxBackoffMs'], `expected at least ${restart.backoffMs}, as backoffMs is; got ${restart.maxBackoffMs}`)]
  const demand = models.find(({ load }) => load === 'demand')
  if (demand === undefined || queue.length > 0) return backoff
  return [...backoff, error([...path, 'queue', 'length'], `expected at least 1, because calls for ${demand.name} wait while it is loaded on demand; got 0`)]
}

/** A backend behind a URL. */
type UpstreamConfig = Exclude<BackendConfig, PoolConfig>

function checkUpstream (backend: UpstreamConfig, index: number, config: Config): Finding[] {
  const path = ['backends', index]
  return [...checkUrl(backend, [...path, 'baseUrl'], config), ...checkLocality(backend, [...path, 'locality']), ...checkHeaders(backend, [...path, 'headers']), ...checkAzure(backend, path), ...checkKeys(backend, path)]
}

function checkKeys ({ apiKey, apiKeys = [] }: UpstreamConfig, path: Path): Finding[] {
  const both = apiKey !== undefined && apiKeys.length > 0
  return [...both ? [error([...path, 'apiKeys'], 'expected either apiKey or apiKeys')] : [], ...repeated(apiKeys, [...path, 'apiKeys'])]
}

function checkAzure (backend: UpstreamConfig, path: Path): Finding[] {
  if (backend.kind !== 'azure') return []
  return [
    ...backend.api === 'v1' || backend.apiVersion !== undefined ? [] : [error([...path, 'apiVersion'], 'missing; expected a version such as 2024-10-21, because api is deployments')],
    ...backend.api === 'v1' || backend.responses !== true ? [] : [error([...path, 'responses'], 'expected false, or api: v1, which alone has them')]
  ]
}

function checkUrl (backend: UpstreamConfig, path: Path, { server, admin }: Config): Finding[] {
  if (!URL.canParse(backend.baseUrl)) return [error(path, 'expected a whole URL, such as https://api.example.com/v1')]
  const url = new URL(backend.baseUrl)
  const insecure = url.protocol === 'http:' && backend.locality === 'cloud' && !backend.allowInsecure && !isLoopback(url)
  const own = isLoopback(url) && [server.port, admin.port].some(port => port !== 0 && String(port) === url.port)
  return [
    // The URL itself stays out of the messages: what stands before the @ or behind the ? is often a key.
    ...url.username + url.password === '' ? [] : [error(path, 'expected no user name or password; name the key in apiKey')],
    ...url.search + url.hash === '' && !/[?#]/.test(backend.baseUrl) ? [] : [error(path, 'expected no ?query and no #fragment')],
    ...backend.kind === 'anthropic' && /\/v1(\/messages)?\/?$/.test(url.pathname) ? [error(path, 'expected nothing of /v1/messages; the gateway adds it')] : [],
    ...backend.kind === 'gemini' && /\/v1(beta)?(\/|$)/.test(url.pathname) ? [error(path, 'expected nothing of /v1beta; the gateway adds it')] : [],
    ...backend.kind === 'azure' && /\/openai(\/|$)/.test(url.pathname) ? [error(path, 'expected nothing of /openai; the gateway adds it')] : [],
    ...insecure ? [error(path, 'http:// would send prompts and the key in the clear; expected https://, or allowInsecure: true to accept that')] : [],
    ...own ? [error(path, `port ${url.port} of this host is this gateway itself; calls would run in a circle`)] : []
  ]
}

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

function isLoopback ({ hostname }: URL): boolean {
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const family = isIP(host)
  return family === 0 ? host === 'localhost' || host.endsWith('.localhost') : LOOPBACK.check(host, family === 4 ? 'ipv4' : 'ipv6')
}

const THIRD_PARTIES: ReadonlySet<string> = new Set([...PROVIDERS, ...Object.values(PRESETS).filter(({ locality }) => locality === 'cloud')].map(({ baseUrl }) => new URL(baseUrl).hostname))
const THIRD_PARTY_DOMAINS = /\.(openai|services\.ai|cognitiveservices)\.azure\.com$/

/** Whatever the configuration says, a provider we know is not inside the house. */
function checkLocality ({ baseUrl, locality }: UpstreamConfig, path: Path): Finding[] {
  const host = URL.canParse(baseUrl) ? new URL(baseUrl).hostname : ''
  return locality === 'cloud' || !(THIRD_PARTIES.has(host) || THIRD_PARTY_DOMAINS.test(host)) ? [] : [error(path, `expected cloud, because ${host} is a third party; got "${locality}"`)]
}

const SECRET_HEADERS = /^(proxy-)?authorization$|^cookie$|api-?key|token|secret/i
const OWN_HEADERS = /^(host|connection|content-length|content-type|content-encoding|transfer-encoding|accept-encoding|te|trailer|upgrade|expect|keep-alive|x-torchgate-hops)$/i

function checkHeaders ({ headers }: UpstreamConfig, path: Path): Finding[] {
  return Object.keys(headers).flatMap(name => {
    if (SECRET_HEADERS.test(name)) return [error([...path, name], 'holds a secret by its name; name the key in apiKey')]
    return OWN_HEADERS.test(name) ? [error([...path, name], 'is set by the gateway itself')] : []
  })
}

function checkTarget (config: Config, { name }: ModelConfig, target: TargetConfig, path: Path): Finding[] {
  const backend = config.backends.find(candidate => candidate.name === target.backend)
  if (backend === undefined) return [error([...path, 'backend'], `no backend is named "${target.backend}"; ${known(target.backend, config.backends)}`)]
  if (backend.kind === 'pool') {
    const found = backend.models.some(model => model.name === target.model)
    return found ? [] : [error([...path, 'model'], `pool ${backend.name} has no model "${target.model}"; ${known(target.model, backend.models)}`)]
  }
  const stars = target.model.split('*').length - 1
  if (stars > 1) return [error([...path, 'model'], 'expected at most one `*`')]
  if (stars === 1 && !name.endsWith('*')) return [error([...path, 'model'], `\`*\` has nothing to stand for, because the public name "${name}" does not end in \`*\``)]
  return []
}

const MOST_NAMED = 10

function known (written: string, items: readonly { readonly name: string }[]): string {
  const names = items.map(({ name }) => name)
  const meant = nearest(written, names)
  if (meant !== null) return `did you mean \`${meant}\`?`
  return `expected ${names.length > MOST_NAMED ? `one of ${names.length} names` : listed(names)}`
}

function checkLimits ({ tenants, limits }: Config): Finding[] {
  return tenants.flatMap((tenant, index) => {
    const { tokensPerMinute = Infinity } = tenant.limits
    if (tokensPerMinute >= limits.assumedOutputTokens) return []
    return [warning(['tenants', index, 'limits', 'tokensPerMinute'],
      `is less than limits.assumedOutputTokens (${limits.assumedOutputTokens}), so a call that sets no max_completion_tokens is always refused`)]
  })
}

/** Model files that are not there or cannot be read. Reads the file system; the paths must be absolute, as loadConfig makes them. */
function checkComplexity ({ order, complexity }: ModelConfig, path: Path): Finding[] {
  if (complexity === undefined) return []
  if (order !== 'complexity') return [warning([...path, 'complexity'], `has no effect with order: ${order}`)]
  if (complexity.scorer === undefined || complexity.threshold !== undefined) return []
  return [error([...path, 'complexity'], 'expected a threshold beside the scorer; torchgate route train names one')]
}

function checkLot ({ order, sticky, targets }: ModelConfig, path: Path): Finding[] {
  if (order === 'weighted') return targets.some(({ weight = 1 }) => weight > 0) ? [] : [error([...path, 'targets'], 'expected one with a weight above 0')]
  return [
    ...sticky === undefined ? [] : [warning([...path, 'sticky'], `has no effect with order: ${order}`)],
    ...targets.flatMap(({ weight }, at) => weight === undefined ? [] : [warning([...path, 'targets', at, 'weight'], `has no effect with order: ${order}`)])
  ]
}

export function checkFiles (config: Config): Finding[] {
  return [...checkModelFiles(config), ...config.models.flatMap((model, index) => {
    const path = model.complexity?.scorer
    const fault = path === undefined ? null : faultOfFile(path)
    return fault === null ? [] : [error(['models', index, 'complexity', 'scorer'], `${path} ${fault}`)]
  })]
}

function checkModelFiles (config: Config): Finding[] {
  return config.backends.flatMap((backend, index) => backend.kind !== 'pool' ? [] : backend.models.flatMap((model, at) => {
    const { path, chatTemplate } = model
    const files = { path, ...chatTemplate !== undefined && chatTemplate !== NAMED_TEMPLATE && { chatTemplate } }
    return Object.entries(files).flatMap(([name, file]) => {
      const fault = faultOfFile(file)
      return fault === null ? [] : [error(['backends', index, 'models', at, name], `${file} ${fault}`)]
    })
  }))
}

function faultOfFile (path: string): string | null {
  try {
    if (!statSync(path).isFile()) return 'is not a file'
    accessSync(path, constants.R_OK)
    return null
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unknown'
    return code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`
  }
}
