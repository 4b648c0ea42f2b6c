import { join } from 'node:path'
import { test } from 'tap'
import { ConfigError, formatPath } from '../../src/config/problems.ts'
import { checkSecrets, resolveSecret } from '../../src/config/secrets.ts'
import type { Secret } from '../../src/config/schema.ts'
import { loaded, problemsOf, SAMPLE } from './sample.ts'

const path = 'backends[1].apiKey'
const fault = (secret: Secret, env: NodeJS.ProcessEnv = {}) => {
  try { return `no fault: ${resolveSecret(secret, { path, env })}` } catch (error) { return error instanceof ConfigError ? error.message : error }
}

test('a secret comes from a variable, from the file its twin names, or from a file', async t => {
  const folder = t.testdir({ key: 'from-file\n', twin: 'from-twin \r\n' })
  const twin = { KEY_FILE: join(folder, 'twin') }
  t.equal(resolveSecret({ env: 'KEY' }, { path, env: { KEY: 'from-env' } }), 'from-env')
  t.equal(resolveSecret({ env: 'KEY' }, { path, env: twin }), 'from-twin')
  t.equal(resolveSecret({ env: 'KEY' }, { path, env: { KEY: '', ...twin } }), 'from-twin', 'an empty variable counts as unset')
  t.equal(resolveSecret({ env: 'KEY' }, { path, env: { KEY: 'from-env', ...twin } }), 'from-env', 'the variable itself comes first')
  t.equal(resolveSecret({ file: join(folder, 'key') }, { path, env: {} }), 'from-file')
})

test('a secret that cannot be had is told by its path in the configuration, never by its value', async t => {
  const folder = t.testdir({ empty: ' \n', broken: 'hunter2\nx-other: 1', big: 'hunter2'.repeat(10_000) })
  const file = (name: string) => join(folder, name)
  t.equal(fault({ env: 'KEY' }), 'backends[1].apiKey: the environment variable KEY is not set, nor is KEY_FILE')
  t.equal(fault({ env: 'KEY' }, { KEY: '  ' }), 'backends[1].apiKey: the environment variable KEY is empty')
  t.equal(fault({ env: 'KEY' }, { KEY: 'hunter2\r\nx: 1' }), 'backends[1].apiKey: the environment variable KEY holds a line break or another control character; expected one line')
  t.equal(fault({ env: 'KEY' }, { KEY_FILE: file('none') }), 'backends[1].apiKey: the file that KEY_FILE names cannot be read (ENOENT)')
  t.equal(fault({ env: 'KEY' }, { KEY_FILE: 'nul\0' }), 'backends[1].apiKey: the file that KEY_FILE names cannot be read (ERR_INVALID_ARG_VALUE)')
  t.equal(fault({ file: file('none') }), `backends[1].apiKey: the file ${file('none')} cannot be read (ENOENT)`)
  t.equal(fault({ file: file('empty') }), `backends[1].apiKey: the file ${file('empty')} is empty`)
  t.equal(fault({ file: file('broken') }), `backends[1].apiKey: the file ${file('broken')} holds a line break or another control character; expected one line`)
  t.equal(fault({ file: file('big') }), `backends[1].apiKey: the file ${file('big')} is larger than 65536 bytes, so it is hardly a secret`)
})

test('every missing secret is found, not only the first', async t => {
  const { config } = loaded(`${SAMPLE}state: { redis: { url: { env: REDIS } } }\n`)
  t.same(checkSecrets(config, {}).map(finding => formatPath(finding.path)), ['state.redis.url', 'backends[1].apiKey'])
  t.same(checkSecrets(config, { REDIS: 'redis://x', OPENAI_API_KEY: 'x' }), [])
})

const node = (script: string, timeoutMs = 5_000): Secret => ({ command: [process.execPath, '-e', script], timeoutMs })

test('a command writes the secret; it gets the environment and no shell', async t => {
  t.equal(resolveSecret(node('console.log(process.env.WHAT)'), { path, env: { WHAT: 'from-command' } }), 'from-command')
  t.equal(resolveSecret({ command: [process.execPath, '-p', 'process.argv[1]', '$(id); x'], timeoutMs: 5_000 }, { path, env: {} }), '$(id); x')
})

test('a command that fails, dawdles or babbles is told by its name, never by its arguments nor by what it wrote', async t => {
  t.equal(fault(node('console.log("hunter2"); console.error("hunter2"); process.exit(3)')), 'backends[1].apiKey: the command node ended with status 3')
  t.equal(fault(node('console.log("hunter2"); setInterval(() => {}, 1000)', 300)), 'backends[1].apiKey: the command node did not end within 300 ms')
  t.equal(fault(node('process.stdout.write("hunter2".repeat(20000))')), 'backends[1].apiKey: the command node wrote more than 65536 bytes, so it is hardly a secret')
  t.equal(fault(node('console.log("hunter2\\nx: 1")')), 'backends[1].apiKey: what the command node wrote holds a line break or another control character; expected one line')
  t.equal(fault(node('')), 'backends[1].apiKey: what the command node wrote is empty')
  t.equal(fault({ command: ['/no/such/program', 'hunter2'], timeoutMs: 100 }), 'backends[1].apiKey: the command program cannot be run (ENOENT)')
})

test('several keys are found each by its place, and stand instead of one', async t => {
  const keys = 'apiKeys: [{ name: a, key: { env: KEY_A } }, { name: b, key: { env: KEY_B }, weight: 3 }]'
  const { config } = loaded(SAMPLE.replace('apiKey: { env: OPENAI_API_KEY }', keys))
  t.same(checkSecrets(config, { KEY_A: 'x' }).map(finding => formatPath(finding.path)), ['backends[1].apiKeys[1].key'])
  t.match(problemsOf(SAMPLE.replace('apiKey: {', `${keys}\n    apiKey: {`)).join(), /apiKeys: expected either apiKey or apiKeys/)
  t.match(problemsOf(SAMPLE.replace('apiKey: { env: OPENAI_API_KEY }', keys.replace('name: b', 'name: a'))).join(), /apiKeys\[1\]\.name: "a" is already the name of apiKeys\[0\]/)
})
