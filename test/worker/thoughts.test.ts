import { array, assert, boolean, constantFrom, property } from 'fast-check'
import { test } from 'tap'
import { thoughtBegunBy, ThoughtSplitter } from '../../src/worker/thoughts.ts'

interface Heard { readonly reasoning: string, readonly text: string }

const BEGUN = thoughtBegunBy('<|im_start|>assistant\n<think>\n')

function hear (pieces: readonly string[], isBegun: boolean): Heard & { readonly raw: string } {
  const splitter = new ThoughtSplitter(isBegun ? BEGUN : null)
  const parts = [...pieces.flatMap(piece => splitter.push(piece)), ...splitter.flush()]
  const of = (kind: string): string => parts.map(part => part.kind === kind ? part.raw : '').join('')
  return { reasoning: of('reasoning'), text: of('text'), raw: parts.map(part => part.raw).join('') }
}

const CASES: readonly (readonly [written: string, isBegun: boolean, heard: Heard])[] = [
  ['<think>\nTwo and two.\n</think>\n\nFour.', false, { reasoning: 'Two and two.', text: 'Four.' }],
  ['\n<think>a</think>b', false, { reasoning: 'a', text: 'b' }],
  ['[THINK]a [b] </think> [/THINK] c', false, { reasoning: 'a [b] </think>', text: 'c' }],
  ['<think>\n\n</think>\n\nFour.', false, { reasoning: '', text: 'Four.' }],
  ['Two and two.\n</think>\n\nFour.\n', true, { reasoning: 'Two and two.', text: 'Four.\n' }],
  ['<think>\nTwo.</think>Four.', true, { reasoning: 'Two.', text: 'Four.' }],
  ['</think>Four.', true, { reasoning: '', text: 'Four.' }],
  ['cut off in the mid ', true, { reasoning: 'cut off in the mid ', text: '' }],
  ['<think>cut off at </thi', false, { reasoning: 'cut off at </thi', text: '' }],
  ['<think>a\n</think>\n\n</think>\n\nb </think>', false, { reasoning: 'a', text: 'b </think>' }],
  ['<think>a</think></thin', false, { reasoning: 'a', text: '</thin' }],
  ['<think>a</think>b <think>c</think>', false, { reasoning: 'a', text: 'b <think>c</think>' }],
  ['  Four. <think>', false, { reasoning: '', text: '  Four. <think>' }],
  ['<thin', false, { reasoning: '', text: '<thin' }],
  ['[TOOL_CALLS][]', false, { reasoning: '', text: '[TOOL_CALLS][]' }],
  [' ', false, { reasoning: '', text: ' ' }]
]

test('what is thought is told from what is said, however the text is cut', async t => {
  for (const [written, isBegun, { reasoning, text }] of CASES) {
    const expected = { reasoning, text, raw: written }
    t.strictSame(hear([written], isBegun), expected, written)
    t.strictSame(hear([...written], isBegun), expected)
    for (let cut = 1; cut < written.length; cut++) {
      const heard = hear([written.slice(0, cut), written.slice(cut)], isBegun)
      if (heard.reasoning !== reasoning || heard.text !== text || heard.raw !== written) t.fail(`${written} cut at ${cut}`)
    }
  }
})

test('nothing is lost, whatever a model writes', async t => {
  const words = constantFrom('<think>', '</think>', '<think', '[THINK]', '[/THINK]', '</', '>', '[', ' ', '\n', 'x', 'think')
  assert(property(array(array(words, { maxLength: 4 }).map(some => some.join('')), { maxLength: 8 }), boolean(), (pieces, isBegun) => {
    const all = pieces.join('')
    const heard = hear(pieces, isBegun)
    return heard.raw === all && JSON.stringify(heard) === JSON.stringify(hear([all], isBegun))
  }), { numRuns: 3000 })
  t.pass()
})

test('thoughts go on at once', async t => {
  const splitter = new ThoughtSplitter(null)
  t.notOk(splitter.isThinking)
  t.strictSame(splitter.push('<think>'), [{ kind: 'gap', raw: '<think>' }])
  t.ok(splitter.isThinking)
  t.strictSame(splitter.push('Two'), [{ kind: 'reasoning', raw: 'Two' }])
  t.strictSame(splitter.push(' and </'), [{ kind: 'reasoning', raw: ' and' }])
  t.strictSame(splitter.push('think>'), [{ kind: 'gap', raw: ' </think>' }])
  t.notOk(splitter.isThinking)
})

test('a prompt tells whether it has begun a thought', async t => {
  t.match(BEGUN, { closing: '</think>' })
  t.equal(thoughtBegunBy('<|im_start|>assistant\n<think>\n\n</think>\n\n'), null)
  t.equal(thoughtBegunBy('<|im_start|>assistant\n'), null)
})
