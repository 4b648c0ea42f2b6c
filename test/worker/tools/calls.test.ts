import { array, assert, constantFrom, property } from 'fast-check'
import { test } from 'tap'
import { CallParser, type Part, type ToolCall } from '../../../src/worker/tools/calls.ts'
import { FAMILIES, type Family } from '../../../src/worker/tools/family.ts'

const NAMES = new Set(['add', 'get_weather'])
const family = (name: Family['name']): Family => FAMILIES.find(one => one.name === name)!

interface Heard { readonly content: string, readonly calls: ToolCall[] }

function partsOf (name: Family['name'], pieces: readonly string[]): Part[] {
  const parser = new CallParser(family(name), NAMES)
  return [...pieces.flatMap(piece => parser.push(piece)), ...parser.flush()]
}

function hear (name: Family['name'], pieces: readonly string[]): Heard {
  const parts = partsOf(name, pieces)
  return {
    content: parts.map(part => part.kind === 'text' ? part.raw : '').join(''),
    calls: parts.flatMap(part => part.kind === 'calls' ? part.calls : [])
  }
}

const ADD = { name: 'add', arguments: '{"a": 1, "b": 2}' }
const WEATHER = { name: 'get_weather', arguments: '{"city":"Paris"}' }
const HERMES_ADD = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
const HERMES_WEATHER = '<tool_call>{"arguments":{"city":"Paris"},"name":"get_weather"}</tool_call>'
const TRICKY = { name: 'add', arguments: '{"code": "if (a) { \\"</tool_call>\\" } [<tool_call> \\\\"}' }

const R1 = (name: string, json: string): string => `<｜tool▁call▁begin｜>function<｜tool▁sep｜>${name}\n\`\`\`json\n${json}\n\`\`\`<｜tool▁call▁end｜>`
const V3 = (name: string, json: string): string => `<｜tool▁call▁begin｜>${name}<｜tool▁sep｜>${json}<｜tool▁call▁end｜>`
const [BEGIN, END] = ['<｜tool▁calls▁begin｜>', '<｜tool▁calls▁end｜>']

