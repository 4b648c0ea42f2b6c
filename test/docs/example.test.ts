import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { parseDocument } from 'yaml'
import { check } from '../../src/cli/check.ts'
import { loadConfig } from '../../src/config/load.ts'
import { options } from '../../src/config/print.ts'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { HEURISTIC } from '../../src/policy/complexity.ts'
import { scorerText } from '../../src/policy/scorer.ts'

const FILE = join(import.meta.dirname, '../../torchgate.example.yaml')
const text = readFileSync(FILE, 'utf8')
/** Options left out begin with `#` and no space; prose has the space. */
const everything = text.replace(/^( *)#(?=\S)/gm, '$1')
const secrets = { ANTHROPIC_API_KEY: 'x', AZURE_OPENAI_API_KEY: 'x', GEMINI_API_KEY: 'x', OPENAI_API_KEY: 'x', REDIS_URL: 'redis://x' }

/** Path of the schema -> every value that stands there. */
function valuesOf (value: unknown, path = '', found = new Map<string, unknown[]>()): Map<string, unknown[]> {
  if (path !== '' && !path.endsWith('[]')) found.set(path, [...found.get(path) ?? [], value])
  if (Array.isArray(value)) for (const item of value) valuesOf(item, `${path}[]`, found)
  else if (typeof value === 'object' && value !== null) for (const [name, member] of Object.entries(value)) valuesOf(member, path === '' ? name : `${path}.${name}`, found)
  return found
}

test('the example works as it is, without a key and without a complaint', async t => {
  const lines: string[] = []
  t.equal(check(FILE, { env: {}, print: line => lines.push(line) }), 0)
  t.match(lines, [/^.*torchgate\.example\.yaml: ok, 1 backend, 1 model, 2 tenants, revision [0-9a-f]{12}$/])
  t.equal(lines.length, 1)
  const [pool] = loadConfig(FILE, { env: {} }).config.backends
  t.equal(pool?.kind === 'pool' && pool.models[0]?.path, BUILTIN_MODEL.path)
})

test('the example with every option in it is valid too, and says which secrets it lacks', async t => {
  const file = join(t.testdir({ 'scorer.json': scorerText(HEURISTIC) }), 'torchgate.yaml')
  writeFileSync(file, everything.replace('models/pilot/', `${join(import.meta.dirname, '../../models/pilot')}/`))
  const lines: string[] = []
  t.equal(check(file, { env: secrets, print: line => lines.push(line) }), 0, lines.join('\n'))
  t.match(lines.at(-1), 'ok, 5 backends, 2 models, 2 tenants')
  // Each order has options of its own, and only one can be shown at a time.
  const said = lines.slice(0, -1).filter(line => !line.endsWith('warning: has no effect with order: listed'))
  t.match(said, [/warning: "openai\/\*": no target lies within/].slice(0, said.length))
  lines.length = 0
  t.equal(check(file, { env: {}, print: line => lines.push(line) }), 1)
  t.match(lines.join('\n'), /state\.redis\.url: the environment variable REDIS_URL is not set/)
  t.match(lines.join('\n'), /backends\[1\]\.apiKey: the environment variable OPENAI_API_KEY is not set/)
})

test('the example shows every option there is, in the order of the schema', async t => {
  const values = valuesOf(parseDocument(everything).toJS())
  t.same(options().map(({ path }) => path).filter(path => !values.has(path)), [])
  const sections = options().map(({ path }) => path).filter(path => /^\w+$/.test(path))
  t.same([...values.keys()].filter(path => /^\w+$/.test(path)), sections)
})

test('an option left out of the example shows its default', async t => {
  const active = valuesOf(parseDocument(text).toJS())
  const values = valuesOf(parseDocument(everything).toJS())
  for (const { path, kind, node } of options()) {
    if (node.default === undefined || node.properties !== undefined || active.has(path)) continue
    // Kinds of backends have members of one name, with defaults of their own. The example has one of each, in their order.
    const kinds = options().filter(option => option.path === path).map(option => option.kind)
    const index = kinds.indexOf(kind)
    t.same(values.get(path)?.[index], node.default, `${path} ${kind ?? ''}`)
  }
})
