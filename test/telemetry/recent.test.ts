import { test } from 'tap'
import { createRecent } from '../../src/telemetry/recent.ts'
import { recordOf } from './record.ts'

test('shows the last calls, newest first, and forgets older ones', async t => {
  const recent = createRecent(3)
  t.same(recent.records(), [])
  const ids = () => recent.records().map(({ id }) => id)
  for (const id of ['a', 'b']) recent.record(recordOf({ id }))
  t.same(ids(), ['b', 'a'])
  for (const id of ['c', 'd', 'e']) recent.record(recordOf({ id }))
  t.same(ids(), ['e', 'd', 'c'])
  for (let n = 0; n < 1000; n++) recent.record(recordOf({ id: `${n}` }))
  t.same(ids(), ['999', '998', '997'])
})
