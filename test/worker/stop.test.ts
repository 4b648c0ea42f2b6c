import { array, assert, constantFrom, nat, property, string } from 'fast-check'
import { test } from 'tap'
import { StopMatcher } from '../../src/worker/stop.ts'

/** What a reader sees of `pieces`, and whether a stop string ended it. Also checks that nothing shown is taken back. */
function shown (stops: readonly string[], pieces: readonly string[]): { text: string, stopped: boolean, matched: string | null } {
  const matcher = new StopMatcher(stops)
  let text = ''
  for (const piece of pieces) {
    const found = matcher.push(piece)
    text += found.text
    if (found.stopped) return { text, stopped: true, matched: matcher.matched }
  }
  return { text: text + matcher.flush(), stopped: false, matched: matcher.matched }
}

test('a stop string ends the answer and is not shown, wherever the text is cut', async t => {
  const whole = 'one two three'
  for (let a = 0; a <= whole.length; a++) {
    for (let b = a; b <= whole.length; b++) {
      t.strictSame(shown(['two t'], [whole.slice(0, a), whole.slice(a, b), whole.slice(b)]), { text: 'one ', stopped: true, matched: 'two t' })
    }
  }
})

test('no beginning of a stop string is shown before it is clear that it is none', async t => {
  const matcher = new StopMatcher(['</answer>'])
  t.strictSame(matcher.push('yes</ans'), { text: 'yes', stopped: false })
  t.strictSame(matcher.push('wers>'), { text: '</answers>', stopped: false })
  t.strictSame(matcher.push('<'), { text: '', stopped: false })
  t.equal(matcher.flush(), '<')
})

test('of several stop strings the one that is complete first ends the answer', async t => {
  t.strictSame(shown(['abcd', 'c'], ['xabcd']), { text: 'xab', stopped: true, matched: 'c' })
  t.strictSame(shown(['abcd', 'c'], ['xab', 'cd']), { text: 'xab', stopped: true, matched: 'c' })
  t.strictSame(shown(['bc', 'abc'], ['xabc']), { text: 'x', stopped: true, matched: 'abc' })
})

test('repeating beginnings are no trap', async t => {
  t.strictSame(shown(['aab'], ['aa', 'aa', 'b', 'c']), { text: 'aa', stopped: true, matched: 'aab' })
  t.strictSame(shown(['\n\n'], ['a\n', 'b\n', '\n']), { text: 'a\nb', stopped: true, matched: '\n\n' })
})

test('without stop strings text passes as it comes', async t => {
  t.strictSame(shown([], ['a', '', 'b']), { text: 'ab', stopped: false, matched: null })
})

test('the answer depends on the text alone, never on how it was cut', async t => {
  const letters = string({ unit: constantFrom('a', 'b', 'c'), maxLength: 24 })
  const stops = array(string({ unit: constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 }), { maxLength: 4 })
  const cuts = array(nat({ max: 24 }), { maxLength: 6 })
  assert(property(letters, stops, cuts, (text, these, at) => {
    const edges = [0, ...at.map(cut => Math.min(cut, text.length)).toSorted((x, y) => x - y), text.length]
    const pieces = edges.slice(1).map((end, i) => text.slice(edges[i], end))
    t.strictSame(shown(these, pieces), shown(these, [text]))
  }), { numRuns: 500 })
})
