import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'tap'
import { Passage } from '../../src/backends/passage.ts'
import { GatewayError } from '../../src/errors.ts'

function source () {
  const told = { commits: 0, paused: 0, resumed: 0, refused: [] as GatewayError[], cuts: [] as GatewayError[] }
  return {
    told,
    name: 'fake',
    choices: 1,
    pause: () => { told.paused++ },
    resume: () => { told.resumed++ },
    commit: () => { told.commits++ },
    refuse: (error: GatewayError) => { told.refused.push(error) },
    complete: () => {},
    cut: (error: GatewayError) => { told.cuts.push(error) },
    heard: () => {},
    explain: (_error: unknown, isCommitted: boolean) => new GatewayError(isCommitted ? 'backend_interrupted' : 'backend_failed', 'It said so.')
  }
}

async function read (passage: Passage): Promise<{ text: string, error: string | null }> {
  let text = ''
  try {
    for await (const bytes of passage) text += bytes.toString('latin1')
    return { text, error: null }
  } catch (error) {
    return { text, error: (error as GatewayError).code }
  }
}

test('bytes pass as they come, and nothing is looked at in them', async t => {
  const from = source()
  const passage = new Passage(from, false)
  const reading = read(passage)
  for (const piece of ['data: {"error":{"message":"x"}}\n\n', '\xff\xfb', '']) passage.push(Buffer.from(piece, 'latin1'))
  await turn()
  passage.end()
  t.same(await reading, { text: 'data: {"error":{"message":"x"}}\n\n\xff\xfb', error: null })
  t.equal(from.told.commits, 1)
})

test('a reader that does not read makes the backend wait', async t => {
  const from = source()
  const passage = new Passage(from, false)
  for (let n = 0; n < 5; n++) passage.push(Buffer.alloc(100_000))
  t.same([from.told.paused, from.told.resumed, passage.isDry], [1, 0, false])
  t.equal((await passage.next()).value?.length, 500_000)
  t.same([from.told.paused, from.told.resumed, passage.isDry], [1, 1, true])
  await passage.return()
  t.equal(from.told.cuts[0]?.code, 'client_closed')
  t.same(await passage.next(), { done: true, value: undefined })
})

const EVENTS = 'event: a\ndata: {"n":1}\n\n: ping\n\ndata: {"n":2}\r\n\r\ndata: {"n":3}\n\n'
const ERROR = 'event: error\ndata: {"error":{"message":"secret","type":"server_error"}}\n\n'

test('events pass with their names, however they are cut', async t => {
  for (const step of [1, 3, 10, 1000]) {
    const from = source()
    const passage = new Passage(from, true)
    const reading = read(passage)
    for (let at = 0; at < EVENTS.length; at += step) passage.push(Buffer.from(EVENTS.slice(at, at + step)))
    passage.end()
    t.same(await reading, { text: EVENTS, error: null }, `in steps of ${step}`)
  }
})

test('an error among them ends the answer, and its words are not passed on', async t => {
  for (const step of [1, 7, 1000]) {
    const from = source()
    const passage = new Passage(from, true)
    const reading = read(passage)
    const text = EVENTS + ERROR + EVENTS
    for (let at = 0; at < text.length; at += step) passage.push(Buffer.from(text.slice(at, at + step)))
    passage.end()
    t.same(await reading, { text: `${EVENTS}event: error\n`, error: 'backend_interrupted' }, `in steps of ${step}`)
    t.equal(from.told.cuts.length, 1)
  }
})

test('before the first event it is a refusal, so that another target may answer', async t => {
  const from = source()
  const passage = new Passage(from, true)
  passage.push(Buffer.from('data: {"error":{"message":"secret"}}\n\n'))
  t.match(from.told, { commits: 0, refused: [{ code: 'backend_failed' }] })
  const empty = source()
  new Passage(empty, false).end()
  t.match(empty.told, { commits: 0, refused: [{ code: 'backend_invalid_answer' }] })
  const broken = source()
  new Passage(broken, true).fail(new GatewayError('backend_interrupted', 'Cut.'))
  t.match(broken.told, { commits: 0, refused: [{ code: 'backend_interrupted' }] })
})

test('an event of many megabytes is not held', async t => {
  const from = source()
  const passage = new Passage(from, true)
  const reading = read(passage)
  let passed = 0
  passage.push(Buffer.from('data: {"b64_json":"'))
  for (let n = 0; n < 100; n++) {
    passage.push(Buffer.alloc(65_536, 'A'))
    passed += 65_536
    if (n === 50) t.equal(from.told.commits, 1)
  }
  passage.push(Buffer.from('"}\n\ndata: {"n":1}\n\n'))
  passage.end()
  const { text, error } = await reading
  t.equal(error, null)
  t.equal(text.length, passed + 'data: {"b64_json":""}\n\ndata: {"n":1}\n\n'.length)
})

test('an abort drops what was not read', async t => {
  const passage = new Passage(source(), false)
  passage.push(Buffer.from('one'))
  passage.abort(new GatewayError('backend_timeout', 'Late.'))
  t.same(await read(passage), { text: '', error: 'backend_timeout' })
})
