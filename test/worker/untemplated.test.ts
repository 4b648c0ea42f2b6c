/** Models that bring no chat template, or one that does not work, in real workers. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { CHATML } from '../../src/worker/chatml.ts'
import { ChatTemplate, type Conversation } from '../../src/worker/template.ts'
import { chat, completion, spawnedWorker, user, workerOnPort, type Failure } from './spawned.ts'
import { writeScripted } from './scripted.ts'

const CONTROLS = ['<|im_start|>', '<|im_end|>']
const TOOL = { type: 'function', function: { name: 'add', parameters: { type: 'object', properties: {}, additionalProperties: false } } }

const model = (t: { testdir (): string }, template: string | null): string => writeScripted(join(t.testdir(), 'scripted.gguf'), { template, controls: CONTROLS, says: new Map() })

test('without a chat template a model goes on from raw prompts, and says what a chat would take', { timeout: 60_000 }, async t => {
  const { url } = await workerOnPort(t, '--model', model(t, null))
  const response = await chat(url, { messages: user('Hi') })
  t.equal(response.status, 400)
  t.match((await response.json() as Failure).error, { code: 'unsupported_value', param: 'model', message: /no chat template.*chatTemplate.*\/v1\/completions/ })
  const raw = await fetch(`${url}/v1/completions`, { method: 'POST', body: JSON.stringify({ model: 'm', prompt: 'Hi', max_tokens: 4, temperature: 0 }) })
  t.match(await raw.json(), { choices: [{ text: /^[a-z]{4}$/ }], usage: { prompt_tokens: 2, completion_tokens: 4 } })
})

test('a gap is filled by a model that knows the marks around it', { timeout: 60_000 }, async t => {
  const file = writeScripted(join(t.testdir(), 'scripted.gguf'), { template: null, controls: CONTROLS, fillsGaps: true, says: new Map([['_ab_c_'.length, 'filled']]) })
  const { url } = await workerOnPort(t, '--model', file)
  const fill = async (body: object): Promise<unknown> => (await fetch(`${url}/v1/completions`, { method: 'POST', body: JSON.stringify({ model: 'm', max_tokens: 20, temperature: 0, ...body }) })).json()
  t.match(await fill({ prompt: 'ab', suffix: 'c' }), { choices: [{ text: 'filled', finish_reason: 'stop' }], usage: { prompt_tokens: 6 } })
  t.match(await fill({ prompt: 'ab', suffix: '<|fim_middle|>' }), { usage: { prompt_tokens: 5 + '<|fim_middle|>'.length } }, 'what follows the gap is text')
})

test('a chat template can be given to it, by name or as a file', { timeout: 60_000 }, async t => {
  const named = await workerOnPort(t, '--model', model(t, null), '--chat-template', 'chatml')
  const { usage } = await completion(named.url, { messages: user('Hi'), max_tokens: 1 })
  t.equal(usage.prompt_tokens, '_user\nHi_\n_assistant\n'.length, 'a mark is one token, and each letter')
  const forced = await completion(named.url, { messages: user('Hi'), tools: [TOOL], tool_choice: 'required', max_tokens: 200 })
  t.match(forced.choices, [{ message: { tool_calls: [{ function: { name: 'add' } }] } }])
  const broken = model(t, '{{ broken')
  const file = `${broken}.jinja`
  writeFileSync(file, '{% for message in messages %}{{ message.content }}{% endfor %}!')
  const own = await workerOnPort(t, '--model', broken, '--chat-template', file)
  t.equal((await completion(own.url, { messages: user('Hi'), max_tokens: 1 })).usage.prompt_tokens, 'Hi!'.length, 'also instead of the one it brings')
})

test('a template that does not work is told when the model is loaded', { timeout: 60_000 }, async t => {
  const faults: [template: string, args: readonly string[], message: RegExp][] = [
    ['{% for message in messages %}', [], /chat template cannot be read: .*chatTemplate: chatml/],
    ['{{ messages[0].content.nothing() }}', [], /chat template cannot be rendered: .*chatTemplate: chatml/],
    ['{{ messages }}', ['--chat-template', '/no/such.jinja'], /chatTemplate: expected chatml or a file of Jinja; \/no\/such.jinja: ENOENT/]
  ]
  for (const [template, args, message] of faults) {
    const { messages, code } = await spawnedWorker(t, ['--model', model(t, template), '--gpu', 'false', '--port', '0', ...args])
    t.match([messages.at(-1), code], [{ kind: 'failed', message }, 70], template)
  }
})

test('ChatML that is given reads as that of a model that brings it', async t => {
  const vocabulary = { bosText: '', eosText: '', leadingToken: null, controlTexts: () => [], tokenize: () => [] }
  const templateOf = (source: string): ChatTemplate => new ChatTemplate(new Map([['default', source]]), vocabulary)
  const [given, brought] = [templateOf(CHATML), templateOf(readFileSync(new URL('../../models/pilot/train/chat_template.jinja', import.meta.url), 'utf8'))]
  const call = { id: 'a', type: 'function', function: { name: 'add', arguments: { a: 1 } } }
  const conversations: Conversation['messages'][] = [
    [{ role: 'user', content: 'Hi' }],
    [{ role: 'developer', content: 'Be brief.' }, { role: 'user', content: 'Hi' }, { role: 'assistant', content: 'Hello.' }, { role: 'user', content: 'Bye' }],
    [{ role: 'user', content: '1 + 1' }, { role: 'assistant', content: '', tool_calls: [call] }, { role: 'tool', content: '2' }],
    [{ role: 'user', content: '1 + 1' }, { role: 'assistant', content: 'I add.', tool_calls: [call, call] }, { role: 'tool', content: '2' }]
  ]
  for (const messages of conversations) {
    for (const tools of [null, [TOOL]]) t.same(given.render({ messages, tools, variables: {} }), brought.render({ messages, tools, variables: {} }))
  }
})
