import { randomBytes } from 'node:crypto'
import { test } from 'tap'
import { createSeal, isSealed } from '../../src/tenants/seal.ts'

test('what was sealed is read again, by the same installation and for the same tenant alone', t => {
  const pepper = randomBytes(32)
  const seal = createSeal(pepper, 'a')
  const sealed = seal.close('acme', 'Zoë ☃')
  t.ok(isSealed(sealed))
  t.notMatch(Buffer.from(sealed.slice(5), 'base64url').toString('latin1'), 'Zo')
  t.equal(seal.open('acme', sealed), 'Zoë ☃')
  t.not(seal.close('acme', 'Zoë ☃'), sealed)
  t.equal(createSeal(pepper, 'a').open('acme', sealed), 'Zoë ☃', 'after a restart')
  t.equal(seal.open('other', sealed), null)
  t.equal(createSeal(pepper, 'b').open('acme', sealed), null, 'for another purpose')
  t.equal(createSeal(randomBytes(32), 'a').open('acme', sealed), null)
  for (const changed of ['', 'tgs1.', 'tgs1.AAAA', `${sealed.slice(0, -4)}AAAA`, sealed.slice(0, -3), `x${sealed}`, sealed.slice(5)]) t.equal(seal.open('acme', changed), null)
  t.end()
})
