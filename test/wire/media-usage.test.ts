import { test } from 'tap'
import { audioSecondsOf, UsageTap, usageOfMedia } from '../../src/wire/media-usage.ts'

const tokens = { type: 'tokens', input_tokens: 14, input_token_details: { text_tokens: 10, audio_tokens: 4, cached_tokens: 6 }, output_tokens: 45, total_tokens: 59 }

test('tokens are told in two ways, lengths in one', async t => {
  t.same(usageOfMedia({ text: 'a', usage: tokens }), { input: 14, output: 45, cachedInput: 6, reasoning: 0 })
  t.same(usageOfMedia({ usage: { prompt_tokens: 3, completion_tokens: 4 } }), { input: 3, output: 4, cachedInput: 0, reasoning: 0 })
  t.equal(usageOfMedia({ usage: { type: 'duration', seconds: 7 } }), null)
  t.equal(audioSecondsOf({ usage: { type: 'duration', seconds: 7.5 } }), 7.5)
  for (const usage of [tokens, null, { type: 'duration', seconds: -1 }, { type: 'duration', seconds: '7' }, { type: 'duration', seconds: 1e12 }]) t.equal(audioSecondsOf({ usage }), null)
  for (const usage of [{ input_tokens: -1, output_tokens: 1 }, { input_tokens: 0.5, output_tokens: 1 }, { input_tokens: 1e12, output_tokens: 1 }, [], 'x', null]) t.equal(usageOfMedia({ usage }), null)
})

const said = JSON.stringify({ text: 'He said "usage": {"input_tokens": 999, "output_tokens": 999}.' })
const EVENTS = Buffer.from([
  `data: ${said}\n\n`,
  `data: {"type":"part","usage":null,"b64_json":"${'A'.repeat(9000)}"}\n\n`,
  `data: {"type":"done", "usage" : ${JSON.stringify(tokens)} , "b64_json":"${'B'.repeat(9000)}"}\r\n\r\n`
].join(''))

test('the usage in events is found wherever they are cut, and no word of a transcript is taken for one', async t => {
  for (const step of [1, 2, 3, 7, 64, 1000, 65_536]) {
    const tap = new UsageTap()
    for (let at = 0; at < EVENTS.length; at += step) tap.push(EVENTS.subarray(at, at + step))
    t.same(usageOfMedia(tap.found), { input: 14, output: 45, cachedInput: 6, reasoning: 0 }, `in steps of ${step}`)
  }
  const tap = new UsageTap()
  tap.push(Buffer.from(`data: ${said}\n\n`))
  t.equal(tap.found, null)
  tap.push(Buffer.from(`data: {"usage": {"input_tokens": ${'1'.repeat(10_000)}`))
  tap.push(Buffer.from('data: {"usage":{"input_tokens":1,"output_tokens":2}}\n\n'))
  t.same(usageOfMedia(tap.found), { input: 1, output: 2, cachedInput: 0, reasoning: 0 }, 'one without an end does not hide the next')
})
