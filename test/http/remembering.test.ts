import { test } from 'tap'
import { Remembering } from '../../src/http/remembering.ts'

test('whoever remembered first forgets first, and only as many as have to', t => {
  const forgotten: string[] = []
  const remembering = new Remembering(10)
  const holders = Object.fromEntries(['a', 'b', 'c', 'd'].map(name => [name, {}]))
  const hold = (name: string, characters: number) => { remembering.hold(holders[name]!, characters, () => { forgotten.push(name) }) }
  hold('a', 4)
  hold('b', 4)
  hold('a', 5)
  t.same(forgotten, [], 'what was held before does not count')
  hold('c', 4)
  t.same(forgotten, ['b'])
  remembering.drop(holders['a']!)
  hold('d', 6)
  t.same(forgotten, ['b'])
  hold('a', 11)
  t.same(forgotten, ['b', 'c', 'd', 'a'], 'what is too much alone is forgotten too')
  t.end()
})
