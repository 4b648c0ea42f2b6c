import { array, assert, boolean, constant, constantFrom, dictionary, integer, nat, oneof, property, record, string } from 'fast-check'
import { test } from 'tap'
import { DONE_EVENT, EventCutter, events, MAX_EVENT_BYTES } from '../../src/wire/sse.ts'

const ONE = 'data: {"a":1}\n\n'
const TWO = 'data: {"b":"zwei ✓"}\n\n'

/** What comes out when the bytes go in as these pieces. */
function cut (pieces: readonly Buffer[]): string {
  const cutter = new EventCutter('fake')
  const frames = [...pieces.map(piece => cutter.push(piece)), cutter.end()]
  return Buffer.concat(frames.filter(frame => frame !== null)).toString('utf8')
}

function inPieces (bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size))
}

/** One event of this many bytes. */
function long (length: number): Buffer {
  return Buffer.from(`data: {"a":"${'x'.repeat(length - 16)}"}\n\n`)
}

function bytewise (text: string): Buffer[] {
  return inPieces(Buffer.from(text), 1)
}

test('a chunk of whole canonical events passes as the very same buffer', t => {
  const chunk = Buffer.from(ONE + TWO)
  t.equal(new EventCutter('fake').push(chunk), chunk)
  t.equal(new EventCutter('fake').push(DONE_EVENT), DONE_EVENT)
  t.end()
})

test('what is whole leaves at once, the rest waits for its end', t => {
  const cutter = new EventCutter('fake')
  t.equal(String(cutter.push(Buffer.from(ONE + 'data: {"b"'))), ONE)
  t.equal(cutter.push(Buffer.from(':2')), null)
  t.equal(cutter.push(Buffer.from('}\n')), null)
  t.equal(String(cutter.push(Buffer.from(`\n${ONE}`))), `data: {"b":2}\n\n${ONE}`)
  t.equal(cutter.end()?.length ?? 0, 0)
  t.end()
})

const ODDITIES: Record<string, [string, string]> = {
  'CRLF line ends': ['data: {"a":1}\r\n\r\ndata: {"b":"zwei ✓"}\r\n\r\n', ONE + TWO],
  'CR line ends': ['data: {"a":1}\r\rdata: {"b":"zwei ✓"}\r\r', ONE + TWO],
  'mixed line ends': ['data: {"a":1}\r\n\ndata: {"b":"zwei ✓"}\n\r\n', ONE + TWO],
  'no space after the colon': ['data:{"a":1}\n\ndata:[DONE]\n\n', `${ONE}data: [DONE]\n\n`],
  'a byte order mark': ['\uFEFFdata: {"a":1}\n\n', ONE],
  comments: [`: hi\n\n${ONE}: ping\n: pong\n\n:\n\n${TWO}`, ONE + TWO],
  'a comment inside an event': ['data: {"a":1}\n: x\n\n', ONE],
  'event, id, retry and unknown lines': ['event: message\nid: 7\nretry: 10\nfoo: bar\ndata: {"a":1}\n\n', ONE],
  'data on several lines': ['data: {"a":\ndata: 1}\n\n', 'data: {"a": 1}\n\n'],
  'data on several lines with CRLF': ['data: {"a":\r\ndata: 1}\r\n\r\n', 'data: {"a": 1}\n\n'],
  'white space around the JSON': ['data:   {"a":1}  \n\n', ONE],
  'empty events': [`data:\n\ndata\n\n\n\n${ONE}`, ONE],
  'a last event without its blank line': [`${ONE}data: [DONE]\n`, `${ONE}data: [DONE]\n\n`],
  'a last event without any line end': [`${ONE}data: [DONE]`, `${ONE}data: [DONE]\n\n`],
  'a last event that is cut off': [`${ONE}data: {"b":`, ONE],
  'an error event of an old llama-server': ['error: {"code":500,"message":"x"}\n\n', 'data: {"error":{"code":500,"message":"x"}}\n\n'],
  'an error event by name': ['event: error\ndata: {"message":"x"}\n\n', 'data: {"error":{"message":"x"}}\n\n'],
  'an error event by name that has an error': ['event: error\ndata: {"error":{"message":"x"}}\n\n', 'data: {"error":{"message":"x"}}\n\n']
}

for (const [name, [sent, expected]] of Object.entries(ODDITIES)) {
  test(`${name}: rewritten to the canonical form, whole or byte by byte`, t => {
    t.equal(cut([Buffer.from(sent)]), expected)
    t.equal(cut(bytewise(sent)), expected)
    t.end()
  })
}

