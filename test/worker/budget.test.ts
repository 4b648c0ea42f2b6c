/** A real worker with a model that thinks for as long as it is let. What it says depends on the place alone, so it shows what was put in. */
import { test } from 'tap'
import { events, user, type Failure } from './spawned.ts'
import { scripted, type Scripted } from './scripted.ts'

interface Answer {
  readonly choices: readonly { readonly message: { readonly content: string, readonly reasoning_content?: string }, readonly finish_reason: string, readonly logprobs: { readonly content: readonly unknown[] } | null }[]
  readonly usage: { readonly prompt_tokens: number, readonly completion_tokens: number, readonly completion_tokens_details: { readonly reasoning_tokens: number } }
}
interface Event {
  readonly choices?: readonly { readonly delta: { readonly content?: string, readonly reasoning_content?: string }, readonly finish_reason: string | null }[]
  readonly usage?: Answer['usage'] | null
  readonly torchgate?: { readonly stream?: object, readonly choices?: readonly { readonly said: string, readonly isOver?: boolean }[] }
}

const CONTROLS = ['<|im_start|>', '<think>', '</think>', '<|im_end|>']
const WORDS = '{% for m in messages %}{{ m.content }}{% endfor %}<|im_start|>'
const SWITCH = `${WORDS}{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}`
/** Nine letters, then what is lost to the four tokens that end a thought of ten tokens. */
const ANSWERS = ['<think>123456789....The answer.', '<think>12</think>Short.']

async function answered (asked: Promise<Response>): Promise<Answer> {
  const response = await asked
  if (response.status !== 200) throw new Error(await response.text())
  return await response.json() as Answer
}
const shown = ({ choices: [choice], usage }: Answer) => ({
  thought: choice!.message.reasoning_content ?? '', content: choice!.message.content, reason: choice!.finish_reason,
  tokens: [usage.completion_tokens, usage.completion_tokens_details.reasoning_tokens]
})
const CUT = { thought: '123456789', content: 'The answer.', reason: 'stop', tokens: [25, 12] }

test('a thought that has had its tokens is ended, and the answer follows', { timeout: 60_000 }, async t => {
  const { url, ask } = await scripted(t, { template: SWITCH, controls: CONTROLS, answers: ANSWERS }, '--thinking-tokens', 'low=10,high=40')

  t.test('by a budget of the request, or of its effort', async t => {
    for (const body of [{ thinking_token_budget: 10 }, { reasoning: { max_tokens: 10 } }, { thinking: { type: 'enabled', budget_tokens: 10 } }, { reasoning_effort: 'low' }]) {
      t.same(shown(await answered(ask(0, body))), CUT, JSON.stringify(body))
    }
    t.match(shown(await answered(ask(0, { reasoning_effort: 'high' }))), { thought: '123456789....The answer.', content: '' }, 'more than the model takes')
    t.match(shown(await answered(ask(1, { thinking_token_budget: 10 }))), { thought: '12', content: 'Short.', tokens: [10, 4] }, 'a thought that ends by itself')
  })

  t.test('with several choices, likelihoods and a form', async t => {
    const { choices, usage } = await answered(ask(0, { thinking_token_budget: 10, n: 2, logprobs: true }))
    t.match(choices, [{ message: { content: 'The answer.' }, logprobs: { content: Array.from('The answer.') } }, { message: { content: 'The answer.' } }].map(({ message }) => ({ message })))
    t.same(choices.map(({ logprobs }) => logprobs?.content.length), ['The answer.'.length, 'The answer.'.length])
    t.equal(usage.completion_tokens, 50)
    const format = { type: 'json_schema', json_schema: { name: 'n', schema: { enum: ['yes', 'no'] } } }
    t.match(shown(await answered(ask(0, { thinking_token_budget: 10, response_format: format }))), { thought: '123456789', content: /^"(yes|no)"$/ })
  })

  t.test('unless the answer is over before', async t => {
    for (const most of [10, 11, 12, 13]) t.match(shown(await answered(ask(0, { thinking_token_budget: 10, max_tokens: most }))), { thought: /^123456789/, content: '', reason: 'length', tokens: [most] })
  })

  t.test('without an effort the model does not think', async t => {
    const body = { messages: user('x'), max_tokens: 1 }
    const prompt = async (more: object): Promise<number> => {
      const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body: JSON.stringify({ model: 'm', ...body, ...more }) })
      return (await response.json() as Answer).usage.prompt_tokens
    }
    const [thinking, off] = [await prompt({}), await prompt({ reasoning_effort: 'none' })]
    t.equal(off - thinking, 6, 'the thought of the template, which is over')
    t.equal(await prompt({ chat_template_kwargs: { enable_thinking: false } }), off)
  })

  t.test('and a stream that is cut anywhere goes on as it would have', async t => {
    const body = { thinking_token_budget: 10, stream: true, stream_options: { include_usage: true } }
    const whole = (await events(await ask(0, body, { 'x-torchgate-marks': 'begin' }))).slice(0, -1) as Event[]
    t.same(said(whole), { thought: CUT.thought, content: CUT.content })
    const cuts = [...whole.keys()].filter(at => whole[at]!.torchgate?.choices !== undefined)
    t.ok(cuts.length > 15)
    const request = await requestOf({ ask, url }, body)
    for (const at of cuts.slice(5, -1)) {
      const before = whole.slice(0, at + 1)
      const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { 'x-torchgate-marks': 'continue' }, body: JSON.stringify({ request, ...known(before) }) })
      const after = (await events(response)).slice(0, -1) as Event[]
      t.same(said([...before, ...after]), said(whole), `cut at ${at}`)
      t.same(after.at(-1)!.usage!.completion_tokens_details, whole.at(-1)!.usage!.completion_tokens_details)
    }
    const tokens = known(whole).choices[0].said.split(',')
    for (const length of [9, 10, 11, 12, 13]) {
      const choices = [{ said: tokens.slice(0, length).join(), isOver: false }]
      const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { 'x-torchgate-marks': 'continue' }, body: JSON.stringify({ request, ...known(whole), choices }) })
      const after = (await events(response)).slice(0, -1) as Event[]
      t.match(said(after), { content: CUT.content }, `after ${length} tokens`)
      t.equal(after.at(-1)!.usage!.completion_tokens, 25)
    }
  })
})

