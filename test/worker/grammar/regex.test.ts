import fc, { type Arbitrary } from 'fast-check'
import { test } from 'tap'
import { fromPattern, longest, matches, TooManyStates, type Automaton } from '../../../src/worker/grammar/automaton.ts'
import { Effort } from '../../../src/worker/grammar/effort.ts'
import { parseRegex } from '../../../src/worker/grammar/regex.ts'

/** Every text of up to four of these characters. */
const ALPHABET = ['a', 'b', '1', '_', ' ', '\n', '-']
const TEXTS = [1, 2, 3, 4].reduce<string[][]>(all => [...all, all.at(-1)!.flatMap(text => ALPHABET.map(character => text + character))], [['']]).flat()

const compiled = (source: string): Automaton | null => fromPattern(parseRegex(source), new Effort('pattern'))

function disagreements (source: string, texts: readonly string[], flags = 'u'): string[] {
  const automaton = compiled(source)
  const regex = new RegExp(source, flags)
  return texts.filter(text => (automaton !== null && matches(automaton, text)) !== regex.test(text))
}

const quantifier = fc.constantFrom('*', '+', '?', '{2}', '{1,}', '{0,2}', '{2,3}', '*?', '+?', '{0}')
const atom = fc.constantFrom('a', 'b', '1', '.', '\\d', '\\w', '\\s', '\\D', '\\W', '\\S', '[ab]', '[^a]', '[a-z_]', '[\\d-]', '[^\\w\\s]', '\\x61', '\\u0062', '\\u{31}', '\\n', '\\-', '[]', '[^]', '[-a]', '[a\\-z]')
const regexes: Arbitrary<string> = fc.letrec<{ branch: string, piece: string, choice: string }>(tie => ({
  piece: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    atom,
    fc.tuple(atom, quantifier).map(parts => parts.join('')),
    fc.constantFrom('^', '$'),
    tie('choice').map(inner => `(${inner})`),
    fc.tuple(tie('choice'), quantifier).map(([inner, times]) => `(?:${inner})${times}`),
    tie('choice').map(inner => `(?<name>${inner})`).filter(inner => inner.indexOf('<name>') === inner.lastIndexOf('<name>'))
  ),
  branch: fc.array(tie('piece'), { maxLength: 3 }).map(parts => parts.join('')),
  choice: fc.array(tie('branch'), { minLength: 1, maxLength: 2 }).map(parts => parts.join('|'))
})).choice

test('a pattern means what it means to JavaScript', async t => {
  let refused = 0
  fc.assert(fc.property(regexes, source => {
    // Some names of groups come twice, some escapes are wrong with the u flag: what JavaScript refuses is not compared.
    try { void new RegExp(source, 'u') } catch { return }
    let wrong: string[] = []
    try {
      wrong = disagreements(source, TEXTS.slice(0, 800))
    } catch (thrown) {
      if (!(thrown instanceof TooManyStates)) throw thrown
      refused++
    }
    if (wrong.length > 0) throw new Error(`${source} on ${JSON.stringify(wrong.slice(0, 5))}`)
  }), { numRuns: 1000 })
  t.ok(refused < 30, `${refused} are too complex`)
})

test('what people write', async t => {
  const known: readonly (readonly [source: string, texts: readonly string[]])[] = [
    ['^a|b$', ['a', 'ax', 'xb', 'xa', 'bx']],
    ['^(a|b)', ['a', 'bx', 'xb']],
    ['^(a|b)$|^1+$', ['a', 'b', 'ab', '11', '1a', '']],
    ['^$', ['', 'a', '\n']],
    ['$', ['', 'a']],
    ['', ['', 'a']],
    ['a$b', ['a$b', 'ab', 'a']],
    ['^\\$\\d+\\.\\d{2}$', ['$1.00', '$12.5', '1.00']],
    ['^[^\\s@]+@[^\\s@]+$', ['a@b', 'a b@c', '@', 'é@ü']],
    ['^(?!-)[a-z-]{1,5}(?<x>a)?$', ['-a', 'a-', 'abcde', 'abcdef', 'abcdefa']],
    ['^(?=.*\\d)(?=.*[a-z])(?!.*__)\\w{3,6}$', ['a1b', 'abc', '123', 'a__1', 'a_1_b', 'a1bcdefg']],
    ['^(?=a|b1$)..$', ['ax', 'b1', 'bx', 'b12']],
    ['^\\u{1F600}\\uD83D\\uDE00😀$', ['😀😀😀', '😀😀']],
    ['^[😀-😎]$', ['😁', '😎', '😏', 'a']],
    ['^[^a]$', ['😀', 'b', 'a', '\uFFFF']],
    ['^\\s$', [' ', '\u00A0', '\uFEFF', '\u2003', '\u200B', '\u0085', '\v', '\u2028']],
    ['^.$', ['a', '\n', '\r', '\u2028', '\u2029', '\u0085', '😀']],
    ['^[\\b\\t\\cA]+$', ['\b\t\x01', 'b']],
    ['^\\/\\.\\*\\+\\?\\(\\)\\[\\]\\{\\}\\|\\^\\$\\\\$', ['/.*+?()[]{}|^$\\']],
    ['^(\\d{1,3}\\.){3}\\d{1,3}$', ['1.2.3.4', '1.2.3', '1.2.3.4444']]
  ]
  for (const [source, texts] of known) t.same(disagreements(source, texts), [], source)
  t.same(disagreements('^a{,2}$|}|]', ['a{,2}', '}', 'x]', 'aa'], ''), [], 'braces that count nothing are themselves')
})

const longestOf = (source: string): number => longest(compiled(source)!)

test('the longest text of a pattern is known', async t => {
  t.equal(longestOf('^a{2,7}(bc|d)?$'), 9)
  t.equal(longestOf('^(a|bc)$'), 2)
  t.equal(longestOf('^$'), 0)
  t.equal(longestOf('^a*$'), Infinity)
  t.equal(longestOf('a'), Infinity)
})

test('a pattern that nothing matches is known as such', async t => {
  for (const source of ['a^', '$a', '[]', '^(?!a)a$', '^a(b^)c$', '^(?=a)b']) t.equal(compiled(source), null, source)
})
