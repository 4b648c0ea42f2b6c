import { test } from 'tap'
import { wantsShortIds, withShortIds } from '../../../src/worker/tools/ids.ts'

test('ids of calls become nine letters and digits, and results stay with their calls', async t => {
  const messages = withShortIds([
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: '', tool_calls: [{ id: 'call_1', function: { name: 'a' } }, { id: 'abcDEF123', function: { name: 'b' } }] },
    { role: 'tool', content: '1', tool_call_id: 'call_1' },
    { role: 'tool', content: '2', tool_call_id: 'abcDEF123' }
  ])
  const calls = messages[1]!['tool_calls'] as { id: string, function: unknown }[]
  t.match(calls[0]!.id, /^[a-zA-Z0-9]{9}$/)
  t.equal(messages[2]!['tool_call_id'], calls[0]!.id)
  t.match(calls[1], { id: 'abcDEF123', function: { name: 'b' } }, 'one that fits stays as it is')
  t.equal(messages[3]!['tool_call_id'], 'abcDEF123')
  t.strictSame(messages[0], { role: 'user', content: 'Hi' })
})

test('a template tells that it wants them', async t => {
  t.ok(wantsShortIds('{%- if tool_call.id is not defined or tool_call.id|length != 9 %}'))
  t.notOk(wantsShortIds('{%- if messages|length != 1 %}'))
})