/** What models write, and what has to be heard. */
const CASES: readonly (readonly [Family['name'], written: string, content: string, calls: readonly ToolCall[]])[] = [
  ['deepseek-r1', BEGIN + R1('add', ADD.arguments) + END, '', [ADD]],
  ['deepseek-r1', `I look.\n\n${BEGIN}${R1('add', ADD.arguments)}\n${R1('get_weather', WEATHER.arguments)}${END} Done.`, 'I look.Done.', [ADD, WEATHER]],
  ['deepseek-r1', R1('add', ADD.arguments), '', [ADD]],
  ['deepseek-r1', BEGIN + R1('add', TRICKY.arguments), '', [TRICKY]],
  ['deepseek-r1', `${BEGIN}I do not know.`, `${BEGIN}I do not know.`, []],
  ['deepseek-r1', BEGIN + R1('add', '{"a": 1').replace('\n```<', '<'), BEGIN + R1('add', '{"a": 1').replace('\n```<', '<'), []],
  ['deepseek-v3', BEGIN + V3('add', ADD.arguments) + V3('get_weather', WEATHER.arguments) + END, '', [ADD, WEATHER]],
  ['deepseek-v3', `I look.${BEGIN}${V3('get_weather', WEATHER.arguments)}${END}`, 'I look.', [WEATHER]],
  ['deepseek-v3', `${BEGIN}${V3('add', ADD.arguments)}<｜tool▁calls`, '<｜tool▁calls', [ADD]],
  ['hermes', HERMES_ADD, '', [ADD]],
  ['hermes', `Let me see.\n${HERMES_ADD}`, 'Let me see.', [ADD]],
  ['hermes', `${HERMES_ADD}\n${HERMES_WEATHER}\n`, '', [ADD, WEATHER]],
  ['hermes', `\n\n${HERMES_ADD}${HERMES_WEATHER} Done. `, 'Done. ', [ADD, WEATHER]],
  ['hermes', `<tool_call>{"name": "add", "arguments": ${TRICKY.arguments}}</tool_call>`, '', [TRICKY]],
  ['hermes', '<tool_call>{"name": "add", "arguments": {"a": 12345678901234567890}}</tool_call>', '', [{ name: 'add', arguments: '{"a": 12345678901234567890}' }]],
  ['hermes', '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>', '', [{ name: 'add', arguments: '{"a": 1}' }]],
  ['hermes', '<tool_call>{"name": "add"}</tool_call>', '', [{ name: 'add', arguments: '{}' }]],
  ['hermes', '<tool_call>{"type": "function", "function": {"name": "add", "arguments": {}}}</tool_call>', '', [{ name: 'add', arguments: '{}' }]],
  ['hermes', '<tool_call>{"name": "unheard_of", "arguments": {}}</tool_call>', '', [{ name: 'unheard_of', arguments: '{}' }]],
  // The closing left out, by the model or by the limit of tokens.
  ['hermes', '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}', '', [ADD]],
  ['hermes', '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool', '', [ADD]],
  ['hermes', `<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}\n${HERMES_WEATHER}`, '', [ADD, WEATHER]],
  // What is no call is text as it was written.
  ['hermes', 'Hello!  ', 'Hello!  ', []],
  ['hermes', 'a < b <tool', 'a < b <tool', []],
  ['hermes', '<tool_call>{"name": "add", "arguments": {"a": 1', '<tool_call>{"name": "add", "arguments": {"a": 1', []],
  ['hermes', '<tool_call>{"name": "add", "arguments": {a: 1}}</tool_call>', '<tool_call>{"name": "add", "arguments": {a: 1}}</tool_call>', []],
  ['hermes', '<tool_call>{"name": "add", "arguments": [1]}</tool_call>', '<tool_call>{"name": "add", "arguments": [1]}</tool_call>', []],
  ['hermes', '<tool_call>{"name": 3, "arguments": {}}</tool_call>', '<tool_call>{"name": 3, "arguments": {}}</tool_call>', []],
  ['hermes', '<tool_call>{"name": "add", "arguments": {}}}</tool_call>', '<tool_call>{"name": "add", "arguments": {}}}</tool_call>', []],
  ['hermes', '<tool_call>{"name": "add", "arguments": {]}</tool_call> x', '<tool_call>{"name": "add", "arguments": {]}</tool_call> x', []],
  ['hermes', `The tag <tool_call> begins it: ${HERMES_ADD}`, 'The tag <tool_call> begins it:', [ADD]],
  ['hermes', `<tool_call>{"tool": 1} ${HERMES_ADD}`, '<tool_call>{"tool": 1}', [ADD]],
  ['hermes', '{"name": "add", "arguments": {}}', '{"name": "add", "arguments": {}}', []],
  ['mistral', '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1, "b": 2}}, {"name": "get_weather", "arguments": {"city":"Paris"}, "id": "abcdefghi"}]', '', [ADD, WEATHER]],
  ['mistral', 'Yes. [TOOL_CALLS] [{"name": "add", "arguments": {"a": 1, "b": 2}}]', 'Yes.', [ADD]],
  ['mistral', '[TOOL_CALLS]add[ARGS]{"a": 1, "b": 2}[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{"city":"Paris"}', '', [ADD, WEATHER]],
  ['mistral', '[TOOL_CALLS][]', '[TOOL_CALLS][]', []],
  ['mistral', '[TOOL_CALLS] are how it begins', '[TOOL_CALLS] are how it begins', []],
  ['mistral', '[TOOL_CALLS][ARGS]{}', '[TOOL_CALLS][ARGS]{}', []],
  ['mistral', '[TOOL_CALLS][{"name": "add", "arguments": {}}, 3]', '[TOOL_CALLS][{"name": "add", "arguments": {}}, 3]', []],
  ['llama3', '{"name": "add", "parameters": {"a": 1, "b": 2}}', '', [ADD]],
  ['llama3', ' {"type": "function", "name": "add", "parameters": {"a": 1, "b": 2}}; {"name": "get_weather", "parameters": {"city":"Paris"}}', '', [ADD, WEATHER]],
  ['llama3', '<|python_tag|>{"name": "add", "parameters": {"a": 1, "b": 2}}', '', [ADD]],
  ['llama3', '<|python_tag|>brave_search.call(query="x")', '<|python_tag|>brave_search.call(query="x")', []],
  ['llama3', '{"name": "Ada", "parameters": {}}', '{"name": "Ada", "parameters": {}}', []],
  ['llama3', '{"answer": 42}', '{"answer": 42}', []],
  ['llama3', 'It is {"name": "add", "parameters": {}}', 'It is {"name": "add", "parameters": {}}', []],
  ['json', '\n{"name": "add", "arguments": {"a": 1, "b": 2}}', '', [ADD]],
  ['json', '{"name": "add", "arguments": {"a": 1, "b": 2}}\nThat is it.', 'That is it.', [ADD]],
  ['json', '  {}', '  {}', []],
  ['json', '{ not JSON', '{ not JSON', []],
  ['json', ' ', ' ', []]
]