function said (all: readonly Event[]): { thought: string, content: string } {
  const deltas = all.flatMap(({ choices = [] }) => choices.map(({ delta }) => delta))
  return { thought: deltas.map(({ reasoning_content: text = '' }) => text).join(''), content: deltas.map(({ content = '' }) => content).join('') }
}

function known (all: readonly Event[]): { stream: object, choices: [{ said: string, isOver: boolean }] } {
  const tokens = all.flatMap(({ torchgate }) => torchgate?.choices ?? []).map(choice => choice.said).filter(text => text !== '')
  return { stream: all.find(({ torchgate }) => torchgate?.stream !== undefined)!.torchgate!.stream!, choices: [{ said: tokens.join(), isOver: false }] }
}

/** The request that `ask` sends for the first answer. */
async function requestOf ({ url }: Scripted, body: object): Promise<object> {
  const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body: JSON.stringify({ model: 'pilot', messages: user('x'), max_tokens: 1 }) })
  const { usage } = await response.json() as Answer
  return { model: 'pilot', temperature: 0, ...body, messages: user('x'.repeat(224 - usage.prompt_tokens + 1)) }
}

test('a thought that the template begins is ended likewise, or before it begins', { timeout: 60_000 }, async t => {
  const { url, ask } = await scripted(t, { template: `${WORDS}<think>\n`, controls: CONTROLS, answers: ['123456789x....The answer.', 'At once.'] })
  t.same(shown(await answered(ask(0, { thinking_token_budget: 10 }))), { ...CUT, thought: '123456789x' })
  t.match(shown(await answered(ask(1, { reasoning_effort: 'none' }))), { thought: '', content: 'At once.', tokens: [8, 0] })
  const format = { type: 'json_schema', json_schema: { name: 'n', schema: { enum: ['yes', 'no'] } } }
  t.match(shown(await answered(ask(1, { reasoning_effort: 'none', response_format: format }))), { thought: '', content: /^"(yes|no)"$/ })
  const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', body: JSON.stringify({ model: 'm', messages: user('x'), reasoning_effort: 'low', reasoning: { effort: 'high' } }) })
  t.match((await response.json() as Failure).error, { code: 'invalid_value', param: 'reasoning.effort' })
})
