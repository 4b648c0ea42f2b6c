import { resolve } from 'node:path'
import { test } from 'tap'
import { check } from '../../src/config/check.ts'
import { defaultConfig, modelNameOf } from '../../src/config/defaults.ts'
import { adoptConfig } from '../../src/config/load.ts'
import { PROVIDERS } from '../../src/config/providers.ts'
import { modelRoutes } from '../../src/config/resolve.ts'

const builtin = { name: 'pilot', path: 'models/pilot.gguf', sha256: 'a'.repeat(64), contextTokens: 2048 }

test('without a key in the environment only the built-in model answers, on the CPU, and nothing leaves the host', async t => {
  const config = defaultConfig({ PATH: '/bin', OPENAI_API_KEY: '' }, { builtin })
  t.equal(config.server.host, '127.0.0.1')
  t.same(config.backends.map(({ name, kind }) => [name, kind]), [['local', 'pool']])
  const [pool] = config.backends
  t.match(pool?.kind === 'pool' && pool.models, [{ ...builtin, path: resolve('models/pilot.gguf'), slots: 4, threads: 1, gpu: false }])
  t.same(config.models, [{ name: 'pilot', targets: [{ backend: 'local', model: 'pilot' }], order: 'listed' }])
  t.same(config.tenants, [{ name: 'default', class: 'internal', boundary: 'cloud', models: ['*'], limits: {} }])
})

test('a model of one\'s own replaces the built-in one', async t => {
  const config = defaultConfig({}, { builtin, model: 'x/Qwen3 0.6B-Q8_0.gguf' })
  const [pool] = config.backends
  const [model, ...more] = pool?.kind === 'pool' ? pool.models : []
  t.same(more, [])
  t.match(model, { name: 'qwen3-0.6b-q8_0', path: resolve('x/Qwen3 0.6B-Q8_0.gguf'), contextTokens: 4096, gpu: 'auto' })
  t.ok(model!.threads >= 1 && model!.threads <= 8)
  t.notOk('sha256' in model!)
  t.same(config.models.map(({ name }) => name), ['qwen3-0.6b-q8_0'])
})

test('a file name becomes a model name', async t => {
  for (const [path, name] of [
    ['/m/Llama-3.2-1B-Instruct-Q4_K_M.gguf', 'llama-3.2-1b-instruct-q4_k_m'],
    ['big-00001-of-00003.gguf', 'big'],
    ['Modèle (2).GGUF', 'mod-le-2-'],
    ['.gguf', 'model'],
    ['__x.gguf', 'x'],
    [`${'a'.repeat(100)}.gguf`, 'a'.repeat(64)]
  ] as const) t.equal(modelNameOf(path), name)
})

test('every provider whose key is set becomes a cloud backend and answers provider/model', async t => {
  for (const { name, key, baseUrl, ...more } of PROVIDERS) {
    for (const env of [{ [key]: 'k' }, { [`${key}_FILE`]: '/run/k' }]) {
      const config = defaultConfig(env, { builtin })
      t.match(config.backends[1], { name, kind: 'kind' in more ? more.kind : 'openai', locality: 'cloud', baseUrl, apiKey: { env: key } })
      t.equal(config.backends.length, 2)
      t.same(modelRoutes(config).find(`${name}/some/model:1`)?.targets, [{ backend: name, model: 'some/model:1' }])
      t.same(check(config), [])
    }
  }
  t.same(check(defaultConfig(Object.fromEntries(PROVIDERS.map(({ key }) => [key, 'k'])), { builtin })), [], 'all at once')
})

test('OpenAI\'s own names work without openai/ in front, the local name still wins', async t => {
  const routes = modelRoutes(defaultConfig({ OPENAI_API_KEY: 'k' }, { builtin: { ...builtin, name: 'gpt-oss-20b' } }))
  for (const name of ['gpt-4.1-mini', 'o1', 'o3-mini', 'o4-mini', 'chatgpt-4o-latest']) {
    if (name === 'o1') continue
    t.same(routes.find(name)?.targets, [{ backend: 'openai', model: name }], name)
  }
  t.same(routes.find('gpt-oss-20b')?.targets, [{ backend: 'local', model: 'gpt-oss-20b' }])
  t.equal(routes.find('claude-x'), null)
})

test('OPENAI_BASE_URL is taken where it can be, and still counts as cloud', async t => {
  const at = (OPENAI_BASE_URL: string, env = {}) => defaultConfig({ OPENAI_API_KEY: 'k', OPENAI_BASE_URL, ...env }, { builtin }).backends[1]
  t.match(at('http://127.0.0.1:9000/v1/'), { baseUrl: 'http://127.0.0.1:9000/v1', locality: 'cloud' })
  t.match(at(' '), { baseUrl: 'https://api.openai.com/v1', responses: true })
  t.notOk('responses' in at('http://127.0.0.1:9000/v1')!, 'what another server speaks nobody knows')
  t.throws(() => at('host/v1'), { message: 'OPENAI_BASE_URL: expected a URL that starts with http:// or https://' })
  t.throws(() => at('http://host/v1'), { message: /^OPENAI_BASE_URL: http:\/\/ would send prompts and the key in the clear/ })
  t.throws(() => at('https://u:hunter2@host/v1'), { message: 'OPENAI_BASE_URL: expected no user name or password; name the key in apiKey' })
  t.throws(() => at('http://localhost:8080/v1'), { message: 'OPENAI_BASE_URL: port 8080 of this host is this gateway itself; calls would run in a circle' })
  t.match(at('http://localhost:8080/v1', { PORT: '8081' }), { baseUrl: 'http://localhost:8080/v1' })
  t.match(defaultConfig({ OPENAI_BASE_URL: 'nonsense' }, { builtin }).backends.length, 1, 'without a key it does not matter')
})

test('ANTHROPIC_API_KEY brings Anthropic itself, ANTHROPIC_BASE_URL another server of its API, without /v1', async t => {
  const at = (env: NodeJS.ProcessEnv) => defaultConfig({ ANTHROPIC_API_KEY: 'k', ...env }, { builtin })
  t.match(at({}).backends[1], { kind: 'anthropic', baseUrl: 'https://api.anthropic.com', anthropicVersion: '2023-06-01', maxTokens: 4096, promptCache: 'off' })
  t.same(modelRoutes(at({})).find('claude-sonnet-5')?.targets, [{ backend: 'anthropic', model: 'claude-sonnet-5' }])
  t.match(at({ ANTHROPIC_BASE_URL: 'http://127.0.0.1:9000/' }).backends[1], { baseUrl: 'http://127.0.0.1:9000', locality: 'cloud' })
  for (const path of ['/v1', '/v1/', '/v1/messages']) {
    t.throws(() => at({ ANTHROPIC_BASE_URL: `https://host${path}` }), { message: 'ANTHROPIC_BASE_URL: expected nothing of /v1/messages; the gateway adds it' })
  }
})

test('the defaults pass their own checks', async t => {
  const { warnings, revision } = adoptConfig(defaultConfig({ OPENAI_API_KEY: 'k' }, { builtin }), { env: {} })
  t.same(warnings, [])
  t.match(revision, /^[0-9a-f]{12}$/)
})
