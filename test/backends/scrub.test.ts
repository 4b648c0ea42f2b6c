import { test } from 'tap'
import { identifier, scrub } from '../../src/backends/scrub.ts'

const KEY = 'sk-proj-Abcdefghijklmnop0123456789'

test('a key is taken out, whole or in part, wherever it stands', t => {
  const clean = (message: string) => scrub(message, { secrets: [KEY], body: '' })
  t.equal(clean(`Incorrect key ${KEY}.`), 'Incorrect key [redacted].')
  t.equal(clean(`Incorrect key ${KEY.slice(0, 12)}***${KEY.slice(-10)}.`), 'Incorrect key [redacted]***[redacted].')
  t.equal(clean(`${KEY}${KEY}`), '[redacted][redacted]')
  t.equal(clean('sk-test is no part of it'), 'sk-test is no part of it')
  t.equal(clean(''), '')
  t.equal(scrub('the word EMPTY stays', { secrets: ['EMPTY', ''], body: '' }), 'the word EMPTY stays')
  t.end()
})

test('a key that straddles the cut is still taken out', t => {
  for (let pad = 440; pad < 520; pad += 3) t.notMatch(scrub(`${'x '.repeat(pad / 2)}${KEY}`, { secrets: [KEY], body: '' }), 'sk-proj')
  t.end()
})

test('a quote of the prompt is taken out; names of parameters, models and functions stay', t => {
  const messages = [{ role: 'user', content: 'The launch code is one two three four five six.' }]
  const body = JSON.stringify({ model: 'meta-llama/Llama-3.1-8B-Instruct-Turbo', max_completion_tokens: 5, messages })
  const clean = (message: string) => scrub(message, { secrets: [], body })
  t.equal(clean('Cannot answer: "The launch code is one two three four five six." Sorry.'), 'Cannot answer: […] Sorry.')
  t.notMatch(clean('x'.repeat(37) + 'launch code is one two three four'), 'launch')
  for (const kept of ['The model `meta-llama/Llama-3.1-8B-Instruct-Turbo` does not exist.', "Unsupported parameter: use 'max_completion_tokens' instead.",
    'Invalid type for "messages": expected an array.', 'This is a long sentence that the request does not have in it at all.']) t.equal(clean(kept), kept)
  t.end()
})

test('the message is one line and 500 characters at most', t => {
  t.equal(scrub('a\r\n\tb\u2028c', { secrets: [], body: '' }), 'a b c')
  t.equal(scrub('y'.repeat(10_000), { secrets: [], body: '' }).length, 500)
  t.end()
})

test('beside a request too long to search nothing is quoted', t => {
  t.match(scrub('anything', { secrets: [], body: 'z'.repeat(1_048_577) }), /withheld/)
  t.end()
})

const name = (value: string | number | null) => identifier(value, { secrets: [KEY], body: 'z'.repeat(1_048_577) })

test('a code or a param passes as it came, or not at all', t => {
  for (const kept of ['unsupported_value', 'messages[0].content[1].image_url', 'tools.0.function', 'a'.repeat(64), 'sk-test']) t.equal(name(kept), kept)
  t.equal(name(400), '400')
  for (const dropped of [null, '', 'two words', 'a'.repeat(65), 'a\nb', 'temperature"', KEY, `x.${KEY.slice(0, 8)}`]) t.equal(name(dropped), null, String(dropped))
  t.end()
})
