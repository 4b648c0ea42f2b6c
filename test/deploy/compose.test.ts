import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { parse } from 'yaml'
import { ENVIRONMENT } from '../../src/config/environment.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'
import { copied, ROOT, wordsOf } from './dockerfile.ts'

interface Service {
  readonly image: string
  readonly command?: readonly string[]
  readonly ports?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly volumes?: readonly string[]
  readonly networks: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly [key: string]: unknown
}

const text = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8')
const compose: { services: Record<string, Service>, networks: Record<string, unknown>, volumes: Record<string, unknown> } = parse(text, { merge: true })
const { gateway, valkey, prometheus } = compose.services as { gateway: Service, valkey: Service, prometheus: Service }
const env = gateway.environment!
const config = loadConfig(join(ROOT, 'deploy/torchgate.yaml'), { env })

const ms = (duration: unknown) => Number(/^(\d+)s$/.exec(String(duration))![1]) * 1000

test('every service is hardened', async t => {
  for (const [name, service] of Object.entries(compose.services)) {
    t.match(service, { read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] }, name)
    t.notOk(['privileged', 'cap_add', 'network_mode', 'pid', 'ipc'].some(key => key in service), name)
  }
})

test('what is published is bound to loopback, and metrics and the admin API are not published', async t => {
  const ports = Object.values(compose.services).flatMap(({ ports: listed = [] }) => listed)
  t.equal(ports.length, 2)
  for (const port of ports) t.match(port, /^127\.0\.0\.1:[^:]+(:-\d+\})?:\d+$/)
  t.notOk(gateway.ports!.some(port => port.endsWith(`:${config.config.admin.port}`)))
  t.ok(gateway.ports!.every(port => port.endsWith(`:${config.config.server.port}`)))
})

test('the gateway runs on deploy/torchgate.yaml, without a complaint', async t => {
  t.same(config.warnings, [])
  t.same(Object.keys(env).filter(name => !Object.hasOwn(ENVIRONMENT, name)), [])
  const [from, to] = gateway.volumes![0]!.split(':')
  t.equal(join(ROOT, from!), join(ROOT, 'deploy/torchgate.yaml'))
  t.same(gateway.command, ['start', '--config', to])
})

test('the model of the configuration is in the image, and data goes into the volume', async t => {
  const [backend] = config.config.backends
  const path = backend?.kind === 'pool' ? backend.models[0]!.path : ''
  const source = [...copied()].find(([, to]) => to === path)?.[0]
  t.ok(source !== undefined && existsSync(join(ROOT, source)), path)
  const [volume] = JSON.parse(wordsOf('VOLUME')[0]!)
  t.ok(config.config.dataDir.startsWith(`${volume}/`))
  t.ok(gateway.volumes!.includes(`gateway:${volume}`))
})

/** `#key: …` is an option left out; prose has a space behind the `#`. */
const everything = readFileSync(join(ROOT, 'deploy/torchgate.yaml'), 'utf8').replaceAll(/^( *)#(?=\S)/gm, '$1')

test('what deploy/torchgate.yaml leaves out is valid as well', async t => {
  const file = join(t.testdir({}), 'torchgate.yaml')
  writeFileSync(file, everything)
  const all: Config = loadConfig(file, { env }).config
  t.same(all.backends.map(({ name }) => name), ['local', 'openai'])
  t.same(all.models.map(({ name }) => name), ['pilot', 'qwen3-0.6b', 'openai/*'])
  const pool = all.backends[0]!
  t.ok(pool.kind === 'pool' && gateway.volumes!.some(volume => volume.includes(`:${pool.models[1]!.path.slice(0, '/models'.length)}:ro`)))
})

test('names in addresses are services on a network that both are on', async t => {
  t.equal(new URL(env['REDIS_URL']!).hostname, 'valkey')
  const scrapes: { job_name: string, static_configs: { targets: string[] }[] }[] = parse(readFileSync(join(ROOT, 'deploy/prometheus.yml'), 'utf8')).scrape_configs
  const targets = scrapes.find(({ job_name: job }) => job === 'torchgate')!.static_configs.flatMap(({ targets: listed }) => listed)
  t.same(targets, [`gateway:${config.config.admin.port}`])
  t.equal(config.config.admin.host, '0.0.0.0', 'or Prometheus could not reach it')
  for (const other of [valkey, prometheus]) t.ok(other.networks.some(network => gateway.networks.includes(network)))
})

test('Valkey has no way out, is waited for, and starts without capabilities', async t => {
  t.same(valkey.networks, ['back'])
  t.same(compose.networks['back'], { internal: true })
  t.same(gateway.depends_on, { valkey: { condition: 'service_healthy' } })
  t.match(valkey['user'], /^[1-9]\d*:[1-9]\d*$/)
})

test('mounts exist, and only volumes can be written', async t => {
  for (const mount of Object.values(compose.services).flatMap(({ volumes = [] }) => volumes)) {
    const [, source = '', readOnly] = /^(?:\$\{\w+:-)?([^:}]+)\}?:[^:]+(:ro)?$/.exec(mount)!
    if (source.startsWith('.')) t.ok(readOnly !== undefined && existsSync(join(ROOT, source)), mount)
    else t.ok(source in compose.volumes, mount)
  }
})

test('a running call may end before the container is killed', async t => {
  // After the calls: last words to those cut off (1 s), then workers that have 5 s to stop.
  t.ok(ms(gateway['stop_grace_period']) > config.config.server.drainTimeoutMs + 6_000)
})

test('health checks need no shell, and only Prometheus has to be asked for', async t => {
  for (const service of [valkey, prometheus]) t.match(service, { healthcheck: { test: ['CMD'] } })
  t.equal(wordsOf('HEALTHCHECK').length, 1)
  t.same(Object.entries(compose.services).filter(([, service]) => 'profiles' in service).map(([name]) => name), ['prometheus'])
  t.same(prometheus['profiles'], ['monitoring'])
})
