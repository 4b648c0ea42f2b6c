/** A stream that was cut anywhere goes on as it would have gone on. */
import { test } from 'tap'
import { chat, events, user, workerOnPort, type Failure } from './spawned.ts'

interface Delta { readonly role?: string, readonly content?: string }
interface Chunk {
  readonly id: string
  readonly created: number
  readonly choices: readonly { readonly index: number, readonly delta: Delta, readonly finish_reason: string | null }[]
  readonly usage?: { readonly prompt_tokens: number, readonly completion_tokens: number } | null
  readonly torchgate?: { readonly stream?: object, readonly choices?: readonly { readonly index: number, readonly said: string, readonly isOver?: boolean }[] }
}

const MARKED = { headers: { 'x-torchgate-marks': 'begin' } }
const CONTINUE = { method: 'POST', headers: { 'x-torchgate-marks': 'continue' } }
const hasEnd = ({ torchgate }: Chunk) => torchgate?.choices?.some(({ isOver }) => isOver === true) === true
const COUNT = { messages: user('Count from 1 to 20'), max_tokens: 40, stream: true, stream_options: { include_usage: true } }

const DIGITS = {
  response_format: { type: 'json_schema', json_schema: { name: 'digits', strict: true, schema: { type: 'array', items: { enum: [1, 2, 'three'] }, minItems: 8, maxItems: 9 } } }
}

async function marked (url: string, body: object): Promise<Chunk[]> {
  const response = await chat(url, { ...COUNT, ...body }, MARKED)
  return (await events(response)).filter(event => event !== '[DONE]') as Chunk[]
}

/** What a pool knows that has read these events. */
function known (chunks: readonly Chunk[], choices: number): { stream: object, choices: { said: string, isOver: boolean }[] } {
  const all = Array.from({ length: choices }, () => ({ said: [] as string[], isOver: false }))
  for (const { torchgate: mark } of chunks) {
    for (const { index, said, isOver = false } of mark?.choices ?? []) {
      if (said !== '') all[index]!.said.push(said)
      all[index]!.isOver ||= isOver
    }
  }
  return { stream: chunks[0]!.torchgate!.stream!, choices: all.map(({ said, isOver }) => ({ said: said.join(), isOver })) }
}

async function goOn (url: string, body: object, chunks: readonly Chunk[], choices = 1): Promise<Chunk[]> {
  const request = { model: 'pilot', temperature: 0, ...COUNT, ...body }
  const response = await fetch(`${url}/v1/chat/completions`, { ...CONTINUE, body: JSON.stringify({ request, ...known(chunks, choices) }) })
  if (response.status !== 200) throw new Error(await response.text())
  const text = await events(response)
  if (text.at(-1) !== '[DONE]') throw new Error('the stream has no end')
  return text.slice(0, -1) as Chunk[]
}

const textOf = (chunks: readonly Chunk[], index = 0) =>
  chunks.flatMap(({ choices }) => choices ?? []).filter(choice => choice.index === index).map(({ delta }) => delta.content ?? '').join('')
const words = (chunks: readonly Chunk[]) => chunks.filter(({ torchgate }) => torchgate === undefined)
const endsOf = (chunks: readonly Chunk[]) => chunks.flatMap(({ choices }) => choices ?? []).map(choice => choice.finish_reason).filter(reason => reason !== null)

