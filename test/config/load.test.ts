import { join, resolve } from 'node:path'
import { test } from 'tap'
import { defaultConfig } from '../../src/config/defaults.ts'
import { adoptConfig, loadConfig } from '../../src/config/load.ts'
import { ConfigError } from '../../src/config/problems.ts'
import type { Config } from '../../src/config/schema.ts'
import { loaded, problemsOf, SAMPLE } from './sample.ts'

const change = (from: string, to: string) => {
  if (!SAMPLE.includes(from)) throw new Error(`the sample has no ${from}`)
  return SAMPLE.replace(from, to)
}

/** What is wrong -> the text, and exactly what is said about it. */
const BAD: Record<string, [text: string, ...lines: string[]]> = {
  'a value that is none of the choices': [
    change('locality: cloud', 'locality: onprem'),
    'torchgate.yaml:9 backends[1].locality: expected local, domain or cloud, got "onprem"'
  ],
  'a number out of range, and a text where a number belongs': [
    `${SAMPLE}server:\n  port: 65536\n  maxConnections: many\n`,
    'torchgate.yaml:23 server.port: expected a whole number from 0 to 65535, got 65536',
    'torchgate.yaml:24 server.maxConnections: expected a whole number from 1 to 1000000, got "many"'
  ],
  'a fraction, an infinity and a nothing where a whole number belongs': [
    `${SAMPLE}server:\n  port: 80.5\n  maxConnections: .inf\n  bodyLimitBytes:\n`,
    'torchgate.yaml:23 server.port: expected a whole number from 0 to 65535, got 80.5',
    'torchgate.yaml:24 server.maxConnections: expected a whole number from 1 to 1000000, got Infinity',
    'torchgate.yaml:25 server.bodyLimitBytes: expected a whole number from 1024 to 1073741824, got nothing'
  ],
  'a misspelt member': [
    change('path: models/qwen.gguf', 'path: models/qwen.gguf, context_tokens: 4096'),
    'torchgate.yaml:5 backends[0].models[0].context_tokens: is not known here; did you mean `contextTokens`?'
  ],
  'a member with two letters swapped': [
    `${SAMPLE}server: { prot: 80 }\n`,
    'torchgate.yaml:22 server.prot: is not known here; did you mean `port`?'
  ],
  'a member that resembles none': [
    `${SAMPLE}log:\n  colour: blue\n`,
    'torchgate.yaml:23 log.colour: is not known here; known are level'
  ],
  'a member called __proto__': [
    `${SAMPLE}log:\n  __proto__: { level: debug }\n`,
    'torchgate.yaml:23 log.__proto__: is not known here; known are level'
  ],
  'a missing member, told where its map begins': [
    change('    baseUrl: https://api.openai.com/v1\n', ''),
    'torchgate.yaml:6 backends[1].baseUrl: missing; expected a URL that starts with http:// or https://'
  ],
  'a kind that is not known': [
    change('kind: openai', 'kind: carrier'),
    'torchgate.yaml:7 backends[1].kind: expected pool, openai, anthropic, azure or gemini, got "carrier"'
  ],
  'a kind that is missing': [
    change('    kind: openai\n', ''),
    'torchgate.yaml:6 backends[1].kind: missing; expected pool, openai, anthropic, azure or gemini'
  ],
  'members of another kind': [
    change('    kind: pool\n', '    kind: pool\n    locality: local\n'),
    'torchgate.yaml:4 backends[0].locality: is not known here; known are name, kind, models, isolation, memoryBytes, swap, queue, timeouts, restart and watchdog'
  ],
  'a key written into the file': [
    change('{ env: OPENAI_API_KEY }', 'sk-proj-abcdef'),
    'torchgate.yaml:10 backends[1].apiKey: expected { env: NAME }, { file: PATH } or { command: [PROGRAM, …] }, got a text; put it into an environment variable or a file and name that here'
  ],
  'a key written where the name of its variable belongs': [
    change('OPENAI_API_KEY', 'gsk_abcdef'),
    'torchgate.yaml:10 backends[1].apiKey.env: expected the name of an environment variable, in capitals, got another text'
  ],
  'a secret named twice': [
    change('{ env: OPENAI_API_KEY }', '{ env: A, file: b }'),
    'torchgate.yaml:10 backends[1].apiKey: expected { env: NAME }, { file: PATH } or { command: [PROGRAM, …] }, got several'
  ],
  'a secret named in no way': [
    change('{ env: OPENAI_API_KEY }', '{ value: sk-proj-abcdef }'),
    'torchgate.yaml:10 backends[1].apiKey: expected { env: NAME }, { file: PATH } or { command: [PROGRAM, …] }, got none of them'
  ],
  'a password in a URL that is none': [
    change('https://api.openai.com/v1', 'ftp://me:secret@host'),
    'torchgate.yaml:8 backends[1].baseUrl: expected a URL that starts with http:// or https://, got another text'
  ],
  'a header value of two lines': [
    change('    locality: cloud', '    locality: cloud\n    headers: { x-a: "secret\\r\\nx-b: 1" }'),
    'torchgate.yaml:10 backends[1].headers.x-a: expected printable ASCII on one line, got another text'
  ],
  'a header name with a space': [
    change('    locality: cloud', '    locality: cloud\n    headers: { "x a": y }'),
    'torchgate.yaml:10 backends[1].headers["x a"]: the name does not fit; expected the name of a header: letters, digits and `-`'
  ],
  'a name that YAML reads as a number': [
    change('name: acme', 'name: 2024'),
    'torchgate.yaml:20 tenants[0].name: expected a name of at most 64 lower-case letters, digits, `.`, `_` and `-`, got 2024; put it in quotes'
  ],
  'a model of a target with a space, and one beyond ASCII': [
    change('model: gpt-4.1 }', 'model: gpt 4.1 }\n      - { backend: openai, model: gpt-é }\n      - { backend: openai, model: "" }'),
    'torchgate.yaml:15 models[0].targets[1].model: expected a name of printable ASCII without spaces, at most 256 characters, got "gpt 4.1"',
    'torchgate.yaml:16 models[0].targets[2].model: expected a name of printable ASCII without spaces, at most 256 characters, got "gpt-é"',
    'torchgate.yaml:17 models[0].targets[3].model: expected a name of printable ASCII without spaces, at most 256 characters, got an empty text'
  ],
  'a list where a map belongs, and a map where a list belongs': [
    `server: [1]\n${change('    models:\n      - { name: qwen, path: models/qwen.gguf }', '    models: { name: qwen }')}`,
    'torchgate.yaml:1 server: expected a map, got a list',
    'torchgate.yaml:5 backends[0].models: expected a list of 1 to 256 items, got a map'
  ],
  'an empty list': [
    change('tenants:\n  - name: acme\n    class: public\n', 'tenants: []\n'),
    'torchgate.yaml:19 tenants: expected a list of 1 to 10000 items, got 0'
  ],
  'a file without anything': [
    '# nothing\n',
    'torchgate.yaml:1 expected a map, got nothing'
  ],
  'a file that is a list': [
    '\n- a\n',
    'torchgate.yaml:2 expected a map, got a list'
  ],
  'everything at once, in the order of the file': [
    'server: { port: x }\nbackends: []\ntenants: 3\nmodel: []\n',
    'torchgate.yaml:1 models: missing; expected a list of 1 to 10000 items',
    'torchgate.yaml:1 server.port: expected a whole number from 0 to 65535, got "x"',
    'torchgate.yaml:2 backends: expected a list of 1 to 256 items, got 0',
    'torchgate.yaml:3 tenants: expected a list of 1 to 10000 items, got 3',
    'torchgate.yaml:4 model: is not known here; did you mean `models`?'
  ],
  'YAML that breaks off': [
    'server:\n  port: [1,\n',
    'torchgate.yaml:3 is not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]'
  ],
  'a brace too many, once': [
    change('  - name: openai\n', '  } name: openai\n'),
    'torchgate.yaml:6 is not valid YAML: Unexpected flow-map-end token in YAML stream'
  ],
  'the same member twice': [
    `${SAMPLE}server:\n  port: 1\n  port: 2\n`,
    'torchgate.yaml:24 is not valid YAML: Map keys must be unique'
  ],
  'a tab for indentation': [
    `${SAMPLE}server:\n\tport: 1\n`,
    'torchgate.yaml:23 is not valid YAML: Tabs are not allowed as indentation'
  ],
  'two documents': [
    `${SAMPLE}---\nserver: {}\n`,
    'torchgate.yaml:22 is not valid YAML: expected one document, got more'
  ],
  'a tag that means nothing here': [
    change('{ env: OPENAI_API_KEY }', '!vault secret'),
    'torchgate.yaml:10 is not valid YAML: a tag that means nothing here; put a text that begins with ! in quotes'
  ],
  'an alias of nothing': [
    `${SAMPLE}server: *none\n`,
    'torchgate.yaml:22 is not valid YAML: Unresolved alias (the anchor must be set before the alias)'
  ],
  'a merge of what is no map': [
    `${SAMPLE}server:\n  <<: 3\n`,
    'torchgate.yaml:23 is not valid YAML: Merge sources must be maps or map aliases'
  ],
  'aliases that multiply': [
    'a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d]\n',
    'torchgate.yaml:1 is not valid YAML: Excessive alias count indicates a resource exhaustion attack'
  ]
}

