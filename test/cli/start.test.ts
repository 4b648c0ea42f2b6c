/** The first minutes with torchgate: nothing configured, everything pasted as it is printed. */
import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { eventually } from '../gateway/harness.ts'
import { addresses, Command, isReady, nobodyOf, openFolder, processesOf, ROOT, run, start, withoutCurl } from './command.ts'

test('npm start, pasted line by line', { timeout: 60_000 }, async t => {
  const folder = openFolder(t)
  const npm = { program: ['npm', 'start', '--'] as const }
  const flags = ['--port', '0', '--admin-port', '0', '--data-dir', join(folder, 'data')]
  const first = new Command(t, folder, flags, npm)
  await isReady(first)
  const readyMs = performance.now() - first.startedMs
  t.comment(`ready ${Math.round(readyMs)} ms after npm start, ${/Ready after ([\d.]+) s/.exec(first.stderr)?.[1]} s of them in the gateway`)
  t.ok(readyMs < 20_000)
  const { url, adminUrl, key, adminKey } = await addresses(first)
  t.match([url, adminUrl], [/^http:\/\/127\.0\.0\.1:\d+$/, /^http:\/\/127\.0\.0\.1:\d+$/], 'on loopback alone')
  t.match([key, adminKey], [/^tg_live_.{52}$/, /^tg_live_.{52}$/])

  await t.test('the curl line', { skip: withoutCurl }, async it => {
    const [line = ''] = /^ {2}curl .+$/m.exec(first.stderr) ?? []
    const { code, stdout } = await run(it, folder, [line], { program: ['sh', '-c'] })
    it.equal(code, 0)
    it.match(JSON.parse(stdout), { object: 'chat.completion', model: 'pilot', choices: [{ message: { content: /\w/ }, finish_reason: 'stop' }] })
  })

  await t.test('the snippet for the OpenAI SDK', async it => {
    const snippet = first.stderr.slice(first.stderr.indexOf('  import OpenAI'), first.stderr.indexOf('message.content)') + 'message.content)'.length)
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    writeFileSync(join(folder, 'snippet.mjs'), snippet)
    const { code, stdout, stderr } = await run(it, folder, [join(folder, 'snippet.mjs')], { program: [process.execPath] })
    it.equal(code, 0, stderr)
    it.match(stdout, /^\w/)
  })

  await t.test('the admin key, and what it finds', async it => {
    const status = await fetch(`${adminUrl}/admin/v1/status`, { headers: { authorization: `Bearer ${adminKey}` } })
    it.match(await status.json(), { version: '0.1.0', pools: [{ models: [{ model: 'pilot', workers: [{ state: 'ready' }] }] }] })
    it.match(await (await fetch(`${adminUrl}/readyz`)).json(), { status: 'ready' })
  })

  await t.test('what lies in the data folder is for its owner alone', async it => {
    const data = join(folder, 'data')
    it.match(readdirSync(data).toSorted().filter(name => !name.startsWith('torchgate.db-')), ['files', 'pepper', 'torchgate.db'])
    for (const name of ['', 'files', 'pepper', 'torchgate.db']) it.equal(statSync(join(data, name)).mode & 0o077, 0, name)
    it.notOk(readFileSync(join(data, 'torchgate.db')).includes(key.slice(-36)), 'no secret lies in the database')
  })

  await t.test('the log is on standard output, and holds no key', async it => {
    const lines = () => first.stdout.split('\n').filter(line => line.startsWith('{')).map(line => JSON.parse(line) as Record<string, unknown>)
    const calls = withoutCurl === false ? ['call', 'call'] : ['call']
    await eventually(() => lines().length === 3 + calls.length)
    it.match(lines().map(({ msg }) => msg), [/^workers are isolated/, 'listening', 'worker is ready', ...calls])
    it.notOk(lines().some(line => 'fields_left_out' in line), 'nothing of it is cut')
    it.notMatch(first.stdout, /tg_live/)
  })

  first.interrupt()
  t.same(await first.exit, { code: 0, signal: null }, 'Ctrl-C, which npm passes on once more, is one signal')
  t.ok(await nobodyOf(folder), 'nothing is left')

  await t.test('the second start shows no keys, and the first ones still work', async it => {
    const second = await start(it, folder)
    await isReady(second.command)
    it.notMatch(second.command.stderr, /tg_live|First start|curl/)
    const response = await fetch(`${second.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
    it.match(await response.json(), { data: [{ id: 'pilot' }] })
    second.command.kill('SIGTERM')
    it.same(await second.command.exit, { code: 0, signal: null })
  })
})

test('without flags the data goes to ./data, and the ports are 8080 and 9464', async t => {
  const folder = openFolder(t)
  const { stdout } = await run(t, folder, ['--input-type=module-typescript', '-e', `
    import { configurationFor } from ${JSON.stringify(join(ROOT, 'src/cli/configuration.ts'))}
    const { config: { dataDir, server, admin } } = configurationFor({}, {})
    console.log(JSON.stringify([dataDir, server.host, server.port, admin.host, admin.port]))`], { program: [process.execPath] })
  t.same(JSON.parse(stdout), [join(ROOT, 'data'), '127.0.0.1', 8080, '127.0.0.1', 9464])
})

test('SIGTERM to npm reaches the gateway, as a service manager sends it', { timeout: 60_000 }, async t => {
  const folder = openFolder(t)
  const npm = new Command(t, folder, ['--port', '0', '--admin-port', '0', '--data-dir', join(folder, 'data')], { program: ['npm', 'start', '--'] })
  await addresses(npm)
  npm.kill('SIGTERM')
  t.same(await npm.exit, { code: 0, signal: null })
  t.same(processesOf(folder), [])
})
