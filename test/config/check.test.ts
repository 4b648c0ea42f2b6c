import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { check, checkFiles } from '../../src/config/check.ts'
import { formatPath } from '../../src/config/problems.ts'
import type { Config } from '../../src/config/schema.ts'
import { loaded, problemsOf, SAMPLE } from './sample.ts'

type Change = (config: Config) => void

/** The sample after a change, and everything said about it: `path: [warning: ]message`. */
function saidOf (change: Change): string[] {
  const config = structuredClone(loaded(SAMPLE).config)
  change(config)
  return check(config).map(({ path, message, severity }) => `${formatPath(path)}: ${severity === 'warning' ? 'warning: ' : ''}${message}`)
}

function openai (config: Config) {
  const backend = config.backends[1]
  if (backend?.kind !== 'openai') throw new Error('the sample has an openai backend')
  return backend
}

function pool (config: Config) {
  const backend = config.backends[0]
  if (backend?.kind !== 'pool') throw new Error('the sample has a pool')
  return backend
}

const tenant = (name: string, rest: Partial<Config['tenants'][number]> = {}): Config['tenants'][number] =>
  ({ name, class: 'public', boundary: 'cloud', models: ['*'], limits: {}, ...rest })

const CASES: Record<string, [change: Change, ...lines: string[]]> = {
  'a configuration that fits': [() => {}],
  'two backends of one name': [
    config => { config.backends.push(structuredClone(openai(config))) },
    'backends[2].name: "openai" is already the name of backends[1]; expected another'
  ],
  'two models of one name in a pool': [
    config => { pool(config).models.push(structuredClone(pool(config).models[0]!)) },
    'backends[0].models[1].name: "qwen" is already the name of models[0]; expected another'
  ],
  'two public models of one name': [
    config => { config.models.push(structuredClone(config.models[0]!)) },
    'models[2].name: "qwen" is already the name of models[0]; expected another'
  ],
  'what counts as hard where nobody asks': [
    config => { config.models[0]!.complexity = {} },
    'models[0].complexity: warning: has no effect with order: listed'
  ],
  'lots that nobody draws': [
    config => { Object.assign(config.models[0]!, { sticky: 'user' }); Object.assign(config.models[0]!.targets[0]!, { weight: 2 }) },
    'models[0].sticky: warning: has no effect with order: listed',
    'models[0].targets[0].weight: warning: has no effect with order: listed'
  ],
  'lots of which none can win': [
    config => { const [model] = config.models; Object.assign(model!, { order: 'weighted', targets: model!.targets.map(target => ({ ...target, weight: 0 })) }) },
    'models[0].targets: expected one with a weight above 0'
  ],
  'a trained scorer without a threshold': [
    config => { Object.assign(config.models[0]!, { order: 'complexity', complexity: { scorer: '/scorer.json' } }) },
    'models[0].complexity: expected a threshold beside the scorer; torchgate route train names one'
  ],
  'two tenants of one name': [
    config => { config.tenants.push(tenant('acme')) },
    'tenants[1].name: "acme" is already the name of tenants[0]; expected another'
  ],
  'a target on a backend that is not there': [
    config => { config.models[0]!.targets[0]!.backend = 'gpu-b' },
    'models[0].targets[0].backend: no backend is named "gpu-b"; did you mean `gpu-a`?'
  ],
  'a target on a backend that resembles none': [
    config => { config.models[0]!.targets[0]!.backend = 'vllm' },
    'models[0].targets[0].backend: no backend is named "vllm"; expected gpu-a or openai'
  ],
  'a target on a model that the pool has not': [
    config => { config.models[0]!.targets[0]!.model = 'llama' },
    'models[0].targets[0].model: pool gpu-a has no model "llama"; expected qwen'
  ],
  'a * that would let callers name models of a pool': [
    config => { config.models[1]!.targets = [{ backend: 'gpu-a', model: '*' }] },
    'models[1].targets[0].model: pool gpu-a has no model "*"; expected qwen'
  ],
  'a * that stands for nothing': [
    config => { config.models[0]!.targets[1]!.model = 'gpt-*' },
    'models[0].targets[1].model: `*` has nothing to stand for, because the public name "qwen" does not end in `*`'
  ],
  'two * in one target': [
    config => { config.models[1]!.targets[0]!.model = '*/*' },
    'models[1].targets[0].model: expected at most one `*`'
  ],
  'http:// to the cloud': [
    config => { openai(config).baseUrl = 'http://api.example.com/v1' },
    'backends[1].baseUrl: http:// would send prompts and the key in the clear; expected https://, or allowInsecure: true to accept that'
  ],
  'http:// to the cloud, accepted by name': [
    config => { Object.assign(openai(config), { baseUrl: 'http://api.example.com/v1', allowInsecure: true }) }
  ],
  'http:// to a forwarder on this host': [
    config => { openai(config).baseUrl = 'http://127.0.0.1:9000/v1' }
  ],
  'http:// to a host that only looks like this one': [
    config => { openai(config).baseUrl = 'http://localhost.example.com/v1' },
    'backends[1].baseUrl: http:// would send prompts and the key in the clear; expected https://, or allowInsecure: true to accept that'
  ],
  'http:// inside the domain': [
    config => { Object.assign(openai(config), { baseUrl: 'http://10.0.0.8:8000/v1', locality: 'domain' }) }
  ],
  'credentials, a query and a fragment in a URL': [
    config => { openai(config).baseUrl = 'https://me:secret@api.example.com/v1?key=secret#x' },
    'backends[1].baseUrl: expected no user name or password; name the key in apiKey',
    'backends[1].baseUrl: expected no ?query and no #fragment'
  ],
  'an empty query': [
    config => { openai(config).baseUrl = 'https://api.example.com/v1?' },
    'backends[1].baseUrl: expected no ?query and no #fragment'
  ],
  'a URL without a host': [
    config => { openai(config).baseUrl = 'https://' },
    'backends[1].baseUrl: expected a whole URL, such as https://api.example.com/v1'
  ],
  'a backend that is the gateway itself': [
    config => { openai(config).baseUrl = 'http://localhost:8080/v1' },
    'backends[1].baseUrl: port 8080 of this host is this gateway itself; calls would run in a circle'
  ],
  'a provider passed off as in the house': [
    config => { openai(config).locality = 'domain' },
    'backends[1].locality: expected cloud, because api.openai.com is a third party; got "domain"'
  ],
  'headers that hold secrets or belong to the gateway': [
    config => { openai(config).headers = { Authorization: 'x', 'x-api-key': 'x', Host: 'x', 'openai-organization': 'x' } },
    'backends[1].headers.Authorization: holds a secret by its name; name the key in apiKey',
    'backends[1].headers.x-api-key: holds a secret by its name; name the key in apiKey',
    'backends[1].headers.Host: is set by the gateway itself'
  ],
  'a longest pause shorter than the first': [
    config => { Object.assign(pool(config).restart, { backoffMs: 500, maxBackoffMs: 100 }) },
    'backends[0].restart.maxBackoffMs: expected at least 500, as backoffMs is; got 100'
  ],
  'boundaries that widen as the class rises': [
    config => { Object.assign(config.policy.boundaries, { internal: 'domain', confidential: 'cloud' }) },
    'policy.boundaries.confidential: expected local or domain, because internal data may go no farther than domain; got "cloud"'
  ],
  'networks that are none, or everything': [
    config => { config.egress.domainNetworks = ['203.0.113.0/24', '2001:db8::/32', '203.0.113.0', '203.0.113.0/33', 'example.com/8', '1.2.3.4/08x', '::/0'] },
    ...[2, 3, 4, 5].map(at => `egress.domainNetworks[${at}]: expected a range in CIDR form such as 203.0.113.0/24 or 2001:db8::/32`),
    'egress.domainNetworks[6]: holds every address there is, so nothing would be cloud; expected a narrower range'
  ],
  'one port for both listeners': [
    config => { config.admin.port = config.server.port },
    'admin.port: 8080 is also the port of the API (server.port); expected another'
  ],
  'free ports for both listeners': [
    config => { config.admin.port = config.server.port = 0 }
  ],
  'fewer tokens a minute than one call is assumed to need': [
    config => { config.tenants[0]!.limits = { tokensPerMinute: 100 } },
    'tenants[0].limits.tokensPerMinute: warning: is less than limits.assumedOutputTokens (512), so a call that sets no max_completion_tokens is always refused'
  ],
  'a tenant whose pattern matches nothing': [
    config => { config.tenants[0]!.models = ['*', 'llama-*', 'gpt-4.1'] },
    'tenants[0].models[1]: warning: "llama-*" matches no model',
    'tenants[0].models[2]: warning: "gpt-4.1" matches no model'
  ],
  'a model that nobody may call': [
    config => { config.tenants[0]!.models = ['openai/gpt-4.1'] },
    'models[0].name: warning: no tenant may call "qwen"'
  ],
  'a tenant that names a model out of its reach': [
    config => { config.tenants.push(tenant('legal', { boundary: 'local', models: ['qwen', 'openai/gpt-4.1'] })) },
    'tenants[1].models[1]: "openai/*": no target lies within local, and tenant legal may go no farther'
  ],
  'a tenant that matches a model out of its reach by *': [
    config => { config.tenants.push(tenant('legal', { boundary: 'local' })) },
    'tenants[1].models[0]: warning: "openai/*": no target lies within local, and tenant legal may go no farther'
  ],
  'a tenant whose class keeps it nearer than its boundary': [
    config => { config.tenants.push(tenant('legal', { class: 'restricted', models: ['openai/*'] })) },
    'tenants[1].models[0]: warning: "openai/*": no target lies within local, and tenant legal may go no farther'
  ],
  'a fallback that no tenant can ever reach': [
    config => { config.tenants = [tenant('legal', { class: 'confidential', models: ['qwen'] })] },
    'models[0].targets[1].backend: openai is cloud, and no tenant that may call "qwen" may go farther than domain',
    'models[1].name: warning: no tenant may call "openai/*"'
  ],
  'a wider model that a longer one answers for': [
    config => {
      config.models.push({ name: 'openai/gpt-*', targets: [{ backend: 'openai', model: 'gpt-*' }], order: 'listed' })
      config.tenants = [tenant('acme', { models: ['openai/gpt-4*', 'qwen'] })]
    },
    'models[1].name: warning: no tenant may call "openai/*"'
  ]
}

