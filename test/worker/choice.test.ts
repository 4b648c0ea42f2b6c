import { test } from 'tap'
import type { ChoiceOutlet } from '../../src/worker/answer.ts'
import { Choice, type ChoiceOptions } from '../../src/worker/choice.ts'
import { ThoughtSplitter } from '../../src/worker/thoughts.ts'
import { CallParser } from '../../src/worker/tools/calls.ts'
import { FAMILIES } from '../../src/worker/tools/family.ts'

const HERMES = FAMILIES.find(({ name }) => name === 'hermes')!
const call = (name: string): string => `<tool_call>{"name": "${name}", "arguments": {}}</tool_call>`

/** What is shown of an answer whose tokens are characters. */
function shown (written: string, options: Partial<ChoiceOptions> = {}, reason: 'stop' | 'length' = 'stop'): { said: string[], taken: number, reasoningTokens: number } {
  const said: string[] = []
  const outlet: ChoiceOutlet = {
    content: text => { said.push(text) },
    reasoning: text => { said.push(`THINK ${text}`) },
    call: ({ name }) => { said.push(`CALL ${name}`) },
    finish: why => { said.push(why) }
  }
  const choice = new Choice({
    detokenize: tokens => String.fromCodePoint(...tokens), stops: [], thoughts: new ThoughtSplitter(null), calls: new CallParser(HERMES, new Set()), isParallel: true, log: null, ...options
  }, outlet)
  let taken = 0
  for (const character of written) {
    taken++
    if (!choice.take(character.codePointAt(0)!)) break
  }
  choice.end(reason)
  return { said: said.reduce<string[]>(joined, []), taken, reasoningTokens: choice.reasoningTokens }
}

const isContent = (text: string): boolean => !/^(?:CALL|THINK|stop$|length$|tool_calls$)/.test(text)

/** Adjacent pieces of content as one. */
function joined (all: string[], piece: string): string[] {
  const last = all.at(-1)
  return last !== undefined && isContent(last) && isContent(piece) ? [...all.slice(0, -1), last + piece] : [...all, piece]
}

test('several calls are shown, and the answer ends with them', async t => {
  t.strictSame(shown(`Wait. ${call('a')}\n${call('b')}`).said, ['Wait.', 'CALL a', 'CALL b', 'tool_calls'])
})

test('without parallel calls the model is stopped after the first', async t => {
  const { said, taken } = shown(`${call('a')}${call('b')}`, { isParallel: false })
  t.strictSame(said, ['CALL a', 'tool_calls'])
  t.equal(taken, call('a').length)
})

test('a list of calls without parallel calls is its first', async t => {
  const calls = new CallParser(FAMILIES.find(({ name }) => name === 'mistral')!, new Set())
  t.strictSame(shown('[TOOL_CALLS][{"name": "a"}, {"name": "b"}]', { calls, isParallel: false }).said, ['CALL a', 'tool_calls'])
})

test('an answer that is cut off says so, with or without calls before', async t => {
  t.strictSame(shown(`${call('a')} and th`, {}, 'length').said, ['CALL a', 'and th', 'length'])
  t.strictSame(shown('<tool_call>{"na', {}, 'length').said, ['<tool_call>{"na', 'length'])
})

test('what a stop string may begin is shown before a call that follows, in order', async t => {
  t.strictSame(shown(`one, tw${call('a')}`, { stops: ['two'] }).said, ['one, tw', 'CALL a', 'tool_calls'])
  t.strictSame(shown(`one, two${call('a')}`, { stops: ['two'] }).said, ['one, ', 'stop'])
  t.strictSame(shown(`one${call('two')}`, { stops: ['two'] }).said, ['one', 'CALL two', 'tool_calls'])
})

test('where no tool may be called, markers are words', async t => {
  t.strictSame(shown(call('a'), { calls: null }).said, [call('a'), 'stop'])
})

test('thoughts are shown as such and counted, and stop strings and calls in them mean nothing', async t => {
  const thought = `I could ${call('a')}`
  const { said, reasoningTokens } = shown(`<think>${thought}</think>\n${call('b')}`, { stops: ['could'] })
  const pieces = said.filter(piece => piece.startsWith('THINK ')).map(piece => piece.slice('THINK '.length))
  t.equal(pieces.join(''), thought)
  t.strictSame(said.slice(-2), ['CALL b', 'tool_calls'])
  t.equal(reasoningTokens, thought.length + '</think>'.length + 1)
})

test('a thought that is cut off leaves no content', async t => {
  const { said } = shown('<think>hm', {}, 'length')
  t.strictSame(said, ['THINK h', 'THINK m', 'length'])
})
