import * as fc from 'fast-check'
import { test } from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { parseBody } from '../../src/wire/parse.ts'

const parse = (text: string) => parseBody(Buffer.from(text))

function refusal (bytes: Buffer): GatewayError {
  try {
    parseBody(bytes)
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
  throw new Error('the body was accepted')
}

const refusalOf = (text: string) => refusal(Buffer.from(text))

test('an object comes back as JSON.parse reads it', async t => {
  const body = { model: 'm', messages: [{ role: 'user', content: 'grüße 😀 "x" \\ \n' }], n: 1, deep: { a: [null, true, 1.5e-3] } }
  t.strictSame(parse(JSON.stringify(body)), body)
  t.strictSame(parse(JSON.stringify(body, null, 2)), body)
})

test('a byte order mark is tolerated', async t => {
  t.strictSame(parse('\ufeff{"a":1}'), { a: 1 })
})

test('of a repeated member the last wins, and what is serialised again holds one', async t => {
  t.equal(JSON.stringify(parse('{"model":"local","a":1,"model":"cloud"}')), '{"model":"cloud","a":1}')
})

test('only an object is a body', async t => {
  const cases: Array<[string, string]> = [
    ['', 'The body is empty; expected a JSON object.'],
    [' \r\n\t', 'The body is empty; expected a JSON object.'],
    ['null', 'The body is null; expected a JSON object.'],
    ['[]', 'The body is an array; expected a JSON object.'],
    ['"text"', 'The body is a string; expected a JSON object.'],
    ['12', 'The body is a number; expected a JSON object.'],
    ['true', 'The body is a boolean; expected a JSON object.']
  ]
  for (const [text, message] of cases) t.match(refusalOf(text), { code: 'invalid_json', status: 400, message }, text)
})

test('a broken body is told where it breaks', async t => {
  const cases: Array<[string, string]> = [
    ['{"a":1}x', 'unexpected non-whitespace character after JSON at position 7'],
    ['{"a":1}\0', 'unexpected non-whitespace character after JSON at position 7'],
    ['{"a":1}{"b":2}', 'unexpected non-whitespace character after JSON at position 7'],
    ['{"a":1\0}', "expected ',' or '}' after property value at position 6"],
    ['{"a":"\0"}', 'bad control character in string literal at position 6'],
    ['{"a":"b', 'unterminated string at position 7'],
    ['{"a":', 'it ends too early, at position 5'],
    ['{"a":tr', 'it ends too early, at position 7'],
    ['{"a":"\\x"}', 'bad escaped character at position 7'],
    ['{a:1}', "expected property name or '}' at position 1"],
    ['{"a":1,}', 'expected double-quoted property name at position 7'],
    ['{"a" 1}', "expected ':' after property name at position 5"],
    ['{"a":NaN}', 'unexpected token at position 5'],
    ['{"a":-Infinity}', 'no number after minus sign at position 6'],
    ['{"a":undefined}', 'unexpected token at position 5'],
    ["{\"a\":'b'}", 'unexpected token at position 5'],
    ['{"a":tru}', 'unexpected token at position 5'],
    ['{"a":[1,2,]}', 'unexpected token at position 10'],
    ['{"a":["\\"[,", [], {}, {"b": [1, , 2]}]}', 'unexpected token at position 32'],
    ['{"a": {"b":true,"c":[]}, "d":\n.5}', 'unexpected token at position 30'],
    ['{"a":}', 'unexpected token at position 5'],
    ['{"a":01}', 'unexpected number at position 6']
  ]
  for (const [text, where] of cases) t.match(refusalOf(text), { code: 'invalid_json', status: 400, message: `The body is not valid JSON: ${where}.` }, text)
})

test('no refusal repeats what the body says', async t => {
  const secret = 'attack-at-dawn'
  for (const text of [`{"a":${secret}}`, `{"${secret}":1 "b"}`, `{"a":"${secret}`, `${secret}`, `["${secret}"]`, `{"a":"${secret}",,}`, `{"a":1} ${secret}`, `{"${secret}":NaN}`]) {
    const error = refusalOf(text)
    t.notMatch(error.message, secret, text)
    t.equal(error.cause, undefined, 'and V8, which does repeat it, is not kept as the cause')
  }
})

test('bytes that are not UTF-8 are refused', async t => {
  for (const bytes of [[0xff], [0xc3, 0x28], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xc0, 0xaf], [0xe2, 0x82]]) {
    const body = Buffer.concat([Buffer.from('{"a":"'), Buffer.from(bytes), Buffer.from('"}')])
    t.match(refusal(body), { code: 'invalid_json', message: 'The body is not valid UTF-8.' })
  }
  t.equal(refusal(Buffer.from('{"a":1}', 'utf16le')).code, 'invalid_json')
})

