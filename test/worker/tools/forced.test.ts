import { test } from 'tap'
import { BUILTIN_MODEL } from '../../../src/models/builtin.ts'
import { readGguf } from '../../../src/models/gguf.ts'
import { loadLlama } from '../../../src/worker/llama.ts'
import { CallParser } from '../../../src/worker/tools/calls.ts'
import { FAMILIES } from '../../../src/worker/tools/family.ts'
import { callsGrammar } from '../../../src/worker/tools/forced.ts'
import { readTools, type ToolUse } from '../../../src/worker/tools/use.ts'

const { vocabularySize } = readGguf(BUILTIN_MODEL.path)
const engine = await loadLlama({
  path: BUILTIN_MODEL.path, gpu: false, slots: 1, contextTokens: 256, batchTokens: 64, threads: 1, vocabularySize,
  signal: new AbortController().signal, onProgress () {}, log () {}
})

const TOOLS = [
  { type: 'function', function: { name: 'add', parameters: { type: 'object', properties: { root: { type: 'integer' } }, required: ['root'], additionalProperties: false } } },
  { type: 'function', function: { name: 'now' } }
]
const use = (body: Record<string, unknown>): ToolUse => readTools({ tools: TOOLS, tool_choice: 'required', ...body })!

const WRITTEN: Record<string, (first: string, second: string) => string> = {
  hermes: (first, second) => `<tool_call>\n${first}\n</tool_call>\n<tool_call>\n${second}\n</tool_call>`,
  mistral: (first, second) => `[TOOL_CALLS][${first}, ${second}]`,
  llama3: (first, second) => `${first}; ${second}`.replaceAll('"arguments"', '"parameters"'),
  json: (first, second) => `${first}\n${second}`,
  'deepseek-r1': (first, second) => `<｜tool▁calls▁begin｜>${fenced(first)}\n${fenced(second)}<｜tool▁calls▁end｜>`,
  'deepseek-v3': (first, second) => `<｜tool▁calls▁begin｜>${plain(first)}${plain(second)}<｜tool▁calls▁end｜>`
}
const parted = (call: string): string[] => /"name": "(\w+)", "arguments": (.*)\}$/.exec(call)!.slice(1)
const fenced = (call: string): string => `<｜tool▁call▁begin｜>function<｜tool▁sep｜>${parted(call).join('\n```json\n')}\n\`\`\`<｜tool▁call▁end｜>`
const plain = (call: string): string => `<｜tool▁call▁begin｜>${parted(call).join('<｜tool▁sep｜>')}<｜tool▁call▁end｜>`
const NAMES = new Set(['add', 'now'])
const ADD = '{"name": "add", "arguments": {"root": 7}}'
const NOW = '{"name": "now", "arguments": {}}'

test('each family is held to its own form, with arguments that fit', async t => {
  for (const family of FAMILIES.filter(({ name }) => name !== 'harmony')) {
    const allows = (text: string, body: Record<string, unknown> = {}): boolean => {
      const grammar = engine.compileGrammar(callsGrammar(family, use(body))) as unknown as { native: { isTextCompatible (text: string): boolean } }
      return grammar.native.isTextCompatible(text)
    }
    const both = WRITTEN[family.name]!(ADD, NOW)
    t.ok(allows(both), both)
    t.notOk(allows(both, { parallel_tool_calls: false }))
    t.notOk(allows(WRITTEN[family.name]!(ADD.replace('7', '"7"'), NOW)))
    t.notOk(allows(WRITTEN[family.name]!(ADD.replace('add', 'sub'), NOW)))
    t.notOk(allows(both, { tool_choice: { type: 'function', function: { name: 'now' } } }))
    t.notOk(allows('Hello!'))
    const parser = new CallParser(family, NAMES)
    const calls = [...parser.push(both), ...parser.flush()].flatMap(part => part.kind === 'calls' ? part.calls : [])
    t.strictSame(calls, [{ name: 'add', arguments: '{"root": 7}' }, { name: 'now', arguments: '{}' }], `${family.name} is read as it is written`)
  }
})

test('a model that speaks in channels is held to one call, in the channel where calls are', async t => {
  const harmony = FAMILIES.find(({ name }) => name === 'harmony')!
  const allows = (text: string, body: Record<string, unknown> = {}): boolean => {
    const grammar = engine.compileGrammar(callsGrammar(harmony, use(body))) as unknown as { native: { isTextCompatible (text: string): boolean } }
    return grammar.native.isTextCompatible(text)
  }
  const add = '<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"root": 7}'
  t.ok(allows(add))
  t.notOk(allows(add + add))
  t.notOk(allows(add.replace('add', 'sub')))
  t.notOk(allows(add.replace('7', '"7"')))
  t.notOk(allows(add, { tool_choice: { type: 'function', function: { name: 'now' } } }))
  t.notOk(allows('<|channel|>final<|message|>Hello!'))
})
