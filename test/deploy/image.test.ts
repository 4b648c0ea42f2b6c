import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { ENVIRONMENT } from '../../src/config/environment.ts'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { copied, ROOT, wordsOf } from './dockerfile.ts'

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

test('the image runs as a user without rights, under tini, and stops on SIGTERM', async t => {
  t.equal(wordsOf('USER').at(-1), '10001:10001')
  t.same(JSON.parse(wordsOf('ENTRYPOINT')[0]!), ['/usr/bin/tini', '--', 'node', '/app/src/main.ts'])
  t.same(JSON.parse(wordsOf('CMD')[0]!), ['start'])
  t.same(wordsOf('STOPSIGNAL'), ['SIGTERM'])
})

test('data goes into the volume', async t => {
  t.same(JSON.parse(wordsOf('VOLUME')[0]!), [wordsOf('WORKDIR').at(-1)])
  t.match(wordsOf('RUN').join('\n'), `-o 10001 -g 10001 ${wordsOf('WORKDIR').at(-1)}`)
})

test('the image has the Node that the tests ran on, on glibc', async t => {
  const [base] = wordsOf('ARG')
  const major = /^\d+/.exec(manifest.devDependencies.node)![0]
  t.equal(base, `NODE_IMAGE=node:${major}-bookworm-slim`)
  t.ok(wordsOf('FROM').every(words => words.startsWith('${NODE_IMAGE} AS ')))
})

test('the image tells the version of package.json, and its licence', async t => {
  t.ok(wordsOf('ARG').includes(`VERSION=${manifest.version}`))
  const label = wordsOf('LABEL').join(' ')
  for (const [name, value] of [['version', '${VERSION}'], ['licenses', manifest.license], ['description', manifest.description]]) {
    t.ok(label.includes(`org.opencontainers.image.${name}="${value}"`), name)
  }
})

test('what the image needs is copied from where it is', async t => {
  for (const path of copied().keys()) t.ok(existsSync(join(ROOT, path)), path)
  const inImage = [...copied().values()]
  t.equal(copied().get('src'), '/app/src')
  t.equal(copied().get(BUILTIN_MODEL.path.slice(ROOT.length + 1)), '/app/models/pilot/pilot.Q8_0.gguf')
  for (const path of [JSON.parse(wordsOf('ENTRYPOINT')[0]!).at(-1), healthcheck().at(-1)!]) {
    t.ok(inImage.some(copy => path === copy || path.startsWith(`${copy}/`)), path)
    t.ok(existsSync(join(ROOT, path.replace('/app/', ''))), path)
  }
})

test('nothing else reaches the builder', async t => {
  const lines = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n').filter(line => line !== '' && !line.startsWith('#'))
  t.equal(lines[0], '*', 'all is refused first')
  t.ok(lines.slice(1).every(line => line.startsWith('!')))
  t.same(new Set(lines.slice(1).map(line => line.slice(1))), new Set(copied().keys()))
})

test('no secret is built in, and no variable that the gateway does not know', async t => {
  t.same(wordsOf('ADD'), [])
  t.same(wordsOf('ARG').map(words => words.split('=')[0]), ['NODE_IMAGE', 'VERSION', 'REVISION'])
  const variables = wordsOf('ENV').flatMap(words => words.split(/\s+/)).map(word => word.split('=')[0]!)
  t.same(variables.filter(name => name !== 'NODE_ENV' && !Object.hasOwn(ENVIRONMENT, name)), [])
  t.notOk(variables.includes('ADMIN_HOST'), 'metrics and the admin API stay on loopback')
})

test('the health check needs no shell', async t => {
  t.same(healthcheck(), ['node', '/app/deploy/healthcheck.ts'])
})

function healthcheck (): string[] {
  return JSON.parse(/CMD (\[.*\])$/.exec(wordsOf('HEALTHCHECK')[0]!)![1]!)
}
