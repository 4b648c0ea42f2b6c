import { test } from 'tap'
import { Call } from '../../src/pipeline/call.ts'
import { createTurns } from '../../src/usage/turns.ts'
import type { CallRecord } from '../../src/usage/record.ts'

const recordOf = (id: string) => new Call(id, 'chat_completions', []).record

test('every reader gets the records of one turn in their order, after that turn', async t => {
  const seen: string[] = []
  const reader = (name: string) => ({ id }: CallRecord) => { seen.push(`${name}${id}`) }
  const turns = createTurns([reader('a'), reader('b')])
  for (const id of ['1', '2']) turns.record(recordOf(id))
  t.same(seen, [], 'nobody waits for the readers')
  await new Promise(setImmediate)
  t.same(seen, ['a1', 'a2', 'b1', 'b2'])
  turns.record(recordOf('3'))
  await new Promise(setImmediate)
  t.same(seen.slice(4), ['a3', 'b3'], 'and so in the next turn')
})

test('closing hands over what is left, and what comes later at once', async t => {
  const seen: string[] = []
  const turns = createTurns([({ id }) => { seen.push(id) }])
  turns.record(recordOf('1'))
  turns.close()
  t.same(seen, ['1'])
  turns.record(recordOf('2'))
  t.same(seen, ['1', '2'])
  await new Promise(setImmediate)
  t.same(seen, ['1', '2'], 'each once')
})