test('calls are found, and all else is text as the model wrote it', async t => {
  for (const [name, written, content, calls] of CASES) t.strictSame(hear(name, [written]), { content, calls }, `${name}: ${written}`)
})

test('however the text is cut, the same is heard', async t => {
  for (const [name, written, content, calls] of CASES) {
    for (let cut = 1; cut < written.length; cut++) {
      const heard = hear(name, [written.slice(0, cut), written.slice(cut)])
      if (heard.content !== content || JSON.stringify(heard.calls) !== JSON.stringify(calls)) t.fail(`${name}: ${written} cut at ${cut}`)
    }
    t.strictSame(hear(name, [...written]), { content, calls }, `${name}: ${written}, character by character`)
  }
})

test('nothing is lost and nothing invented, whatever a model writes', async t => {
  t.plan(1)
  const words = [
    '<tool_call>', '</tool_call>', '<tool', '[TOOL_CALLS]', '[ARGS]', '<|python_tag|>', '{"name": "add", ', '"arguments": ', '"parameters": ', '{"a": 1}',
    '}', ']', '[', '{', '"', '\\', ' ', '\n', ';', 'x', 'add', HERMES_ADD
  ]
  const written = array(array(constantFrom(...words), { maxLength: 6 }).map(some => some.join('')), { maxLength: 8 })
  assert(property(constantFrom(...FAMILIES), written, ({ name }, pieces) => {
    const parts = partsOf(name, pieces)
    const all = pieces.join('')
    if (parts.map(part => part.raw).join('') !== all) return false
    for (const part of parts) if (part.kind === 'calls') for (const call of part.calls) JSON.parse(call.arguments)
    return JSON.stringify(hear(name, pieces)) === JSON.stringify(hear(name, [all]))
  }), { numRuns: 3000 })
  t.pass()
})

test('text goes on at once, but for what may begin a call', async t => {
  const parser = new CallParser(family('hermes'), NAMES)
  t.strictSame(parser.push('Let me'), [{ kind: 'text', raw: 'Let me' }])
  t.strictSame(parser.push(' see <'), [{ kind: 'text', raw: ' see' }])
  t.strictSame(parser.push('b'), [{ kind: 'text', raw: ' <b' }])
  t.strictSame(parser.push(' <tool_call>'), [])
  t.strictSame(parser.push(' x'), [{ kind: 'text', raw: ' <tool_call>' }, { kind: 'text', raw: ' x' }])
})

test('an answer that is JSON of another kind is not held back to its end', async t => {
  const parser = new CallParser(family('json'), NAMES)
  t.strictSame(parser.push('{'), [])
  t.strictSame(parser.push('"ans'), [{ kind: 'text', raw: '{' }, { kind: 'text', raw: '"ans' }])
})

test('a call of a megabyte is read in well under a second', async t => {
  const parser = new CallParser(family('hermes'), NAMES)
  const start = performance.now()
  parser.push('<tool_call>{"name": "add", "arguments": {"text": "')
  for (let i = 0; i < 10_000; i++) parser.push('{"'.padEnd(100, 'x').replaceAll('"', '\\"'))
  const [part] = parser.push('"}}</tool_call>')
  t.match(part, { kind: 'calls', calls: [{ name: 'add' }] })
  t.ok(performance.now() - start < 1000, `${Math.round(performance.now() - start)} ms`)
})
