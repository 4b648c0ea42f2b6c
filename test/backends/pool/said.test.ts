import { test } from 'tap'
import { Said } from '../../../src/backends/pool/said.ts'

const event = (value: object) => `data: ${JSON.stringify(value)}\n\n`
const mark = (torchgate: object) => event({ torchgate })
const word = (content: string, index = 0) => event({ choices: [{ index, delta: { content }, finish_reason: null }] })
const BEGIN = mark({ stream: { id: 'chatcmpl-1', created: 5, fingerprint: 'fp_1' } })
const DONE = 'data: [DONE]\n\n'

const read = (said: Said, frame: string) => said.read(Buffer.from(frame))?.toString() ?? null

test('a stream without marks passes as it came, and cannot go on', t => {
  const said = new Said(1)
  const frame = Buffer.from(word('a') + DONE)
  t.equal(said.read(frame), frame)
  t.equal(said.canGoOn, false)
  t.equal(said.rest(), null)
  t.end()
})

test('words are given out with the mark behind them, however the stream is cut; marks never', t => {
  const whole = BEGIN + word('a') + word('b') + mark({ choices: [{ index: 0, said: '1,2' }] }) + word('c') + mark({ choices: [{ index: 0, said: '3', isOver: true }] }) + DONE
  const cuts = [...whole.matchAll(/\n\n/g)].map(({ index }) => index + 2)
  for (const cut of cuts) {
    const said = new Said(1)
    const pieces = [whole.slice(0, cut), whole.slice(cut)].map(piece => piece === '' ? null : read(said, piece))
    t.equal([...pieces, said.rest()?.toString()].join(''), word('a') + word('b') + word('c') + DONE)
    t.same(JSON.parse(said.continuation('{}')).choices, [{ said: '1,2,3', isOver: true }])
  }
  t.end()
})

test('what the next worker is asked knows all that was given out, and nothing else', t => {
  const said = new Said(2)
  t.equal(read(said, BEGIN + word('a') + mark({ choices: [{ index: 0, said: '1' }, { index: 1, said: '', isOver: true }] }) + word('lost')), word('a'))
  t.equal(said.canGoOn, true)
  t.equal(said.openChoices, 1)
  t.same(JSON.parse(said.continuation('{"model":"m"}')), {
    request: { model: 'm' },
    stream: { id: 'chatcmpl-1', created: 5, fingerprint: 'fp_1' },
    choices: [{ said: '1', isOver: false }, { said: '', isOver: true }]
  })
  t.equal(read(said, word('lost again') + mark({ choices: [{ index: 0, said: '2' }] })), word('lost again'), 'the next worker says it, once')
  t.end()
})

test('a caller\'s words are never taken for a mark', t => {
  const said = new Said(1)
  const spoof = word('data: {"torchgate":{"choices":[{"index":0,"said":"9"}]}}\n\n')
  t.equal(read(said, BEGIN + spoof + mark({ choices: [{ index: 0, said: '1' }] })), spoof)
  t.same(JSON.parse(said.continuation('{}')).choices, [{ said: '1', isOver: false }])
  t.end()
})
