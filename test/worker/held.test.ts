import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import tap, { test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { readGguf } from '../../src/models/gguf.ts'
import { heldTo, type Held } from '../../src/worker/held.ts'
import { loadLlama } from '../../src/worker/llama.ts'
import { Model } from '../../src/worker/load.ts'
import { serveModel } from '../../src/worker/serve.ts'
import { optionalThought, thoughtBegunBy, ThoughtSplitter } from '../../src/worker/thoughts.ts'
import { chat, user, type Failure } from './spawned.ts'

const head = readGguf(BUILTIN_MODEL.path)
const engine = await loadLlama({
  path: BUILTIN_MODEL.path, gpu: false, slots: 2, contextTokens: 1024, batchTokens: 256, threads: 1, vocabularySize: head.vocabularySize,
  signal: new AbortController().signal, onProgress () {}, log () {}
})
const template = head.chatTemplates.get('default')!

const THINK = thoughtBegunBy('<think>')!
const BRACKETS = thoughtBegunBy('[THINK]')!
const ONE = 'root ::= "{" value "}"\nvalue ::= [0-9]\n'
const OTHER = 'root ::= "<" value ">"\nvalue ::= [a-z]\n'

function allows (held: Partial<Held>, text: string): boolean {
  const grammar = engine.compileGrammar(heldTo({ forms: [ONE], thought: null, isBegun: false, ...held })) as unknown as { native: { isTextCompatible (text: string): boolean } }
  return grammar.native.isTextCompatible(text)
}

test('before a thought is over everything goes, and after it the form alone', async t => {
  const thoughts = ['', 'a', '\nTwo <and> </two>, {1} </thin </</think\n', '中文 😀 \\ " \n', '<<<//</t</th</thi</thin</think']
  for (const [marker, isBegun] of [[THINK, true], [THINK, false], [BRACKETS, true], [BRACKETS, false]] as const) {
    const { opening, closing } = marker
    for (const thought of thoughts) {
      const before = (isBegun ? '' : opening) + (marker === THINK ? thought : thought.replaceAll('<', '[').replaceAll('think', 'THINK'))
      for (const space of ['', '\n', '\n\n']) t.ok(allows({ thought: marker, isBegun }, `${before}${closing}${space}{1}`), before)
      t.notOk(allows({ thought: marker, isBegun }, before), 'the thought has to end')
      t.notOk(allows({ thought: marker, isBegun }, `${before}{1}`))
      t.notOk(allows({ thought: marker, isBegun }, `${before}${closing}one`))
      t.notOk(allows({ thought: marker, isBegun }, `${before}${closing}more${closing}{1}`), 'the first closing is the last')
      t.notOk(allows({ thought: marker, isBegun }, `${before}${closing}\n\n\n{1}`), 'space has an end')
    }
    t.equal(allows({ thought: marker, isBegun }, '{1}'), !isBegun, 'a model that has not begun need not think')
  }
})

test('what is allowed before the form is what is told apart as thought', async t => {
  for (const text of ['<think>\nhm</thin</think>\n\n{1}', '<think></think>{1}', '{1}']) {
    t.ok(allows({ thought: THINK }, text))
    const splitter = new ThoughtSplitter(null)
    const parts = [...splitter.push(text), ...splitter.flush()]
    t.equal(parts.filter(({ kind }) => kind === 'text').map(({ raw }) => raw).join(''), '{1}')
  }
})

test('of several forms each is allowed, and rules of the same name are told apart', async t => {
  for (const thought of [null, THINK]) {
    for (const text of ['{1}', '<a>']) t.ok(allows({ forms: [ONE, OTHER], thought }, text))
    for (const text of ['{a}', '<1>', '{1}<a>', '']) t.notOk(allows({ forms: [ONE, OTHER], thought }, text))
  }
  t.notOk(allows({}, '<think></think>{1}'), 'a model that does not think has no room for thoughts')
})

test('a template tells whether its model thinks, a prompt whether it has', async t => {
  const thinking = "{{ content.split('</think>') }}"
  t.equal(optionalThought('<|im_start|>assistant\n', thinking), THINK)
  t.equal(optionalThought('<|im_start|>assistant\n<think>\n\n</think>\n\n', thinking), null)
  t.equal(optionalThought('<|im_start|>assistant\n', template), null)
})

/** The built-in model as one that thinks: its template ends with `begun`. */
async function thinker (begun: string): Promise<string> {
  const chatTemplates = new Map([['default', template.replace("'<|im_start|>assistant\\n' }}\n{%- endif %}\n", match => match.replace("\\n'", `\\n${begun}'`))]])
  const { server } = serveModel(new Model('pilot', engine, { ...head, chatTemplates }, { sha256: '0'.repeat(64) }), () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  tap.teardown(() => { server.close(); server.closeAllConnections() })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const SCHEMA = { type: 'object', properties: { digit: { type: 'integer', minimum: 1, maximum: 9 } }, required: ['digit'], additionalProperties: false }
const FORMAT = { response_format: { type: 'json_schema', json_schema: { name: 'digit', strict: true, schema: SCHEMA } } }
interface Answered { choices: [{ message: { content: string | null, reasoning_content?: string }, finish_reason: string }], usage: { completion_tokens_details: { reasoning_tokens: number } } }

/** Such a model never ends a thought by itself: of these few tokens it does by chance. */
const CLOSING = Object.fromEntries(engine.tokenize('</think>').map(id => [id, 100]))

test('a model that thinks may think as it likes; its answer is of the form', { timeout: 30_000 }, async t => {
  const url = await thinker('<think>\\n')
  let thought = 0
  for (let seed = 0; seed < 10; seed++) {
    const body = { messages: user('Hi'), ...FORMAT, temperature: 2, frequency_penalty: 0.2, seed, max_tokens: 400, logit_bias: CLOSING }
    const { choices: [{ message, finish_reason: reason }], usage } = await (await chat(url, body)).json() as Answered
    if (reason === 'length') { t.notMatch(message.content ?? '', /./, 'a thought that is cut off is no answer'); continue }
    t.match(message.content, /^\{"digit": ?[1-9]\}$/)
    t.ok(usage.completion_tokens_details.reasoning_tokens > 0)
    if ((message.reasoning_content ?? '') !== '') thought++
  }
  t.ok(thought >= 3, `${thought} of 10 have thought and answered`)
})

test('a prompt that has ended the thought is followed by the form at once', async t => {
  const url = await thinker('<think>\\n\\n</think>\\n\\n')
  const { choices: [{ message }] } = await (await chat(url, { messages: user('Hi'), ...FORMAT, max_tokens: 50 })).json() as Answered
  t.match(message.content, /^\{"digit": ?[1-9]\}$/)
})

test('a model that thinks in another way cannot be held, and says so', async t => {
  const url = await thinker('<|channel|>')
  const response = await chat(url, { messages: user('Hi'), ...FORMAT })
  t.equal(response.status, 400)
  t.match((await response.json() as Failure).error, { code: 'unsupported_value', param: 'response_format.json_schema.schema', message: /thinks in a form/ })
})
