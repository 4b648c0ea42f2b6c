import { test } from 'tap'
import * as fc from 'fast-check'
import { DATA_CLASSES, LOCALITIES, type DataClass } from '../../src/config/schema.ts'
import { boundaryOf, byDistance, isWithin, nearer } from '../../src/policy/boundary.ts'
import { classOf } from '../../src/policy/classify.ts'

const rank = (name: DataClass) => DATA_CLASSES.indexOf(name)

test('a place is within a boundary when it is no farther', async t => {
  const inside = LOCALITIES.flatMap(boundary => LOCALITIES.filter(place => isWithin(boundary, place)).map(place => `${place}<=${boundary}`))
  t.same(inside, ['local<=local', 'local<=domain', 'domain<=domain', 'local<=cloud', 'domain<=cloud', 'cloud<=cloud'])
  t.same([...LOCALITIES].toSorted(byDistance), ['local', 'domain', 'cloud'])
  t.equal(nearer('cloud', 'domain'), 'domain')
  t.equal(nearer('local', 'domain'), 'local')
})

test('the boundary of a call is the nearer of the tenant and the class', async t => {
  const boundaries = { public: 'cloud', internal: 'cloud', confidential: 'domain', restricted: 'local' } as const
  t.equal(boundaryOf('cloud', 'internal', boundaries), 'cloud')
  t.equal(boundaryOf('cloud', 'confidential', boundaries), 'domain')
  t.equal(boundaryOf('local', 'public', boundaries), 'local')
  t.equal(boundaryOf('domain', 'restricted', boundaries), 'local')
})

test('the class can only rise: no claim lowers the floor of the tenant', async t => {
  fc.assert(fc.property(fc.constantFrom(...DATA_CLASSES), fc.constantFrom(undefined, ...DATA_CLASSES), (floor, claimed) => {
    const effective = classOf(floor, claimed)
    return rank(effective) === Math.max(rank(floor), claimed === undefined ? 0 : rank(claimed))
  }))
  t.equal(classOf('restricted', 'public'), 'restricted')
  t.equal(classOf('public', 'restricted'), 'restricted')
})

test('an unknown class is refused, not guessed', async t => {
  for (const claimed of ['', 'Public', 'secret', '__proto__', 'public, restricted']) {
    t.throws(() => classOf('public', claimed), { code: 'invalid_value', param: 'x-torchgate-class' }, claimed)
  }
})
