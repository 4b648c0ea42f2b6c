import { array, assert, boolean, constantFrom, property } from 'fast-check'
import { test } from 'tap'
import { ChannelSplitter } from '../../src/worker/channels.ts'
import type { ToolCall } from '../../src/worker/tools/calls.ts'

interface Heard { readonly reasoning: string, readonly text: string, readonly calls: readonly ToolCall[] }

function hear (pieces: readonly string[], hasTools = true): Heard & { readonly raw: string } {
  const splitter = new ChannelSplitter(hasTools)
  const parts = [...pieces.flatMap(piece => splitter.push(piece)), ...splitter.flush()]
  const of = (kind: string): string => parts.map(part => part.kind === kind ? part.raw : '').join('')
  return { reasoning: of('reasoning'), text: of('text'), calls: parts.flatMap(part => part.kind === 'calls' ? part.calls : []), raw: parts.map(part => part.raw).join('') }
}

const THOUGHT = '<|channel|>analysis<|message|>Two and two.<|end|>'
const NEXT = '<|start|>assistant'
const CALL = '<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a": 1, "b": "<end>"}'
const ADD = { name: 'add', arguments: '{"a": 1, "b": "<end>"}' }

const CASES: readonly (readonly [written: string, heard: Partial<Heard>])[] = [
  [`${THOUGHT}${NEXT}<|channel|>final<|message|>Four.<|return|>`, { reasoning: 'Two and two.', text: 'Four.' }],
  [`${THOUGHT}${NEXT}<|channel|>final<|message|>Four.`, { reasoning: 'Two and two.', text: 'Four.' }],
  ['<|channel|>final<|message|>Four < five.', { text: 'Four < five.' }],
  [`${THOUGHT}${NEXT}${CALL}<|call|>`, { reasoning: 'Two and two.', calls: [ADD] }],
  [`${THOUGHT}${NEXT}${CALL}`, { reasoning: 'Two and two.', calls: [ADD] }],
  [` to=functions.add<|channel|>commentary json<|message|>${ADD.arguments}<|call|>`, { calls: [ADD] }],
  [`<|channel|>analysis to=functions.add code<|message|>${ADD.arguments}`, { calls: [ADD] }],
  [`<|channel|>commentary<|message|>I will add.<|end|>${NEXT}${CALL}`, { text: 'I will add.', calls: [ADD] }],
  [`<|channel|>analysis<|message|>First.${NEXT}<|channel|>final<|message|>Four.`, { reasoning: 'First.', text: 'Four.' }],
  ['<|channel|>analysis<|message|>cut off in the mi', { reasoning: 'cut off in the mi' }],
  ['<|channel|>analysis<|message|>cut off <|en', { reasoning: 'cut off <|en' }],
  ['<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a": 1', { text: '<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a": 1' }],
  ['<|channel|>commentary to=functions.add <|message|>1 + 2<|call|>', { text: '<|channel|>commentary to=functions.add <|message|>1 + 2<|call|>' }],
  ['<|channel|>analysis to=browser.search <|message|>{}<|call|>', { text: '<|channel|>analysis to=browser.search <|message|>{}' }],
  ['<|channel|>fin', {}],
  ['Four.', { text: 'Four.' }],
  ['assistance is near', { text: 'assistance is near' }]
]

test('thoughts, calls and words are told apart by their channels, however the text is cut', async t => {
  for (const [written, heard] of CASES) {
    const expected = { reasoning: '', text: '', calls: [], raw: written, ...heard }
    if (written.startsWith('assistance')) {
      t.equal(hear([`${written}${' '.repeat(256)}`]).text.trim(), written, 'a head has an end')
      continue
    }
    t.strictSame(hear([written]), expected, written)
    t.strictSame(hear([...written]), expected, written)
    for (let cut = 1; cut < written.length; cut++) {
      if (JSON.stringify(hear([written.slice(0, cut), written.slice(cut)])) !== JSON.stringify(hear([written]))) t.fail(`${written} cut at ${cut}`)
    }
  }
})

test('without tools what looks like a call is text as it was written', async t => {
  t.strictSame(hear([CALL], false), { reasoning: '', text: CALL, calls: [], raw: CALL })
})

test('nothing is lost, whatever a model writes', async t => {
  const words = constantFrom('<|start|>', '<|channel|>', '<|message|>', '<|end|>', '<|call|>', '<|', '|>', 'analysis', 'final', 'commentary', ' to=functions.add', 'assistant', '{"a": 1}', 'x', ' ')
  assert(property(array(array(words, { maxLength: 5 }).map(some => some.join('')), { maxLength: 8 }), boolean(), (pieces, hasTools) => {
    const all = pieces.join('')
    const heard = hear(pieces, hasTools)
    return heard.raw === all && JSON.stringify(heard) === JSON.stringify(hear([all], hasTools))
  }), { numRuns: 3000 })
  t.pass()
})

test('thoughts and words go on at once, a call when it is whole', async t => {
  const splitter = new ChannelSplitter(true)
  splitter.push('<|channel|>analysis')
  t.notOk(splitter.isThinking)
  t.strictSame(splitter.push('<|message|>'), [{ kind: 'gap', raw: '<|channel|>analysis<|message|>' }])
  t.ok(splitter.isThinking)
  t.strictSame(splitter.push('Two'), [{ kind: 'reasoning', raw: 'Two' }])
  t.strictSame(splitter.push('<|end|>'), [{ kind: 'gap', raw: '<|end|>' }])
  t.notOk(splitter.isThinking)
  t.strictSame(splitter.push(NEXT + CALL), [])
  t.match(splitter.push('<|call|>'), [{ kind: 'calls', calls: [ADD] }])
})
