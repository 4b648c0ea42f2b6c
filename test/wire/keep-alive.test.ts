import { test } from 'tap'
import { keepAliveMs } from '../../src/wire/keep-alive.ts'
import { validateChat } from '../../src/wire/validate.ts'

test('keep_alive is a number of seconds or a text with units, below 0 for ever', async t => {
  const read: [unknown, number | null][] = [
    [0, 0], [300, 300_000], [1.5, 1500], [-1, Infinity], ['5m', 300_000], ['1h30m', 5_400_000], ['90', 90_000], ['500ms', 500], ['0', 0], ['-1', Infinity],
    ['-1m', Infinity], ['168h', 604_800_000], ['169h', null], [NaN, null], ['', null], ['-', null], ['5 m', null], ['m5', null], ['1d', null], [true, null], [[], null],
    ['1'.repeat(40), null]
  ]
  t.same(read.map(([value]) => [value, keepAliveMs(value)]), read)
})

test('one that says nothing is refused by name', async t => {
  const body = (keepAlive: unknown) => ({ model: 'm', messages: [{ role: 'user', content: 'Hi' }], keep_alive: keepAlive })
  t.throws(() => validateChat(body('soon')), { code: 'invalid_value', param: 'keep_alive', message: /expected a number of seconds or a text such as "5m"/ })
  t.match(validateChat(body('5m')), { keep_alive: '5m' })
})
