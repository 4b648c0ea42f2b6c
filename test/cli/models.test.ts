/** torchgate models, as an operator meets it. */
import { appendFileSync, chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { check } from '../../src/cli/check.ts'
import { assertSurroundings, configurationFor } from '../../src/cli/configuration.ts'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { pull } from '../../src/models/pull.ts'
import { fileOf } from '../../src/models/versions.ts'
import { changedPilot, digestOf, PILOT, REPOSITORY, stallAfter, startHub } from '../models/hub-server.ts'
import { Command, openFolder, run, start } from './command.ts'

const limits = { timeout: 60_000 }
const SOURCE = `hf:${REPOSITORY}:Q8_0`

function models (t: Test, folder: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return run(t, folder, ['models', ...args, '--data-dir', join(folder, 'data')], { env })
}

const partialBytes = (folder: string) => {
  const partial = join(folder, 'data/models/partial')
  const file = existsSync(partial) ? readdirSync(partial).find(name => name.endsWith('.partial')) : undefined
  return file === undefined ? 0 : statSync(join(partial, file)).size
}

for (const [how, signal, expected] of [['killed', 'SIGKILL', { code: null, signal: 'SIGKILL' }], ['interrupted', 'SIGINT', { code: 130, signal: null }]] as const) {
  test(`a pull that is ${how} is gone on from by the same command`, limits, async t => {
    const folder = openFolder(t)
    const hub = await startHub(t)
    hub.cdnNext.push(stallAfter(hub, 2_000_000))
    const env = { HF_ENDPOINT: hub.url }
    const first = new Command(t, folder, ['models', 'pull', SOURCE, '--data-dir', join(folder, 'data')], { env })
    for (const endMs = performance.now() + 10_000; partialBytes(folder) < 2_000_000 && performance.now() < endMs;) await new Promise(resolve => { setTimeout(resolve, 10) })
    first.kill(signal)
    t.same(await first.exit, expected)
    if (signal === 'SIGINT') t.match(first.stderr, 'What has arrived is kept; the same command goes on from there.')
    t.equal(first.stdout, '')
    if (signal === 'SIGKILL') t.match((await models(t, folder, ['list'])).stderr, /pilot\.q8_0: 2\.0 MB of 5\.4 MB are here; torchgate models pull hf:tiny/)
    const second = await models(t, folder, ['pull', SOURCE], env)
    t.match(second, { code: 0, stdout: 'model:pilot.q8_0\n' }, second.stderr)
    t.equal(hub.seen.at(-1)!.headers.range, 'bytes=2000000-')
    t.ok(readFileSync(fileOf(join(folder, 'data/models'), digestOf(PILOT))).equals(PILOT))
  })
}

test('a model is pulled, accepted, served, replaced, taken back and removed', limits, async t => {
  const folder = openFolder(t)
  const hub = await startHub(t)
  const env = { HF_ENDPOINT: hub.url }
  const config = join(folder, 'torchgate.yaml')
  writeFileSync(config, `dataDir: ${join(folder, 'data')}
server: { port: 0 }
admin: { port: 0 }
backends:
  - name: local
    kind: pool
    models: [{ name: pilot, path: "model:tiny", contextTokens: 2048, gpu: false }]
models: [{ name: pilot, targets: [{ backend: local, model: pilot }] }]
tenants: [{ name: default }]
`)
  const checked = () => {
    const lines: string[] = []
    const code = check(config, { env: {}, print: line => { lines.push(line) } })
    return { code, said: lines.join('\n') }
  }
  const pulled = (source: string) => pull(source, { folder: join(folder, 'data/models'), signal: AbortSignal.timeout(10_000), env, name: 'tiny' })
  t.match(checked(), { code: 1, said: /^\S+torchgate\.yaml:7 backends\[0\]\.models\[0\]\.path: no model "tiny" has been pulled; pull it: torchgate models pull hf:OWNER\/REPO:QUANTISATION --name tiny --data-dir \S+data$/ })
  t.match(await models(t, folder, ['pull', SOURCE, '--name', 'tiny'], env), { code: 0, stderr: /not served before its licence is accepted.*models accept apache-2\.0/ })
  t.match(checked(), { code: 1, said: /torchgate\.yaml:7 .*the licence of tiny is apache-2\.0, and it has not been accepted; read it, then: torchgate models accept apache-2\.0/ })
  t.match(await models(t, folder, ['accept', 'apache-2.0']), { code: 0, stderr: /accepted, for tiny/ })
  t.match(checked(), { code: 0 })

  const { url, key, command } = await start(t, folder, ['--config', config])
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'pilot', messages: [{ role: 'user', content: 'Hello' }] })
  })
  t.match(await response.json(), { choices: [{ message: { content: /\w/ } }] })
  command.kill('SIGTERM')
  await command.exit

  const changed = changedPilot()
  hub.files.set('pilot.Q8_0.gguf', changed)
  t.match(await pulled(SOURCE), { isNew: true, isAccepted: true })
  const shownAs = async () => JSON.parse((await models(t, folder, ['show', 'tiny', '--json'])).stdout) as unknown
  t.match(await shownAs(), { name: 'tiny', current: { sha256: digestOf(changed), isAccepted: true }, previous: { sha256: digestOf(PILOT) } })
  t.match(await models(t, folder, ['rollback', 'tiny']), { code: 0, stderr: /A gateway takes it at its next start/ })
  t.match(await shownAs(), { current: { sha256: digestOf(PILOT) }, previous: { sha256: digestOf(changed) } })
  t.match(await models(t, folder, ['list']), { code: 0, stdout: /^tiny {2}Q8_0 {2}5\.4 MB {2}apache-2\.0 {2}hf:tiny\/pilot-GGUF:Q8_0 {2}e37112969205, before that/ })

  const file = join(folder, 'data/models', `${digestOf(PILOT)}.gguf`)
  chmodSync(file, 0o600)
  const bytes = readFileSync(file)
  bytes[4_000_000]! ^= 1
  writeFileSync(file, bytes)
  t.match(await models(t, folder, ['verify', 'tiny']), { code: 1, stdout: /e37112969205 {2}\S+ has sha256/, stderr: /tiny: not what was pulled/ })
  appendFileSync(file, 'x')
  t.match(checked(), { code: 1, said: /has 5440769 bytes instead of 5440768; pull it again: torchgate models pull hf:tiny\/pilot-GGUF:Q8_0 --name tiny/ })
  t.match(await models(t, folder, ['rm', 'tiny']), { code: 0 })
  t.same(readdirSync(join(folder, 'data/models')).filter(name => name.endsWith('.gguf')), [])
  t.match(await models(t, folder, ['rm', 'tiny']), { code: 1, stderr: /has no model of this name; it has none at all/ })
})