for (const [what, [text, ...lines]] of Object.entries(BAD)) {
  test(`refuses ${what}`, async t => t.same(problemsOf(text), lines))
}

test('no message repeats what may be a key', async t => {
  for (const text of [
    change('{ env: OPENAI_API_KEY }', 'hunter2'), change('OPENAI_API_KEY', 'hunter2'), change('{ env: OPENAI_API_KEY }', '[hunter2]'),
    change('https://api.openai.com/v1', 'https://user:hunter2@api.openai.com/v1'), change('https://api.openai.com/v1', 'hunter2'),
    change('https://api.openai.com/v1', 'https://api.openai.com/v1?key=hunter2'), `${SAMPLE}state: { redis: "redis://:hunter2@host" }\n`,
    `${SAMPLE}state: { redis: { url: "redis://:hunter2@host" } }\n`, `${SAMPLE}server: { port: "redis://:hunter2@host" }\n`,
    change('    locality: cloud', '    locality: cloud\n    headers: { authorization: Bearer hunter2 }'),
    change('    locality: cloud', '    locality: cloud\n    headers: { x-a: "hunter2\\n" }'),
    ...['!hunter2', '!<hunter2', '!hunter2! x', '!a!hunter2 x', '*hunter2', '|hunter2', '@hunter2', '`hunter2', '%hunter2', '"a" hunter2', '} hunter2', '"\\hunter2"', '- hunter2', 'a: hunter2']
      .map(written => change('{ env: OPENAI_API_KEY }', written)),
    `%hunter2\n---\n${SAMPLE}`, `${SAMPLE}} hunter2\n`, `${SAMPLE}hunter2\n`
  ]) {
    const lines = problemsOf(text)
    t.ok(lines.length > 0, text)
    t.notMatch(lines.join('\n'), 'hunter2')
  }
})

