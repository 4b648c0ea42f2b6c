import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { PAGES, printDocs } from '../../src/cli/docs.ts'
import { options } from '../../src/config/print.ts'
import { ENVIRONMENT } from '../../src/config/environment.ts'
import { PRESET_NAMES } from '../../src/config/presets.ts'
import { PROVIDERS } from '../../src/config/providers.ts'
import { ERRORS } from '../../src/errors.ts'
import { METRICS } from '../../src/telemetry/catalogue.ts'

const ROOT = join(import.meta.dirname, '../..')
const page = (path: string) => readFileSync(join(ROOT, path), 'utf8')
/** The first cell of every row of every table. */
const firstCells = (path: string) => [...page(path).matchAll(/^\| `([^`]+)` \|/gm)].map(([, cell]) => cell!)

test('the pages say what the code says', async t => {
  for (const [path, text] of Object.entries(PAGES)) t.equal(page(path), text(), `${path}: run npm run docs`)
})

test('docs/errors.md has every error of the table, and no other', async t => {
  t.same(firstCells('docs/errors.md'), Object.keys(ERRORS))
})

test('docs/metrics.md has every metric of the table, and no other', async t => {
  t.same(new Set(firstCells('docs/metrics.md')), new Set(Object.keys(METRICS)))
})

test('docs/configuration.md has every option and variable, and no other', async t => {
  const sections = new Set(options().map(({ path }) => path).filter(path => /^\w+$/.test(path) && path !== 'dataDir'))
  const expected = [...Object.keys(ENVIRONMENT), ...PROVIDERS.map(({ key }) => key), ...options().map(({ path }) => path).filter(path => !sections.has(path)), ...PRESET_NAMES]
  t.same(firstCells('docs/configuration.md'), expected)
  for (const section of sections) t.match(page('docs/configuration.md'), `## \`${section}\`\n\n`)
})

test('every option, error and metric says what it is', async t => {
  for (const { path, node } of options()) t.match(node.description ?? '', /.{5}/, path)
  for (const path of Object.keys(PAGES)) t.notMatch(page(path), /\| {2}\|$|undefined/m, path)
})

test('the schema for editors asks only for what has no default', async t => {
  const schema = JSON.parse(page('docs/torchgate.schema.json'))
  t.same(schema.required, ['backends', 'models', 'tenants'])
  t.same(schema.properties.backends.items.anyOf.map(({ required }: { required: string[] }) => required), [['name', 'kind', 'models'], ['name', 'kind'], ['name', 'kind', 'locality'], ['name', 'kind', 'baseUrl', 'locality'], ['name', 'kind', 'locality']])
  t.equal(schema.properties.backends.items.anyOf[1].properties.headers.additionalProperties, false)
})

test('printing writes what is missing or differs; comparing only tells', async t => {
  const root = t.testdir({})
  const lines: string[] = []
  const run = (compare: boolean) => { lines.length = 0; return printDocs({ check: compare, root, print: line => lines.push(line) }) }
  t.equal(await run(true), 1)
  t.equal(lines.length, Object.keys(PAGES).length)
  t.equal(await run(false), 0)
  t.equal(await run(true), 0)
  t.same(lines, [])
  writeFileSync(join(root, 'docs/errors.md'), 'old')
  t.equal(await run(true), 1)
  t.same(lines, ['docs/errors.md: differs from what the code says; run npm run docs'])
  t.equal(readFileSync(join(root, 'docs/errors.md'), 'utf8'), 'old')
})