test('a stream goes on from every mark as if nothing had happened', { timeout: 60_000 }, async t => {
  const { url } = await workerOnPort(t, '--context-tokens', '512')
  const ways: Record<string, object> = {
    'the likeliest tokens': {},
    'a seed': { temperature: 1.2, seed: 7, top_k: 40 },
    'a seed and penalties': { temperature: 0.9, seed: 3, frequency_penalty: 1, presence_penalty: 0.5 },
    'a stop string': { stop: ['9, 10'] },
    'as many tokens as are allowed': { max_tokens: 7 },
    'a form': { ...DIGITS, temperature: 1.5, seed: 5 }
  }
  for (const [way, body] of Object.entries(ways)) {
    const whole = await marked(url, body)
    const cuts = [...whole.keys()].filter(at => at > 0 && whole[at]!.torchgate !== undefined && !hasEnd(whole[at]!))
    t.ok(cuts.length > 3, `${way}: ${cuts.length} marks`)
    for (const at of cuts.filter((_, i) => i % 9 === 0 || i === cuts.length - 1)) {
      const before = whole.slice(0, at + 1)
      const after = await goOn(url, body, before)
      t.equal(textOf(before) + textOf(after), textOf(whole), `${way}: cut at ${at}`)
      t.same(endsOf(after), endsOf(whole))
      t.same(after.at(-1)!.usage!.completion_tokens, whole.at(-1)!.usage!.completion_tokens)
      t.same(after.at(-1)!.usage!.prompt_tokens, whole.at(-1)!.usage!.prompt_tokens)
      t.ok(words(after).every(({ id, created }) => id === whole[1]!.id && created === whole[1]!.created), 'the same answer')
      t.notOk(words(after).some(({ choices }) => choices.some(({ delta }) => delta.role !== undefined)), 'the role was told before')
    }
  }
})

test('of several choices each goes on from where it was, and one that had ended says nothing', { timeout: 60_000 }, async t => {
  const { url } = await workerOnPort(t, '--context-tokens', '512')
  const body = { n: 2, temperature: 1, seed: 11, max_tokens: 12 }
  const whole = await marked(url, body)
  const middle = whole.slice(0, 1 + whole.findIndex((chunk, at) => at > whole.length / 2 && chunk.torchgate !== undefined))
  const after = await goOn(url, body, middle, 2)
  for (const index of [0, 1]) t.equal(textOf(middle, index) + textOf(after, index), textOf(whole, index))
  t.same(after.at(-1)!.usage!.completion_tokens, whole.at(-1)!.usage!.completion_tokens)
  const over = whole.slice(0, 1 + whole.findIndex(hasEnd))
  const rest = await goOn(url, body, over, 2)
  t.equal(endsOf(rest).length, 1)
})

test('nothing is marked that nobody asked to have marked, or that could not go on exactly', { timeout: 60_000 }, async t => {
  const { url } = await workerOnPort(t, '--context-tokens', '512')
  const isMarked = (all: unknown[]) => all.some(event => typeof event === 'object' && event !== null && 'torchgate' in event)
  t.notOk(isMarked(await events(await chat(url, COUNT))))
  t.notOk(isMarked(await marked(url, { logprobs: true, max_tokens: 4 })))
  t.ok(isMarked(await marked(url, { max_tokens: 4 })))
})

test('only the model that began an answer goes on with it', { timeout: 60_000 }, async t => {
  const { url } = await workerOnPort(t, '--context-tokens', '512')
  const whole = await marked(url, {})
  const begun = known(whole.slice(0, 4), 1)
  const wrong = async (change: object): Promise<Failure & { status: number }> => {
    const response = await fetch(`${url}/v1/chat/completions`, { ...CONTINUE, body: JSON.stringify({ request: { model: 'pilot', ...COUNT }, ...begun, ...change }) })
    return { status: response.status, ...await response.json() as Failure }
  }
  t.match(await wrong({ stream: { ...begun.stream, fingerprint: 'fp_other' } }), { status: 400, error: { param: 'stream.fingerprint' } })
  t.match(await wrong({ choices: [{ said: '1,2,99999999' }] }), { status: 400, error: { param: 'choices[0].said' } })
  t.match(await wrong({ choices: [{ said: '1,,2' }] }), { status: 400, error: { param: 'choices[0].said' } })
  t.match(await wrong({ choices: [] }), { status: 400, error: { param: 'choices' } })
  t.match(await wrong({ request: { model: 'pilot', ...COUNT, stream: false, stream_options: null } }), { status: 400, error: { param: 'choices' } })
})
