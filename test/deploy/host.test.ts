import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { ENVIRONMENT } from '../../src/config/environment.ts'
import { PROVIDERS } from '../../src/config/providers.ts'
import { loadConfig } from '../../src/config/load.ts'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { ROOT } from './dockerfile.ts'

const page = readFileSync(join(ROOT, 'docs/deployment.md'), 'utf8')
const unit = readFileSync(join(ROOT, 'deploy/torchgate.service'), 'utf8')
const settings = unit.split('\n').filter(line => /^\w+=/.test(line)).map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const)
const setting = (name: string) => settings.filter(([found]) => found === name).map(([, value]) => value)
const INSTALLED = '/opt/torchgate/'

/** The configuration that the page has made out of the example. */
function installed (folder: string) {
  const edits = [...page.matchAll(/-e 's\|([^|]+)\|([^|]+)\|'/g)]
  const example = readFileSync(join(ROOT, 'torchgate.example.yaml'), 'utf8')
  const file = join(folder, 'torchgate.yaml')
  writeFileSync(file, edits.reduce((text, [, from, to]) => text.replaceAll(new RegExp(from!, 'gm'), to!), example))
  return { edits: edits.length, ...loadConfig(file, { env: {} }) }
}

test('the unit starts what the page installs', async t => {
  const [command] = setting('ExecStart')
  const [, program, config] = /^\/usr\/bin\/env node (\S+) start --config (\S+)$/.exec(command!)!
  for (const path of [program!, setting('Documentation').join('').replace('file://', '')]) {
    t.ok(path.startsWith(INSTALLED) && existsSync(join(ROOT, path.slice(INSTALLED.length))), path)
  }
  t.match(page, `| sudo tee ${config}\n`)
  t.match(page, `sudo useradd --system --user-group --home-dir ${setting('WorkingDirectory').join('')} --shell /usr/sbin/nologin ${setting('User').join('')}\n`)
  t.same(setting('User'), setting('Group'))
})

test('the configuration that the page makes is valid, with its data where the unit may write', async t => {
  const { edits, config, warnings } = installed(t.testdir({}))
  t.equal(edits, 2)
  t.same(warnings, [])
  t.equal(config.dataDir, `/var/lib/${setting('StateDirectory').join('')}`)
  t.equal(config.dataDir, setting('WorkingDirectory').join(''))
  const [pool] = config.backends
  t.equal(pool?.kind === 'pool' && pool.models[0]?.path, `${INSTALLED}${BUILTIN_MODEL.path.slice(ROOT.length + 1)}`)
})

test('the unit lets calls end, and outlives a worker', async t => {
  const { config } = installed(t.testdir({}))
  t.ok(Number(setting('TimeoutStopSec')[0]) * 1000 > config.server.drainTimeoutMs + 6_000)
  t.same(setting('KillMode'), ['mixed'])
  t.same(setting('OOMPolicy'), ['continue'])
  t.ok(Number(setting('LimitNOFILE')[0]) > config.server.maxConnections)
})

test('the unit is sandboxed as far as V8 allows', async t => {
  for (const [name, value] of Object.entries({ CapabilityBoundingSet: '', NoNewPrivileges: 'yes', ProtectSystem: 'strict', PrivateTmp: 'yes', SystemCallFilter: '@system-service' })) {
    t.same(setting(name), [value], name)
  }
  t.same(setting('MemoryDenyWriteExecute'), [], 'V8 could not compile')
})

test('docs/deployment.md names files and variables that there are', async t => {
  for (const [, path] of page.matchAll(/\]\(([^)#]+)\)/g)) t.ok(existsSync(join(ROOT, 'docs', path!)), path!)
  const known = new Set([
    ...Object.keys(ENVIRONMENT), ...PROVIDERS.flatMap(({ key }) => [key, `${key}_FILE`]),
    ...[...readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8').matchAll(/\$\{(\w+)/g)].map(([, name]) => name!),
    'NODE_IMAGE'
  ])
  const named = [...page.matchAll(/\b[A-Z]+_[A-Z_]+\b/g)].map(([name]) => name)
  t.ok(named.length > 5)
  t.same(named.filter(name => !known.has(name)), [])
})
