import { test } from 'tap'
import { applyEnvironment, ENVIRONMENT } from '../../src/config/environment.ts'
import { loaded, SAMPLE } from './sample.ts'

const { config } = loaded(SAMPLE)

test('the environment overrides the file, and says so only through the result', async t => {
  const before = structuredClone(config)
  const { server, admin, state } = applyEnvironment(config, { HOST: '0.0.0.0', PORT: '0', ADMIN_HOST: '::', ADMIN_PORT: '1234', REDIS_URL: 'redis://x' })
  t.equal(server.host, '0.0.0.0')
  t.equal(server.port, 0)
  t.equal(admin.host, '::')
  t.equal(admin.port, 1234)
  t.same(state.redis, { timeoutMs: 50, url: { env: 'REDIS_URL' } })
  t.same(config, before)
})

test('an empty variable counts as unset', async t => {
  t.same(applyEnvironment(config, { HOST: ' ', PORT: '', ADMIN_HOST: ' ', ADMIN_PORT: '', REDIS_URL: '', REDIS_URL_FILE: '' }), config)
})

test('REDIS_URL_FILE counts as well, and a timeout in the file stays', async t => {
  const { state } = applyEnvironment({ ...config, state: { redis: { url: { file: '/x' }, timeoutMs: 9 } } }, { REDIS_URL_FILE: '/run/redis' })
  t.same(state.redis, { timeoutMs: 9, url: { env: 'REDIS_URL' } })
})

test('Redis from the environment waits as long as Redis from a file', async t => {
  const file = loaded(`${SAMPLE}state: { redis: { url: { env: REDIS_URL } } }\n`).config.state
  t.same(applyEnvironment(config, { REDIS_URL: 'redis://x' }).state, file)
})

test('every variable at fault is named', async t => {
  t.throws(() => applyEnvironment(config, { PORT: 'abc', ADMIN_PORT: '65536' }), {
    message: 'PORT: expected a number from 0 to 65535, got "abc"\nADMIN_PORT: expected a number from 0 to 65535, got "65536"'
  })
  for (const PORT of ['-1', '1.5', '0x50', '1e3', '８０', '123456']) t.throws(() => applyEnvironment(config, { PORT }), { name: 'ConfigError' }, PORT)
})

test('each variable of the table does override', async t => {
  for (const name of Object.keys(ENVIRONMENT)) t.notSame(applyEnvironment(config, { [name]: '1' }), config, name)
})
