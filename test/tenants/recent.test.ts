import { test } from 'tap'
import { Recent } from '../../src/tenants/recent.ts'

test('what was used longest ago goes first', t => {
  const recent = new Recent<number>(2)
  recent.set('a', 1)
  recent.set('b', 2)
  t.equal(recent.get('a'), 1)
  recent.set('c', 3)
  t.equal(recent.get('b'), undefined)
  t.equal(recent.get('a'), 1)
  t.equal(recent.get('c'), 3)
  recent.set('a', 4)
  t.equal(recent.size, 2)
  t.equal(recent.get('a'), 4)
  recent.delete('a')
  t.equal(recent.get('a'), undefined)
  t.end()
})

test('it never holds more than its capacity', t => {
  const recent = new Recent<number>(10)
  for (let i = 0; i < 1000; i++) {
    recent.set(String(i), i)
    t.ok(recent.size <= 10)
  }
  t.end()
})