test('members that would reach a prototype are refused at every level, however they are spelled', async t => {
  for (const text of [
    '{"__proto__":{"isAdmin":true}}',
    '{"a":[{"b":{"__proto__":null}}]}',
    '{"\\u005f_proto__":{"isAdmin":true}}',
    '{"\\u005F\\u005Fproto\\u005f\\u005f":1}',
    '{"__pr\\u006fto__":1}',
    '{"constructor":{"prototype":{"isAdmin":true}}}',
    '{"metadata":{"constructor": {"prototype":1}}}',
    '{"c\\u006fnstructor":{"pr\\u006ftotype":1}}',
    '{"constructor":{"pr\\u006ftotype":1}}'
  ]) t.match(refusalOf(text), { code: 'invalid_json', message: /__proto__ or constructor\.prototype/ }, text)
  t.equal(({} as Record<string, unknown>)['isAdmin'], undefined)
})

test('the same words are harmless elsewhere', async t => {
  for (const body of [
    { a: '__proto__ "constructor" prototype' },
    { tools: [{ parameters: { properties: { constructor: { type: 'string' }, prototype: { type: 'string' } } } }] },
    { constructor: 'McLaren' }, { constructor: null }, { prototype: {} }, { proto: 1, protocol: 'http' }
  ]) t.equal(JSON.stringify(parse(JSON.stringify(body))), JSON.stringify(body))
})

test('a lone surrogate becomes U+FFFD before anything can be sent on', async t => {
  const body = parse('{"a":"x\\ud83d","b":["\\uDE00y",{"c\\ud800":"\\ud83d\\ude00 ok \\uDBFF"}],"d":"caf\\u00e9 \\u001b"}')
  t.strictSame(body, { a: 'x\ufffd', b: ['\ufffdy', { 'c\ufffd': '😀 ok \ufffd' }], d: 'café \u001b' })
  t.notMatch(JSON.stringify(body), /\\ud/)
})

test('depth and count are limited before anything is parsed', async t => {
  t.equal(refusalOf('{"a":' + '['.repeat(500_000)).code, 'json_too_deep')
  t.equal(refusalOf('{"a":[' + '1,'.repeat(200_001) + '1]}').code, 'json_too_complex')
})

test('any bytes give an object or a GatewayError', async () => {
  const soup = fc.string({ unit: fc.constantFrom(...'{}[]:,"\\u0dtrfalsen1-.eE +'.split(''), '__proto__', 'true', '\ud83d', 'é', '\0'), maxLength: 60 })
  fc.assert(fc.property(fc.oneof(soup, soup.map(text => `{"a":${text}}`), soup.map(text => `{"a":"${text}"}`)), text => {
    try {
      const body = parseBody(Buffer.from(text))
      return !Array.isArray(body) && JSON.stringify(body).isWellFormed() && !/\\ud/i.test(JSON.stringify(body).replaceAll('\\\\', ''))
    } catch (error) {
      return error instanceof GatewayError && error.status === 400 && error.message.length < 200
    }
  }), { numRuns: 5000 })
})

test('a body that JSON.parse accepts is accepted and equal', async () => {
  fc.assert(fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue({ depthSize: 'medium' })), body => {
    const text = JSON.stringify(body)
    fc.pre(!text.includes('"__proto__"') && !text.includes('"prototype"'))
    return JSON.stringify(parseBody(Buffer.from(text))) === text
  }), { numRuns: 1000 })
})
