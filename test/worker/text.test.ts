import { test } from 'tap'
import { TextOfTokens } from '../../src/worker/text.ts'

/** A tokenizer with one token for each byte. */
const bytes = (tokens: readonly number[]): string => Buffer.from(tokens).toString('utf8')

function pieces (text: TextOfTokens, tokens: Iterable<number>): string[] {
  return [...Array.from(tokens, token => text.push(token)), text.flush()]
}

test('a character is given when its last byte is there', async t => {
  t.strictSame(pieces(new TextOfTokens(bytes), Buffer.from('aé🙂')), ['a', '', 'é', '', '', '', '🙂', ''])
})

test('the pieces make up the text, whatever is in it', async t => {
  for (const whole of ['日本語のテキスト', '👩‍👩‍👧 family', 'naïve — “quoted”', '\u0000 \t\n']) {
    t.equal(pieces(new TextOfTokens(bytes), Buffer.from(whole)).join(''), whole)
  }
})

test('bytes that never make a character are given as U+FFFD, not held for ever', async t => {
  const text = new TextOfTokens(bytes)
  const given = Array.from({ length: 40 }, () => text.push(0xf0)).filter(piece => piece !== '')
  t.ok(given.length >= 2, 'given in between')
  t.match(given.join(''), /^\uFFFD+$/)
  t.strictSame(pieces(new TextOfTokens(bytes), [0x61, 0xe2, 0x82]), ['a', '', '', '\uFFFD'])
})

test('a tokenizer that needs to know what came before is told', async t => {
  const asked: (readonly number[])[] = []
  const text = new TextOfTokens((tokens, before) => { asked.push([...before]); return String(tokens) })
  for (const token of [1, 2, 3, 4, 5]) text.push(token)
  t.strictSame(asked, [[], [1], [1, 2], [1, 2, 3], [2, 3, 4]])
})