test('a file that is not there, is a folder or is not UTF-8 is refused by name', async t => {
  const folder = t.testdir({ 'latin1.yaml': Buffer.from('a: \xe9', 'latin1') })
  const said = (path: string) => { try { loadConfig(path, { env: {} }) } catch (error) { return error instanceof ConfigError && error.message.replace(folder, 'X') } }
  t.equal(said(join(folder, 'none.yaml')), `${join('X', 'none.yaml')}: cannot be read: there is no such file`)
  t.equal(said(folder), 'X: cannot be read: it is a folder')
  t.equal(said(join(folder, 'latin1.yaml')), `${join('X', 'latin1.yaml')}: expected UTF-8, got other bytes`)
})

test('nesting without end is refused, not a crash', async t => {
  t.match(problemsOf('['.repeat(50_000)), [/^torchgate.yaml:1 is not valid YAML/])
})

test('what is left out has its default, and a section with every line commented out too', async t => {
  const { config } = loaded(`${SAMPLE}server:\n  #port: 1\nadmin:\n`)
  t.equal(config.server.port, 8080)
  t.equal(config.admin.port, 9464)
  t.same(config.policy.boundaries, { public: 'cloud', internal: 'cloud', confidential: 'domain', restricted: 'local' })
  t.equal(config.backends[0]?.kind === 'pool' && config.backends[0].models[0]?.slots, 4)
  t.same(config.tenants[0], { name: 'acme', class: 'public', boundary: 'cloud', models: ['*'], limits: {} })
  t.notOk('redis' in config.state, 'what is optional and left out is not there at all')
})

test('defaults are not shared between the parts of a configuration', async t => {
  const { config } = loaded(`${SAMPLE}  - name: other\n`)
  t.not(config.tenants[0]!.models, config.tenants[1]!.models)
})

