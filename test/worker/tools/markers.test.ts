import { test } from 'tap'
import { TextOfTokens } from '../../../src/worker/text.ts'
import { markersOf, showing } from '../../../src/worker/tools/markers.ts'

/** Tokens below 256 are bytes, 1000 is a control token, 2000 one that is shown. */
const tokenizer = {
  tokenize: (text: string): number[] => text === '[TOOL_CALLS]' ? [1000] : text === '<tool_call>' ? [2000] : [...Buffer.from(text)],
  detokenize: (tokens: readonly number[]): string => Buffer.from(tokens.filter(token => token < 256)).toString() + (tokens.includes(2000) ? '<tool_call>' : '')
}

test('markers that are hidden control tokens are found, and no others', async t => {
  t.strictSame([...markersOf(['[TOOL_CALLS]', '<tool_call>', '[ARGS]'], tokenizer)], [[1000, '[TOOL_CALLS]']])
})

test('they are shown where they stand, also behind half a character', async t => {
  const text = new TextOfTokens(showing(markersOf(['[TOOL_CALLS]'], tokenizer), tokenizer.detokenize))
  const said = [0x61, 1000, 0xC3, 1000, 0x62, 1000, 1000].map(token => text.push(token)).join('') + text.flush()
  t.equal(said, 'a[TOOL_CALLS]\uFFFD[TOOL_CALLS]b[TOOL_CALLS][TOOL_CALLS]')
})
