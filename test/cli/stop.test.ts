/** Signals: the first drains, the second ends, and no worker outlives its gateway. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import OpenAI from 'openai'
import { test, type Test } from 'tap'
import { ask, eventually, readAll } from '../gateway/harness.ts'
import { startProvider, type Provider } from '../gateway/provider.ts'
import { Command, isReady, MAIN, nobodyOf, openFolder, processesOf, start, workersOf, type Started } from './command.ts'

const limits = { timeout: 60_000 }

interface Scene extends Started { readonly folder: string, readonly provider: Provider, readonly client: OpenAI }

/** A gateway with its own worker and a provider that can be told to be slow. */
async function scene (t: Test): Promise<Scene> {
  const folder = openFolder(t)
  const provider = await startProvider(t)
  const started = await start(t, folder, [], { env: { OPENAI_API_KEY: 'k', OPENAI_BASE_URL: provider.url } })
  await isReady(started.command)
  return { ...started, folder, provider, client: new OpenAI({ apiKey: started.key, baseURL: `${started.url}/v1`, maxRetries: 0 }) }
}

/** An open stream that the provider ends by itself after about `ms`. */
async function slowStream ({ provider, client }: Scene, ms: number) {
  const words = Array.from({ length: ms / 100 }, (_, index) => `${index} `)
  provider.behave = { do: 'answer', words, gapMs: 100 }
  const stream = await client.chat.completions.create({ ...ask('Hello', 'gpt-slow'), stream: true })
  const ended = readAll(stream)
  // Looked at later, when other things have been asserted.
  ended.catch(() => {})
  return { whole: words.join(''), ended }
}

test('Ctrl-C drains: running streams end whole, new calls are refused, and the exit code is 0', limits, async t => {
  const at = await scene(t)
  const { whole, ended } = await slowStream(at, 1_500)
  const local = readAll(await at.client.chat.completions.create({ ...ask('Count from 1 to 40'), stream: true }))
  local.catch(() => {})
  t.equal((await fetch(`${at.adminUrl}/readyz`)).status, 200)

  at.command.interrupt()
  await at.command.says(/SIGINT: finishing running calls; a second signal exits at once/)
  // What npm does with the Ctrl-C that the terminal has sent already.
  at.command.kill('SIGINT')
  t.ok(await eventually(async () => (await fetch(`${at.adminUrl}/readyz`)).status === 503), 'no new traffic is wanted')
  t.match(await (await fetch(`${at.adminUrl}/readyz`)).json(), { status: 'not_ready', checks: { gateway: 'draining' } })
  t.equal((await fetch(`${at.adminUrl}/livez`)).status, 200, 'but it lives')
  const status = await fetch(`${at.adminUrl}/admin/v1/status`, { headers: { authorization: `Bearer ${at.adminKey}` } })
  const { draining, inFlight } = await status.json() as { draining: boolean, inFlight: number }
  t.ok(draining)
  t.ok(inFlight >= 1 && inFlight <= 2, `${inFlight} calls are still under way`)
  await t.rejects(fetch(`${at.url}/v1/models`, { headers: { connection: 'close' } }), 'the port takes no new connection')

  t.match(await ended, { text: whole, finish: 'stop' })
  t.match(await local, { text: /\b40\b/, finish: 'stop' })
  t.same(await at.command.exit, { code: 0, signal: null })
  t.same(processesOf(at.folder), [])
  t.notOk(readdirSync(at.folder).some(name => name.startsWith('torchgate-')), 'nor a socket')
  t.match(at.command.stdout, /"target":"openai\/gpt-\*".*"outcome":"ok"/)
})

test('a second signal ends it at once, with a stream open', limits, async t => {
  const at = await scene(t)
  const { ended } = await slowStream(at, 20_000)
  at.command.kill('SIGTERM')
  await at.command.says(/SIGTERM: finishing/)
  await wait(1_100)
  const pressedMs = performance.now()
  at.command.interrupt()
  t.same(await at.command.exit, { code: 1, signal: null })
  t.ok(performance.now() - pressedMs < 2_000)
  t.ok(await nobodyOf(at.folder, 2_000), 'no worker is left')
  t.notOk(readdirSync(at.folder).some(name => name.startsWith('torchgate-')), 'nor a socket')
  await t.rejects(ended)
})

