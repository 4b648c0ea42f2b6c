/** What is said when a flag, a variable or a file is wrong. */
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { SAMPLE } from '../config/sample.ts'
import { openFolder, run, start } from './command.ts'

const limits = { timeout: 60_000 }

test('a port in use is one line, and the keys of a first start are not lost by it', limits, async t => {
  const folder = openFolder(t)
  const port = await listening(t)
  const data = ['--data-dir', join(folder, 'data')]
  const inUse = (flag: string, more: string) => `torchgate: Port ${port} on 127.0.0.1 is in use (${flag}). Choose another with ${more}, or stop what listens there.\n`
  t.match(await run(t, folder, ['--port', String(port), '--admin-port', '0', ...data]), { code: 1, stderr: inUse('server.port', 'PORT or --port') })
  t.match(await run(t, folder, ['--port', '0', '--admin-port', String(port), ...data]), { code: 1, stderr: inUse('admin.port', 'ADMIN_PORT or --admin-port') })
  const { key, command } = await start(t, folder)
  t.match(key, /^tg_live_/)
  command.kill('SIGTERM')
  await command.exit
})

test('a model that is not what its digest says is never served', limits, async t => {
  const folder = openFolder(t)
  writeFileSync(join(folder, 'torchgate.yaml'), `
backends:
  - name: local
    kind: pool
    models: [{ name: pilot, path: ${BUILTIN_MODEL.path}, sha256: '${'0'.repeat(64)}', gpu: false }]
    restart: { backoffMs: 1, maxBackoffMs: 1, quarantineAfter: 1 }
models: [{ name: pilot, targets: [{ backend: local, model: pilot }] }]
tenants: [{ name: default }]
`)
  const { command, adminUrl, url, key } = await start(t, folder, ['--config', join(folder, 'torchgate.yaml')])
  await command.says(/pilot has no ready worker; w0 quarantined \(load failed: \S+pilot\.Q8_0\.gguf: expected sha256 0{64}, but the file has [0-9a-f]{64}; it is damaged or another model\.\)/)
  t.equal((await fetch(`${adminUrl}/readyz`)).status, 503)
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'pilot', messages: [{ role: 'user', content: 'Hello' }] })
  })
  t.equal(response.status, 503)
  t.notMatch(await response.text(), /gguf|sha256/, 'callers learn nothing of our files')
  command.kill('SIGTERM')
  t.same(await command.exit, { code: 0, signal: null })
})

test('what cannot be started says why in one line, where possible with file and line', limits, async t => {
  const folder = openFolder(t)
  mkdirSync(join(folder, 'models'))
  writeFileSync(join(folder, 'models/qwen.gguf'), 'GGUF')
  writeFileSync(join(folder, 'good.yaml'), SAMPLE)
  writeFileSync(join(folder, 'bad.yaml'), SAMPLE.replace('cloud', 'onprem'))
  writeFileSync(join(folder, 'file'), '')
  mkdirSync(join(folder, 'corrupt'))
  writeFileSync(join(folder, 'corrupt/torchgate.db'), 'this is no database, but it is longer than a header of one. '.repeat(20))
  mkdirSync(join(folder, 'peppered'))
  writeFileSync(join(folder, 'peppered/pepper'), 'short')
  const at = (name: string) => join(folder, name)
  const free = ['--port', '0', '--admin-port', '0']
  const refusals: [string[], NodeJS.ProcessEnv, RegExp][] = [
    [[], { PORT: 'abc' }, /^PORT: expected a number from 0 to 65535, got "abc"$/],
    [['--port', '70000'], {}, /^error: option '-p, --port <number>' argument '70000' is invalid\. expected a number from 0 to 65535\.$/m],
    [['--host', '203.0.113.1', ...free], {}, /^torchgate: 203\.0\.113\.1 is no address of this host \(server\.host\)\.$/],
    [[...free, '--data-dir', at('file')], {}, /^torchgate: The database \S+ cannot be opened: \w+: .+'$/],
    [[...free, '--data-dir', at('corrupt')], {}, /^torchgate: The database \S+corrupt\/torchgate\.db cannot be opened: file is not a database$/],
    [[...free, '--data-dir', at('peppered')], {}, /^torchgate: The pepper \S+ has 5 bytes, expected 32\. Restore it/],
    [['--model', at('none.gguf'), ...free], {}, /^backends\[0\]\.models\[0\]\.path: \S+none\.gguf does not exist$/],
    [['--config', at('good.yaml'), '--model', at('x.gguf')], {}, /^torchgate: --model goes without --config: /],
    [['--config', at('good.yaml')], {}, /^\S+good\.yaml:10 backends\[1\]\.apiKey: the environment variable OPENAI_API_KEY is not set, nor is OPENAI_API_KEY_FILE$/],
    [['--config', at('bad.yaml')], {}, /^\S+bad\.yaml:9 backends\[1\]\.locality: expected local, domain or cloud, got "onprem"$/],
    [['--config', at('none.yaml')], {}, /^\S+none\.yaml: cannot be read: there is no such file$/],
    [free, { OPENAI_API_KEY: 'k', OPENAI_BASE_URL: 'nowhere' }, /^OPENAI_BASE_URL: expected a URL that starts with http:\/\/ or https:\/\/$/],
    [[...free, '--data-dir', at('data')], { REDIS_URL: 'http://localhost' }, /^torchgate: state\.redis\.url: expected redis:\/\//]
  ]
  for (const [args, env, expected] of refusals) {
    const { code, stderr, stdout } = await run(t, folder, args, { env })
    t.equal(code, 1, args.join(' '))
    t.match(stderr.trimEnd(), expected)
    t.notMatch(stderr, /\n {4}at |node:internal/, 'no stack')
    t.match(stdout, /^(\{.*"msg":"workers are isolated.*\}\n)?$/, 'no word of more than how workers would run')
  }
})

async function listening (t: Test): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

