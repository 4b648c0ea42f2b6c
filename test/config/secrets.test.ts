import { join } from 'node:path'
import { test } from 'tap'
import { ConfigError, formatPath } from '../../src/config/problems.ts'
import { checkSecrets, resolveSecret } from '../../src/config/secrets.ts'
import type { Secret } from '../../src/config/schema.ts'
import { loaded, SAMPLE } from './sample.ts'

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
