/** The tree is the architecture: what may import what, and where each package comes in. This file is its documentation. */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { test } from 'tap'

/** A file imports its own folder and lower layers. Folders of one layer do not know each other. Bottom first. */
const LAYERS = [
  ['errors.ts', 'version.ts', 'bag.ts', 'opened.ts'],
  ['wire', 'config'],
  ['state', 'store', 'models'],
  ['tenants', 'limits', 'policy', 'backends', 'worker', 'usage', 'egress', 'files'],
  ['pipeline', 'listener'],
  ['batches'],
  ['http', 'admin', 'telemetry', 'evaluate'],
  ['gateway.ts'],
  ['cli'],
  ['main.ts']
]

/** Where a package may come in. Types are free; what is not listed is not allowed in src at all. */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  '@fastify/busboy': ['http/multipart.ts', 'http/parts.ts'],
  '@fastify/rate-limit': ['listener/flood.ts'],
  '@huggingface/jinja': ['worker/template.ts'],
  commander: ['main.ts'],
  fastify: ['listener/listener.ts'],
  ioredis: ['state/redis.ts'],
  'node-llama-cpp': ['worker/binary.ts'],
  'node:sqlite': ['store/sqlite.ts'],
  pino: ['telemetry/log.ts'],
  'prom-client': ['telemetry/metrics.ts'],
  'secure-json-parse': ['wire/parse.ts'],
  typebox: ['config/'],
  ws: ['http/sockets.ts'],
  undici: ['backends/http.ts', 'backends/pool/', 'egress/'],
  yaml: ['config/']
}

const layerOf = (part: string) => LAYERS.findIndex(names => names.includes(part))
const partOf = (path: string) => relative('src', path).split(sep)[0]!
const sources = globSync('src/**/*.ts').map(path => ({ path, name: relative('src', path).split(sep).join('/'), text: readFileSync(path, 'utf8') }))
const imports = (text: string) => [...text.matchAll(/^(?:import|export) (type )?[^'"]*?from '([^']+)'|import\('([^']+)'\)|^import '([^']+)'/gm)]
  .map(([, type, from, dynamic, bare]) => ({ type: type !== undefined, target: (from ?? dynamic ?? bare)! }))

test('every part of src has a layer', async t => {
  t.same([...new Set(sources.map(({ path }) => partOf(path)))].filter(part => layerOf(part) < 0), [])
  t.ok(sources.length > 20, 'the sources were found')
})

test('imports point downward, and neighbours do not know each other', async t => {
  const wrong: string[] = []
  for (const { path, text } of sources) {
    for (const { target } of imports(text).filter(found => found.target.startsWith('.'))) {
      if (target.endsWith('package.json')) continue
      const [from, to] = [partOf(path), partOf(join(dirname(path), target))]
      if (from !== to && layerOf(to) >= layerOf(from)) wrong.push(`${path} -> ${target}`)
    }
  }
  t.same(wrong, [])
})

test('each package has one door', async t => {
  const wrong: string[] = []
  for (const { name, text } of sources) {
    for (const { type, target } of imports(text)) {
      if (type || target.startsWith('.') || (target.startsWith('node:') && target !== 'node:sqlite')) continue
      const key = Object.keys(DOORS).find(door => target === door || target.startsWith(`${door}/`))
      if (key === undefined || !DOORS[key]!.some(door => name === door || (door.endsWith('/') && name.startsWith(door)))) wrong.push(`${name} imports ${target}`)
    }
  }
  t.same(wrong, [])
})

test('there is no drawer for odds and ends', async t => {
  t.same(sources.map(({ name }) => name).filter(name => /(^|\/)(utils?|helpers?|misc|common)(\/|\.ts)/.test(name)), [])
})
