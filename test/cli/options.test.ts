/** What flags and variables change. */
import { once } from 'node:events'
import { copyFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { startProvider } from '../gateway/provider.ts'
import { addresses, Command, openFolder, start } from './command.ts'

const limits = { timeout: 60_000 }

test('HOST, PORT and ADMIN_PORT say where, and flags overrule them', limits, async t => {
  const folder = openFolder(t)
  const [taken, free, other] = [await listening(t), await unused(), await unused()]
  const env = { HOST: 'localhost', PORT: String(free), ADMIN_PORT: String(taken) }
  const command = new Command(t, folder, ['--admin-port', String(other), '--data-dir', join(folder, 'data')], { env })
  const { url, adminUrl } = await addresses(command)
  t.match([url, adminUrl], [new RegExp(`^http://(127\\.0\\.0\\.1|\\[::1\\]):${free}$`), `http://127.0.0.1:${other}`])
  command.kill('SIGTERM')
  t.same(await command.exit, { code: 0, signal: null })

  const flagged = new Command(t, folder, ['--host', '0.0.0.0', '-p', String(other), '--admin-port', '0', '--data-dir', join(folder, 'new')], { env })
  t.match(await addresses(flagged), { url: `http://0.0.0.0:${other}` })
  t.match(flagged.stderr, `curl http://127.0.0.1:${other}/v1/`, 'every address is none to call; what is pasted names one')
  flagged.kill('SIGTERM')
  await flagged.exit
})

test('--model serves another file, under its own name', limits, async t => {
  const folder = openFolder(t)
  const file = join(folder, 'Tiny Talker-Q8_0.gguf')
  copyFileSync(BUILTIN_MODEL.path, file)
  const { command, url, key } = await start(t, folder, ['--model', file])
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny-talker-q8_0', messages: [{ role: 'user', content: 'Hello' }] })
  })
  t.match(await response.json(), { model: 'tiny-talker-q8_0', choices: [{ finish_reason: 'stop' }] })
  t.match(command.stderr, '"model":"tiny-talker-q8_0"', 'the line to paste names it')
  const models = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
  t.match((await models.json() as { data: { id: string }[] }).data.map(({ id }) => id), ['tiny-talker-q8_0'])
})

test('OPENAI_API_KEY is all it takes for the models of OpenAI', limits, async t => {
  const folder = openFolder(t)
  const provider = await startProvider(t)
  const { command, url, key } = await start(t, folder, [], { env: { OPENAI_API_KEY: 'sk-secret-of-mine', OPENAI_BASE_URL: provider.url } })
  t.match(command.stderr, /Models +pilot, openai\/\*, gpt-\*/)
  for (const model of ['openai/gpt-5', 'gpt-5']) {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] })
    })
    t.match(await response.json(), { choices: [{ message: { content: 'from the cloud' } }] })
    t.equal(response.headers.get('x-torchgate-target'), 'openai/gpt-5')
    t.match(provider.seen.requests.at(-1), { headers: { authorization: 'Bearer sk-secret-of-mine' }, body: { model: 'gpt-5' } })
  }
  command.kill('SIGTERM')
  t.same(await command.exit, { code: 0, signal: null })
  t.notMatch(command.stdout + command.stderr, /sk-secret/)
})

async function listening (t: Test): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

async function unused (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}