test('--model takes what was pulled, by its name', async t => {
  const dataDir = openFolder(t)
  const given = configurationFor({ model: 'model:tiny', dataDir }, {})
  t.throws(() => assertSurroundings(given, {}), /no model "tiny" has been pulled/)
  await pull(BUILTIN_MODEL.path, { folder: join(dataDir, 'models'), signal: AbortSignal.timeout(10_000), env: {}, name: 'tiny', acceptLicences: ['apache-2.0'] })
  const [pool] = assertSurroundings(given, {}).config.backends
  t.match(pool, { models: [{ name: 'tiny', path: fileOf(join(dataDir, 'models'), BUILTIN_MODEL.sha256), sha256: BUILTIN_MODEL.sha256 }] })
  t.match(given.config.models[0], { name: 'tiny' })
  writeFileSync(join(dataDir, 'models/manifest.json'), '{}')
  t.throws(() => assertSurroundings(given, {}), /manifest\.json: version 1 is expected/)
})

test('what cannot be pulled says why on one line, with no stack', limits, async t => {
  const folder = openFolder(t)
  const bad: [string[], RegExp][] = [
    [['pull', SOURCE, '--offline'], /is not fetched, because --offline says so/],
    [['pull', 'nobody.gguf'], /nobody\.gguf does not exist\. From the hub it is hf:/],
    [['pull', 'package.json'], /sends no GGUF file; it begins with "\{/],
    [['pull', 'hf:a/b:Q4', '--sha256', 'abc'], /--sha256: expected 64 hexadecimal digits/],
    [['rollback', 'nobody'], /has no model of this name/]
  ]
  await Promise.all(bad.map(async ([args, expected]) => {
    const { code, stdout, stderr } = await models(t, folder, args)
    t.match({ code, stdout }, { code: 1, stdout: '' }, args.join(' '))
    t.match(stderr, expected)
    t.notMatch(stderr, /\n {4}at /)
  }))
})
