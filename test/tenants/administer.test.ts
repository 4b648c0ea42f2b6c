import { join } from 'node:path'
import { test } from 'tap'
import { openSqlite } from '../../src/store/sqlite.ts'
import { administerKeys, bootstrap } from '../../src/tenants/administer.ts'
import { hmacOf, parseKey } from '../../src/tenants/keys.ts'
import { tenantConfig } from './surroundings.ts'

const pepper = Buffer.alloc(32, 7)
const tenants = [tenantConfig('acme')]
const want = { tenant: 'acme', name: 'laptop', scopes: ['inference' as const], expiresAt: null }

test('an issued key is stored as its HMAC and nothing of its secret', async t => {
  const { keys } = openSqlite(':memory:')
  const administration = administerKeys({ tenants, keys, pepper, now: () => new Date(5000) })
  const { key, row } = await administration.create({ ...want, scopes: ['inference', 'inference'] })
  const { id, secret } = parseKey(key) ?? { id: '', secret: '' }
  t.strictSame(row, { ...want, id, hmac: hmacOf(pepper, secret).toString('hex'), createdAt: new Date(5000), revokedAt: null })
  t.strictSame(await keys.find(id), row)
  t.strictSame(await administration.list(), [row])
  t.notMatch(JSON.stringify(row), secret)
})

test('a key is revoked by its id', async t => {
  const { keys } = openSqlite(':memory:')
  const administration = administerKeys({ tenants, keys, pepper, now: () => new Date(5000) })
  const { row: { id } } = await administration.create(want)
  t.equal(await administration.revoke('nobody'), false)
  t.equal((await keys.find(id))?.revokedAt, null)
  t.equal(await administration.revoke(id), true)
  t.strictSame((await keys.find(id))?.revokedAt, new Date(5000))
})

test('a senseless key is refused in words', async t => {
  const { keys } = openSqlite(':memory:')
  const now = new Date(5000)
  const administration = administerKeys({ tenants, keys, pepper, now: () => now })
  const refused = (change: object, message: RegExp) =>
    t.rejects(administration.create({ ...want, ...change }), { code: 'invalid_value', message })
  await refused({ tenant: 'acne' }, /^No tenant "acne" is configured; there are acme\.$/)
  await refused({ tenant: '\n'.repeat(100_000) }, /^No tenant "(\\n){64}" is/)
  await refused({ name: 'x'.repeat(129) }, /128 characters at most, this one 129/)
  await refused({ name: 'a\nb' }, /control characters/)
  await refused({ name: '\u001B[31m' }, /control characters/)
  await refused({ scopes: [] }, /scope/)
  await refused({ expiresAt: now }, /future/)
  await refused({ expiresAt: new Date(NaN) }, /future/)
  t.strictSame(await keys.list(), [])
  await administration.create({ ...want, name: 'x'.repeat(128), expiresAt: new Date(5001) })
})

test('an empty store gets one inference and one admin key, once', async t => {
  const path = join(t.testdir(), 'torchgate.db')
  const [one, other] = [openSqlite(path), openSqlite(path)]
  t.teardown(() => Promise.all([one.close(), other.close()]))
  const made = (await Promise.all([bootstrap(one.keys, pepper, 'acme'), bootstrap(other.keys, pepper, 'acme')])).filter(keys => keys !== null)
  t.equal(made.length, 1, 'of two processes one makes them')
  const [first] = made
  t.match(await one.keys.find(parseKey(first?.inference ?? '')?.id ?? ''), { tenant: 'acme', scopes: ['inference'] })
  t.match(await one.keys.find(parseKey(first?.admin ?? '')?.id ?? ''), { tenant: 'acme', scopes: ['admin'] })
  t.equal((await one.keys.list()).length, 2)
  for (const { id } of await one.keys.list()) await one.keys.revoke(id, new Date())
  t.equal(await bootstrap(one.keys, pepper, 'acme'), null, 'not again when all were revoked')
})