for (const [what, [change, ...lines]] of Object.entries(CASES)) {
  test(`judges ${what}`, async t => t.same(saidOf(change), lines))
}

test('what does not fit is told with its line when a file is loaded, warnings too', async t => {
  t.same(problemsOf(SAMPLE.replace('model: qwen', 'model: qwem')), ['torchgate.yaml:14 models[0].targets[0].model: pool gpu-a has no model "qwem"; did you mean `qwen`?'])
  t.same(problemsOf(`${SAMPLE}    models: [nothing]\n`), [
    'torchgate.yaml:12 models[0].name: warning: no tenant may call "qwen"',
    'torchgate.yaml:16 models[1].name: warning: no tenant may call "openai/*"',
    'torchgate.yaml:22 tenants[0].models[0]: warning: "nothing" matches no model'
  ])
})

test('the environment is checked with the file', async t => {
  t.same(problemsOf(SAMPLE, { PORT: '9464' }), ['torchgate.yaml:1 admin.port: 9464 is also the port of the API (server.port); expected another'])
})

test('a model file must be there, be a file and be readable', async t => {
  const folder = t.testdir({ 'good.gguf': 'GGUF', 'locked.gguf': 'GGUF', folder: {} })
  const config = structuredClone(loaded(SAMPLE).config)
  const model = pool(config).models[0]!
  const said = (path: string) => { model.path = join(folder, path); return checkFiles(config).map(finding => `${formatPath(finding.path)}: ${finding.message.replace(folder, 'X')}`) }
  t.same(said('good.gguf'), [])
  t.same(said('none.gguf'), [`backends[0].models[0].path: ${join('X', 'none.gguf')} does not exist`])
  t.same(said('folder'), [`backends[0].models[0].path: ${join('X', 'folder')} is not a file`])
  t.match(said('nul\0'), [/cannot be read \(ERR_INVALID_ARG_VALUE\)/])
  chmodSync(join(folder, 'locked.gguf'), 0)
  if (process.getuid?.() !== 0) t.same(said('locked.gguf'), [`backends[0].models[0].path: ${join('X', 'locked.gguf')} cannot be read (EACCES)`])
})

test('many tenants and many models are judged in a moment', async t => {
  const config = structuredClone(loaded(SAMPLE).config)
  config.models = Array.from({ length: 10_000 }, (_, index) => ({ name: `m${index}`, targets: [{ backend: 'openai', model: 'x' }], order: 'listed' as const }))
  config.tenants = Array.from({ length: 10_000 }, (_, index) => tenant(`t${index}`, { models: ['*', `m${index}`] }))
  const start = performance.now()
  t.same(check(config), [])
  t.ok(performance.now() - start < 5000, `${Math.round(performance.now() - start)} ms`)
})
