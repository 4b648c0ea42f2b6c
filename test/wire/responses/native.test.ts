import { test } from 'tap'
import { GatewayError } from '../../../src/errors.ts'
import { FIRST_INPUT, itemId, newId, responseOfItem } from '../../../src/wire/responses/ids.ts'
import { bodyWithin, dataOf, EventBytes, eventsIn, failureEvents, replayed, usageOfResponse } from '../../../src/wire/responses/native.ts'

test('events are cut behind their blank line, wherever the bytes are cut, and stay as they came', t => {
  for (const bytes of ['event: a\ndata: {"x":"☃"}\n\ndata:{"y":1}\n\n: wait\n\n', 'event: a\r\ndata: {"x":"☃"}\r\n\r\ndata:{"y":1}\r\n\r\n: wait\r\n\r\n']) {
    const whole = Buffer.from(bytes)
    for (let size = 1; size <= whole.length; size++) {
      const cutter = new EventBytes()
      const frames: Buffer[] = []
      for (let at = 0; at < whole.length; at += size) {
        const frame = cutter.push(whole.subarray(at, at + size))
        if (frame !== null) frames.push(frame)
      }
      t.equal(Buffer.concat(frames).toString(), bytes)
      t.same(frames.flatMap(eventsIn).map(dataOf), [{ x: '☃' }, { y: 1 }, null])
    }
  }
  t.equal(new EventBytes().push(Buffer.from('data: {}\n')), null)
  t.end()
})

test('an event without end is refused', t => {
  const cutter = new EventBytes()
  const mebibyte = Buffer.alloc(1_048_576, 'x')
  t.throws(() => { for (let count = 0; count < 66; count++) cutter.push(mebibyte) }, { code: 'backend_invalid_answer' })
  t.end()
})

test('usage is read as far as it can be true', t => {
  const usage = { input_tokens: 5, output_tokens: 3, input_tokens_details: { cached_tokens: 9 }, output_tokens_details: { reasoning_tokens: 2 } }
  t.same(usageOfResponse({ usage }), { input: 5, output: 3, cachedInput: 5, reasoning: 2 })
  t.same(usageOfResponse({ usage: { input_tokens: 5, output_tokens: 3 } }), { input: 5, output: 3, cachedInput: 0, reasoning: 0 })
  for (const value of [null, {}, { usage: null }, { usage: { ...usage, input_tokens: -1 } }, { usage: { ...usage, output_tokens: 1.5 } }, { usage: { ...usage, output_tokens: 1e30 } }]) t.equal(usageOfResponse(value), null)
  t.end()
})

test('tools that the backend runs go only where the call may go', t => {
  const tools = ['function', 'web_search', 'file_search', 'apply_patch', 'something_new'].map(type => ({ type }))
  const types = (mayGoAnywhere: boolean) => (bodyWithin({ tools }, mayGoAnywhere).body['tools'] as { type: string }[]).map(({ type }) => type)
  t.same(types(true), ['function', 'web_search', 'apply_patch', 'something_new'])
  t.same(types(false), ['function', 'apply_patch'])
  t.match(bodyWithin({ tools }, false).warnings, [/^tools\[1\]: web_search would leave/, /^tools\[2\]: file_search is not served/, /^tools\[4\]: something_new/])
  t.end()
})

test('what was said before is told again without ids, and without thoughts that nobody could read', t => {
  const sealed = { type: 'reasoning', encrypted_content: 'x', summary: [] }
  t.same(replayed([{ type: 'message', id: 'msg' }, { ...sealed, id: 'rs' }, { type: 'reasoning', id: 'rs', summary: [], encrypted_content: null }]), [{ type: 'message' }, sealed])
  t.end()
})

test('what broke off says so in the numbers that follow', t => {
  const said = failureEvents(new GatewayError('backend_timeout', 'Late.'), { id: 'resp_1', obscure: true }, 7)
  t.match(eventsIn(Buffer.from(said)).map(dataOf), [
    { type: 'error', sequence_number: 7, code: 'backend_timeout', message: 'Late.', error: { type: 'server_error' } },
    { type: 'response.failed', sequence_number: 8, response: { id: 'resp_1', obscure: true, status: 'failed', error: { code: 'server_error' } } }
  ])
  t.equal(eventsIn(Buffer.from(failureEvents(new GatewayError('backend_timeout', 'Late.'), null, 0))).length, 1, 'of a response that nobody has seen nothing is said')
  t.end()
})

test('the id of an item leads to its response', t => {
  const response = newId('resp')
  for (const id of [itemId('msg', response, 0), itemId('fco', response, FIRST_INPUT + 9_999)]) t.equal(responseOfItem(id), response)
  t.not(itemId('msg', response, 1), itemId('msg', response, FIRST_INPUT + 1))
  for (const id of ['', 'msg_1', 'msg_upstream', `msg_${'0'.repeat(51)}`, `${itemId('msg', response, 0)}0`, `x'; DROP TABLE_${'0'.repeat(52)}`]) t.equal(responseOfItem(id), null)
  t.end()
})