const INVALID: Record<string, string> = {
  'text that is not JSON': 'data: hello\n\n',
  'a number': 'data: 7\n\n',
  'an array': 'data: [1]\n\n',
  'an array as long as [DONE]': 'data: [1,23]\n\n',
  'broken JSON': 'data: {"a":\n\n',
  'something that only looks like the end': 'data: [DONO]x\n\n'
}

for (const [name, sent] of Object.entries(INVALID)) {
  test(`${name} is no event`, t => {
    t.throws(() => cut([Buffer.from(sent)]), { code: 'backend_invalid_answer', message: /^fake sent/ })
    t.end()
  })
}

test('what stands in braces is not parsed where nothing has to be rewritten', t => {
  t.equal(cut([Buffer.from('data: {"a":}\n\n')]), 'data: {"a":}\n\n')
  t.throws(() => cut([Buffer.from('data: {"a":}\r\n\r\n')]), { code: 'backend_invalid_answer' })
  t.end()
})

test('an event may be 1 MiB long and no longer, in one piece or in many, on one line or on many', t => {
  t.equal(cut([long(MAX_EVENT_BYTES - 10)]).length, MAX_EVENT_BYTES - 10)
  t.equal(cut(inPieces(long(MAX_EVENT_BYTES - 10), 10_000)).length, MAX_EVENT_BYTES - 10)
  const tooLong = { code: 'backend_invalid_answer', message: 'fake sent an event longer than 1048576 bytes.' }
  t.throws(() => cut([long(MAX_EVENT_BYTES + 20)]), tooLong)
  t.throws(() => cut(inPieces(long(MAX_EVENT_BYTES + 70_000), 65_536)), tooLong)
  const endless = new EventCutter('fake')
  t.throws(() => { for (let pushed = 0; pushed < MAX_EVENT_BYTES + 10_000; pushed += 10_000) endless.push(Buffer.alloc(10_000, 'x')) }, tooLong)
  t.throws(() => cut(Array(120_000).fill(Buffer.from('data: 12345\n'))), tooLong)
  t.throws(() => cut(Array(200).fill(Buffer.from(`: ${'x'.repeat(9_000)}`))), tooLong)
  t.end()
})

test('a long event byte by byte costs linear time', t => {
  const bytes = Buffer.from(`data: {"a":"${'x'.repeat(300_000)}"}\n\n`)
  const cutter = new EventCutter('fake')
  const startedAt = performance.now()
  let frame: Buffer | null = null
  for (let at = 0; at < bytes.length; at++) frame = cutter.push(bytes.subarray(at, at + 1))
  t.equal(frame?.length, bytes.length)
  t.ok(performance.now() - startedAt < 2_000)
  t.end()
})

test('however a valid stream is written and split, the same events come out', t => {
  const value = dictionary(string(), oneof(string({ unit: 'grapheme' }), integer(), constant(null)))
  const lineEnd = constantFrom('\n', '\r\n', '\r')
  const noise = constantFrom('', ': comment', 'event: x', 'id: 1', 'data')
  const written = record({ value, end: lineEnd, noise, space: constantFrom('', ' '), extra: boolean() })
  const stream = record({ parts: array(written, { maxLength: 8 }), mark: boolean(), splits: array(nat(400), { maxLength: 30 }) })
  assert(property(stream, ({ parts, mark, splits }) => {
    const text = parts.map(part =>
      `${part.noise === '' ? '' : part.noise + part.end}data:${part.space}${JSON.stringify(part.value)}${part.end}${part.end}${part.extra ? part.end : ''}`).join('')
    const bytes = Buffer.from((mark ? '\uFEFF' : '') + text)
    const offsets = [...new Set([0, ...splits.map(at => Math.min(at, bytes.length)), bytes.length])].toSorted((a, b) => a - b)
    const pieces = offsets.slice(1).map((to, at) => bytes.subarray(offsets[at], to))
    const seen = [...events(Buffer.from(cut(pieces)))].map(data => JSON.parse(data))
    return JSON.stringify(seen) === JSON.stringify(parts.map(part => part.value)) && cut(pieces) === cut(inPieces(bytes, 1))
  }), { numRuns: 250 })
  t.end()
})

test('events() gives the data of each event, [DONE] too', t => {
  t.same([...events(Buffer.from(ONE + TWO + 'data: [DONE]\n\n'))], ['{"a":1}', '{"b":"zwei ✓"}', '[DONE]'])
  t.same([...events(Buffer.alloc(0))], [])
  t.end()
})
