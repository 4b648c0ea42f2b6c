import { createHmac } from 'node:crypto'
import { assert, constantFrom, nat, property, string } from 'fast-check'
import { test } from 'tap'
import { createKey, hmacOf, isSecretOf, maskOf, parseKey } from '../../src/tenants/keys.ts'

const pepper = Buffer.alloc(32, 7)

test('a new key has the documented shape and reads back', t => {
  const { key, id, hmac } = createKey(pepper)
  t.match(key, /^tg_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}$/)
  const parsed = parseKey(key)
  t.equal(parsed?.id, id)
  t.equal(hmac, createHmac('sha256', pepper).update(parsed?.secret ?? '').digest('hex'))
  t.notMatch(JSON.stringify({ id, hmac }), parsed?.secret ?? '')
  t.end()
})

test('the checksum is CRC-32 of what stands before it, in base62', t => {
  // Worked out with Python's zlib.
  t.strictSame(parseKey('tg_live_ab12cd34ef56_0123456789ABCDEFGHIJabcdefghijKL_1UlHaN'),
    { id: 'ab12cd34ef56', secret: '0123456789ABCDEFGHIJabcdefghijKL' })
  t.ok(parseKey('tg_live_ab12cd34ef56_0123456789ABCDEFGHIJabcdefg20344_000HWD'), 'a small one is padded')
  t.equal(parseKey('tg_live_ab12cd34ef56_0123456789ABCDEFGHIJabcdefghijKL_1UlHaM'), null)
  t.end()
})

test('no two keys are alike, and all characters are used evenly', t => {
  const keys = Array.from({ length: 600 }, () => createKey(pepper))
  t.equal(new Set(keys.map(({ key }) => parseKey(key)?.secret)).size, 600)
  t.equal(new Set(keys.map(({ id }) => id)).size, 600)
  const counts = new Map<string, number>()
  for (const { key } of keys) for (const letter of parseKey(key)?.secret ?? '') counts.set(letter, (counts.get(letter) ?? 0) + 1)
  t.equal(counts.size, 62)
  const expected = 600 * 32 / 62
  for (const [letter, count] of counts) t.ok(Math.abs(count - expected) < 8 * Math.sqrt(expected), `${letter} ${count}`)
  t.end()
})

test('a key with one character changed, lost or added is not a key', t => {
  const { key } = createKey(pepper)
  assert(property(nat(59), constantFrom(...'aZ09_ -é\n'), (at, letter) => {
    const changed = key.slice(0, at) + letter + key.slice(at + 1)
    return changed === key || parseKey(changed) === null
  }), { numRuns: 500 })
  for (const text of ['', 'tg_live_', key.slice(1), key.slice(0, -1), `${key} `, ` ${key}`, `${key}\n`, `Bearer ${key}`, key + key, key.toUpperCase()]) {
    t.equal(parseKey(text), null, JSON.stringify(text))
  }
  t.end()
})

test('junk of any size and kind is turned away by its length', t => {
  for (const text of ["' OR 1=1 --", '\0'.repeat(60), '🔑'.repeat(30), 'x'.repeat(60), 'tg_live_'.repeat(8192)]) t.equal(parseKey(text), null)
  assert(property(string({ unit: 'binary', maxLength: 200 }), text => parseKey(text) === null))
  const started = performance.now()
  const junk = 'x'.repeat(65_536)
  for (let i = 0; i < 20_000; i++) parseKey(junk)
  t.ok(performance.now() - started < 1000, '64 KB cost what 1 byte costs')
  t.end()
})

test('only the secret that was stored is the secret', t => {
  const { key, hmac } = createKey(pepper)
  const secret = parseKey(key)?.secret ?? ''
  t.equal(isSecretOf(hmac, pepper, secret), true)
  t.equal(isSecretOf(hmac, pepper, `${secret.slice(0, -1)}${secret.endsWith('a') ? 'b' : 'a'}`), false)
  t.equal(isSecretOf(hmac, Buffer.alloc(32, 8), secret), false, 'another pepper')
  t.equal(isSecretOf(null, pepper, secret), false)
  for (const broken of ['', 'zz', hmac.slice(2), hmac + hmac]) t.equal(isSecretOf(broken, pepper, secret), false, JSON.stringify(broken))
  t.equal(hmacOf(pepper, secret).toString('hex'), hmac)
  t.end()
})

test('a mask shows four characters of the id', t => {
  t.equal(maskOf('ab12cd34ef56'), 'tg_live_ab12…')
  t.end()
})