const templateIn = ({ backends: [pool] }: Config): string | undefined => pool?.kind === 'pool' ? pool.models[0]?.chatTemplate : undefined

test('a chat template is a name, or a file beside the configuration', async t => {
  for (const [written, meant] of [['chatml', () => 'chatml'], ['own.jinja', (folder: string) => join(folder, 'own.jinja')]] as const) {
    const folder = t.testdir({ 'torchgate.yaml': SAMPLE.replace('path: models/qwen.gguf', `path: models/qwen.gguf, chatTemplate: ${written}`) })
    t.equal(templateIn(loadConfig(join(folder, 'torchgate.yaml'), { env: {} }).config), meant(folder))
  }
})

test('relative paths count from the folder of the file, absolute ones stay', async t => {
  const folder = t.testdir({ sub: { 'torchgate.yaml': change('{ env: OPENAI_API_KEY }', '{ file: ../key }') + 'state: { redis: { url: { file: /run/redis } } }\n' } })
  const { config } = loadConfig(join(folder, 'sub/torchgate.yaml'), { env: {} })
  const [pool, openai] = config.backends
  t.equal(config.dataDir, join(folder, 'sub/data'))
  t.equal(pool?.kind === 'pool' && pool.models[0]?.path, join(folder, 'sub/models/qwen.gguf'))
  t.equal(templateIn(config), undefined)
  t.same(openai?.kind === 'openai' && openai.apiKey, { file: join(folder, 'key') })
  t.same(config.state.redis?.url, { file: resolve('/run/redis') })
})

test('JSON is read as well, with lines, and a byte order mark does no harm', async t => {
  const { config, revision } = loaded(SAMPLE)
  const json = loaded(`\uFEFF${JSON.stringify(config, null, '\t')}`)
  t.same(json.config, config)
  t.equal(json.revision, revision)
  t.same(problemsOf('{\n  "server": {\n    "port": true\n  },\n "backends": [], "models": [], "tenants": []}')[0],
    'torchgate.yaml:3 server.port: expected a whole number from 0 to 65535, got true')
})

test('anchors, aliases and merge keys work, and problems are told where the text stands', async t => {
  const text = change('models:\n  - name: qwen\n', 'models:\n  - &route\n    name: qwen\n') + '  - &base\n    name: base\n    limits: &limits { concurrency: 2 }\n  - <<: *base\n    name: merged\n'
  t.same(loaded(text).config.tenants[2], { name: 'merged', class: 'internal', boundary: 'cloud', models: ['*'], limits: { concurrency: 2 } })
  t.same(problemsOf(text.replace('concurrency: 2', 'concurrency: 0')), [
    'torchgate.yaml:25 tenants[1].limits.concurrency: expected a whole number from 1 to 1000000, got 0',
    'torchgate.yaml:25 tenants[2].limits.concurrency: expected a whole number from 1 to 1000000, got 0'
  ])
})

test('the revision changes with what is configured and with nothing else', async t => {
  const folder = t.testdir({ 'a.yaml': SAMPLE, 'b.yaml': `# a comment\n${change('    baseUrl: https://api.openai.com/v1\n    locality: cloud', '    locality: cloud\n    baseUrl: "https://api.openai.com/v1"')}` })
  const of = (name: string, env = {}) => loadConfig(join(folder, name), { env }).revision
  t.match(of('a.yaml'), /^[0-9a-f]{12}$/)
  t.equal(of('a.yaml'), of('b.yaml'))
  t.equal(of('a.yaml', { OPENAI_API_KEY: 'one' }), of('a.yaml', { OPENAI_API_KEY: 'two' }))
  t.not(of('a.yaml'), of('a.yaml', { PORT: '1' }))
})

test('a configuration that was made is held against the same rules', async t => {
  const made = defaultConfig({}, { builtin: { name: 'pilot', path: 'p.gguf', sha256: '0'.repeat(64), contextTokens: 2048 } })
  const { file, config, warnings } = adoptConfig(made, { env: { PORT: '0' } })
  t.equal(file, null)
  t.equal(config.server.port, 0)
  t.same(warnings, [])
  t.throws(() => adoptConfig({ ...made, tenants: [...made.tenants, ...made.tenants] }, { env: {} }),
    new ConfigError([{ file: null, line: null, column: null, path: 'tenants[1].name', severity: 'error', message: '"default" is already the name of tenants[0]; expected another' }]))
})
