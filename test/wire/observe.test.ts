import { test } from 'tap'
import { countDeltas, doneEnd, errorOf, hasContent, hasPlainText, isDone, noteFinished, takeUsage, usageOfChunk } from '../../src/wire/observe.ts'

const usageOf = (bytes: Buffer) => takeUsage(bytes)?.usage ?? null
const withoutUsageChunk = (bytes: Buffer) => {
  const taken = takeUsage(bytes)
  if (taken === null) return bytes
  return taken.rest.length === 1 && taken.rest[0]!.length === bytes.length ? bytes : Buffer.concat(taken.rest)
}

const frame = (...values: unknown[]) => Buffer.from(values.map(value => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`).join(''))
const delta = (members: unknown, finish: string | null = null, index = 0) => ({ id: 'x', choices: [{ index, delta: members, finish_reason: finish }] })
const usage = {
  prompt_tokens: 11, completion_tokens: 7, total_tokens: 18, prompt_tokens_details: { cached_tokens: 4 }, completion_tokens_details: { reasoning_tokens: 2 }
}
const counted = { input: 11, output: 7, cachedInput: 4, reasoning: 2 }

test('text, tool calls, refusals, reasoning, finish reasons and unknown things are content', t => {
  for (const members of [{ content: 'a' }, { content: ' ' }, { tool_calls: [{ index: 0 }] }, { refusal: 'no' }, { reasoning_content: 'hm' },
    { reasoning: 'hm' }, { role: 'assistant', content: 'a' }, { audio: { id: '1' } }, { some_new_thing: 3 }, { function_call: { name: 'f' } }]) {
    t.ok(hasContent(JSON.stringify(delta(members))), JSON.stringify(members))
  }
  t.ok(hasContent(JSON.stringify(delta({}, 'stop'))))
  t.ok(hasContent(JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: null }, { index: 1, delta: { content: 'b' } }] })))
  t.end()
})

test('a role, empty deltas, usage, filter results and [DONE] are not', t => {
  for (const members of [{}, { role: 'assistant' }, { role: 'assistant', content: '' }, { content: null, tool_calls: [], reasoning_content: '', refusal: null, x: {} }]) {
    t.notOk(hasContent(JSON.stringify(delta(members))), JSON.stringify(members))
  }
  for (const data of ['[DONE]', '{}', '7', 'null', 'not json', '{"choices":[]}', '{"choices":null}', '{"choices":[7]}', '{"choices":[{}]}',
    JSON.stringify({ choices: [], usage }), '{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}']) t.notOk(hasContent(data), data)
  t.end()
})

test('plain text is seen without parsing, and never where there is none', t => {
  for (const seen of [frame(delta({ content: 'a' })), frame(delta({ role: 'assistant', content: '' }), delta({ content: '"' })), frame(delta({ reasoning_content: 'a' }))]) t.ok(hasPlainText(seen))
  for (const unseen of [delta({ content: '' }), delta({ content: null }), delta({ role: 'assistant' }), delta({ tool_calls: [{ function: { arguments: '"content":"x"' } }] }), { choices: [], usage }]) {
    t.notOk(hasPlainText(frame(unseen)), JSON.stringify(unseen))
  }
  t.notOk(hasPlainText(Buffer.alloc(0)))
  t.end()
})

test('usage is found wherever it stands, compact or spaced, and the last one wins', t => {
  t.same(usageOf(frame(delta({ content: 'a' }), { choices: [], usage }, '[DONE]')), counted)
  t.same(usageOf(frame({ ...delta({}, 'stop'), usage })), counted)
  t.same(usageOf(Buffer.from('data: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}\n\n')), { input: 1, output: 2, cachedInput: 0, reasoning: 0 })
  t.same(usageOf(frame({ choices: [], usage: { prompt_tokens: 1, completion_tokens: 1 } }, { choices: [], usage })), counted)
  t.same(usageOf(frame({ choices: [], usage }, { choices: [], usage: { prompt_tokens: -1, completion_tokens: 1 } })), counted)
  t.equal(usageOf(frame({ ...delta({ content: 'a' }), usage: null })), null)
  t.equal(usageOf(frame(delta({ content: '"usage":{"prompt_tokens":1,"completion_tokens":1}' }))), null)
  t.end()
})

test('usage that cannot be true is no usage', t => {
  for (const [prompt, completion] of [[-1, 1], [1, -1], [1e12, 1], [1, 1.5], ['1', 1], [null, 1], [undefined, 1], [1, undefined], [Infinity, 1], [{}, 1]]) {
    t.equal(usageOfChunk({ usage: { prompt_tokens: prompt, completion_tokens: completion } }), null, `${prompt} ${completion}`)
  }
  t.same(usageOfChunk({ usage: { ...usage, prompt_tokens_details: { cached_tokens: 99 }, completion_tokens_details: { reasoning_tokens: -5 } } }),
    { input: 11, output: 7, cachedInput: 11, reasoning: 0 })
  t.equal(usageOfChunk(null), null)
  t.equal(usageOfChunk({ usage: [] }), null)
  t.end()
})

test('usage of a whole completion', t => {
  t.same(usageOfChunk(JSON.parse(JSON.stringify({ choices: [], usage }, null, 2))), counted)
  t.equal(usageOfChunk(JSON.parse('{"choices":[]}')), null)
  t.equal(usageOfChunk('prompt_tokens'), null)
  t.end()
})

test('an error event is found; the word in a text is none', t => {
  const error = { message: 'm', type: 't', code: 'c', param: 'p' }
  t.same(errorOf(frame(delta({ content: 'a' }), { error }, '[DONE]')), error)
  t.same(errorOf(frame({ error: { message: 'm', code: 500 } })), { message: 'm', type: null, code: 500, param: null })
  t.same(errorOf(frame({ error: 'sorry' })), { message: 'sorry', type: null, code: null, param: null })
  t.same(errorOf(frame({ object: 'error', message: 'm', type: 'BadRequestError', param: null, code: 400 })), { message: 'm', type: 'BadRequestError', code: 400, param: null })
  t.same(errorOf(frame({ id: 'x', error: { message: 'm' }, choices: [{ index: 0, delta: { content: '' }, finish_reason: 'error' }] }))?.message, 'm')
  t.equal(errorOf(frame(delta({ content: '{"error":{"message":"no"}}' }))), null)
  t.equal(errorOf(frame({ ...delta({ content: 'a' }), error: null })), null)
  t.equal(errorOf(frame(delta({ tool_calls: [{ function: { name: 'error' } }] }))), null)
  t.end()
})

test('[DONE] counts only at the end of a frame and as an event of its own', t => {
  t.ok(isDone(frame('[DONE]')))
  t.ok(isDone(frame(delta({ content: 'a' }), '[DONE]')))
  t.notOk(isDone(frame('[DONE]', delta({ content: 'a' }))))
  t.notOk(isDone(frame(delta({ content: 'data: [DONE]\n\n' }))))
  t.notOk(isDone(Buffer.from('xdata: [DONE]\n\n')))
  t.notOk(isDone(Buffer.alloc(0)))
  const good = frame(delta({ content: 'a' }), '[DONE]')
  t.equal(doneEnd(good), good.length)
  t.equal(doneEnd(Buffer.concat([good, good])), good.length, 'what follows it is no part of the answer')
  t.equal(doneEnd(frame(delta({ content: 'data: [DONE]\n\n' }))), -1)
  t.end()
})

test('finished choices are noted, compact or spaced', t => {
  const finished = new Set<number>()
  noteFinished(frame(delta({ content: 'a' }), delta({}, 'stop', 2)), finished)
  t.same([...finished], [2])
  noteFinished(Buffer.from('data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}\n\n'), finished)
  t.same([...finished], [2, 0])
  noteFinished(frame(delta({ content: '"finish_reason":"stop"' }, null, 1)), finished)
  t.same([...finished], [2, 0])
  t.end()
})

test('only an event of nothing but usage is taken out', t => {
  const content = frame(delta({ content: 'a' }))
  t.equal(withoutUsageChunk(content), content)
  t.equal(String(withoutUsageChunk(frame(delta({ content: 'a' }), { choices: [], usage }, '[DONE]'))), String(frame(delta({ content: 'a' }), '[DONE]')))
  t.equal(withoutUsageChunk(frame({ choices: [], usage })).length, 0)
  const both = frame({ ...delta({}, 'stop'), usage })
  t.equal(withoutUsageChunk(both), both)
  t.equal(String(withoutUsageChunk(frame({ choices: [], usage }, delta({ content: 'a' }), { choices: [], usage }, '[DONE]'))), String(frame(delta({ content: 'a' }), '[DONE]')))
  t.end()
})

test('deltas are counted without [DONE]', t => {
  t.equal(countDeltas(frame(delta({ content: 'a' }), delta({ content: 'b' }), '[DONE]')), 2)
  t.equal(countDeltas(frame(delta({ content: 'a' }))), 1)
  t.equal(countDeltas(frame('[DONE]')), 0)
  t.equal(countDeltas(Buffer.alloc(0)), 0)
  t.end()
})