test('a gateway that is killed takes its workers along within 2 s, whatever they are doing', limits, async t => {
  const at = await scene(t)
  const pids = workersOf(at.folder)
  t.equal(pids.length, 1)
  const streams = await Promise.all(Array.from({ length: 4 }, async () => at.client.chat.completions.create({ ...ask('Count from 1 to 40'), stream: true })))
  const busy = Promise.allSettled(streams.map(readAll))
  at.command.kill('SIGKILL')
  t.ok(await nobodyOf(at.folder, 5_000))
  t.same(await at.command.exit, { code: null, signal: 'SIGKILL' })
  await busy
  t.ok(existsSync(join(at.folder, 'data/torchgate.db')))
})

test('a gateway that is killed while its worker loads takes it along too', limits, async t => {
  const folder = openFolder(t)
  const { command } = await start(t, folder)
  command.kill('SIGKILL')
  await command.exit
  t.ok(await nobodyOf(folder, 5_000))
})

test('Ctrl-C while the workers still load: exit code 0, and nothing is left', limits, async t => {
  const folder = openFolder(t)
  const { command, key } = await start(t, folder)
  command.interrupt()
  t.same(await command.exit, { code: 0, signal: null })
  t.notMatch(command.stderr, /Ready|no ready worker/)
  t.notMatch(command.stdout, /"level":"error"/)
  t.same(processesOf(folder), [])
  t.ok(key !== '')
})

test('Ctrl-C before it listens: the same, and the keys of a first start are shown nevertheless', limits, async t => {
  const folder = openFolder(t)
  const command = new Command(t, folder, ['--port', '0', '--admin-port', '0', '--data-dir', join(folder, 'data')])
  t.ok(await eventually(() => workersOf(folder).length > 0, 20_000))
  command.interrupt()
  t.same(await command.exit, { code: 0, signal: null })
  t.match(command.stderr, /API key +tg_live_/)
  t.same(processesOf(folder), [])
})

test('whoever reads its output may leave: it goes on, and still stops with exit code 0', limits, async t => {
  const folder = openFolder(t)
  const { command, url, key } = await start(t, folder)
  command.leave()
  await eventually(async () => workersOf(folder).length === 1)
  const client = new OpenAI({ apiKey: key, baseURL: `${url}/v1`, maxRetries: 0 })
  for (const content of ['Hello', 'Count from 1 to 3']) t.match(await client.chat.completions.create(ask(content)), { choices: [{ finish_reason: 'stop' }] })
  command.kill('SIGTERM')
  t.same(await command.exit, { code: 0, signal: null })
  t.same(processesOf(folder), [])
})

test('an exception that nobody caught: running streams end whole, the exit code is 70, and its message is not shown', limits, async t => {
  const folder = openFolder(t)
  const provider = await startProvider(t)
  const fault = "process.on('SIGUSR2', () => { throw new TypeError('sec' + 'ret') })"
  const started = await start(t, folder, [], {
    env: { OPENAI_API_KEY: 'k', OPENAI_BASE_URL: provider.url },
    program: [process.execPath, '--import', `data:text/javascript,${encodeURIComponent(fault)}`, MAIN]
  })
  await isReady(started.command)
  const client = new OpenAI({ apiKey: started.key, baseURL: `${started.url}/v1`, maxRetries: 0 })
  const { whole, ended } = await slowStream({ ...started, folder, provider, client }, 1_000)
  started.command.kill('SIGUSR2')
  await started.command.says(/a fault of the program: TypeError\n\s+at .*\n(.*\n)*.*ending with code 70/)
  t.match(await ended, { text: whole, finish: 'stop' })
  t.same(await started.command.exit, { code: 70, signal: null })
  t.notMatch(started.command.stderr + started.command.stdout, /secret/)
})
