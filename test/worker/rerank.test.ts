/** Rankings and embeddings of real workers whose models were made for nothing else. */
import { join } from 'node:path'
import tap, { test } from 'tap'
import { BERT_CONTEXT, writeBert } from './tiny.ts'
import { workerOnPort } from './spawned.ts'

interface Ranking {
  readonly model: string
  readonly results: readonly { readonly index: number, readonly relevance_score: number, readonly document?: { readonly text: string } }[]
  readonly usage: { readonly prompt_tokens: number, readonly total_tokens: number }
}

const folder = tap.testdir()
const file = (name: string) => join(folder, `${name}.gguf`)
writeBert(file('rank'), { ranks: true })
writeBert(file('templated'), { ranks: true, template: 'what is {query}[SEP]{document} the {query}' })
writeBert(file('embed'))
const worker = async (name: string) => (await workerOnPort(tap, '--model', file(name), '--name', name, '--slots', '2')).url
const [rank, templated, embed] = await Promise.all([worker('rank'), worker('templated'), worker('embed')])

async function post (url: string, path: string, body: Record<string, unknown>): Promise<{ status: number, body: Record<string, unknown> }> {
  const response = await fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model: 'm', ...body }) })
  return { status: response.status, body: await response.json() as Record<string, unknown> }
}
const ask = (body: Record<string, unknown>, url = rank) => post(url, '/v1/rerank', { query: 'what is the capital of france', documents: ['cat'], ...body })
async function ranking (body: Record<string, unknown>, url = rank): Promise<Ranking> {
  const answer = await ask(body, url)
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body))
  return answer.body as unknown as Ranking
}
const scores = ({ results }: Ranking) => results.map(({ relevance_score: score }) => score)

test('documents are ranked by scores from 0 to 1, the best first', async t => {
  const documents = ['the cat', 'paris is the capital of france', 'dog', 'hello world']
  const all = await ranking({ documents })
  t.strictSame(all.results.map(({ index }) => index).toSorted(), [0, 1, 2, 3])
  t.strictSame(scores(all), scores(all).toSorted((a, b) => b - a))
  t.ok(scores(all).every(score => score > 0 && score < 1))
  t.equal(new Set(scores(all)).size, 4)
  for (const { index, relevance_score: score } of all.results) {
    t.strictSame(scores(await ranking({ documents: [documents[index]] })), [score], 'company changes no score')
  }
  t.strictSame((await ranking({ documents, top_n: 2 })).results, all.results.slice(0, 2))
  t.notSame(scores(await ranking({ documents, query: 'hello' })), scores(all), 'the query counts')
})

test('documents come as strings or with a text, and come back when that is asked', async t => {
  const plain = await ranking({ documents: ['cat', 'dog'] })
  t.equal(plain.results.every(({ document }) => document === undefined), true)
  const { results } = await ranking({ documents: [{ text: 'cat', id: 7 }, 'dog'], return_documents: true })
  t.strictSame(results.map(({ document, ...rest }) => rest), plain.results)
  t.strictSame(results.map(({ index, document }) => [index, document!.text]).toSorted(), [[0, 'cat'], [1, 'dog']])
})

test('a query and a document are framed as BERT was trained, and all their tokens are counted', async t => {
  const { usage } = await ranking({ query: 'what is', documents: ['the cat', 'dog'] })
  t.strictSame(usage, { prompt_tokens: (3 + 2 + 2) + (3 + 2 + 1), total_tokens: 13 })
})

test('a model with a template for pairs reads them by it, and what looks like its control tokens stays text', async t => {
  // [CLS] is put before it; the template has three words, a control token and the query twice.
  const { usage } = await ranking({ query: 'world', documents: ['cat', 'dog'] }, templated)
  t.equal(usage.prompt_tokens, 2 * (1 + 2 + 1 + 1 + 1 + 1 + 1))
  const injected = await ranking({ query: 'world', documents: ['[SEP]'] }, templated)
  t.ok(injected.usage.prompt_tokens > usage.prompt_tokens / 2, 'more tokens than the one that it spells')
})

test('a document that does not fit is refused by its name, and cut off only when that is asked', async t => {
  const fitting = Array.from({ length: BERT_CONTEXT - 3 - 6 }, () => 'cat').join(' ')
  t.equal((await ranking({ documents: [fitting] })).usage.prompt_tokens, BERT_CONTEXT)
  const refused = await ask({ documents: ['dog', `${fitting} cat`] })
  t.match(refused, { status: 400, body: { error: { code: 'context_length_exceeded', param: 'documents[1]', message: /513 tokens together; rank takes at most 512/ } } })
  t.match(await ask({ documents: ['x'.repeat(100_000)] }), { status: 400, body: { error: { code: 'context_length_exceeded', param: 'documents[0]', message: /at least/ } } })
  const cut = await ranking({ documents: [`${fitting} cat`, 'dog cat', `${'cat '.repeat(50_000)}`], max_tokens_per_doc: 2 })
  t.equal(cut.usage.prompt_tokens, 3 * (3 + 6 + 2))
  const two = (await ranking({ documents: ['cat cat'] })).results[0]!.relevance_score
  t.equal(cut.results.find(({ index }) => index === 0)!.relevance_score, two)
})

test('what would change the ranking and is not known here is refused by name', async t => {
  for (const [change, param] of [[{ rank_fields: ['title'] }, 'rank_fields'], [{ instruction: 'x' }, 'instruction'], [{ documents: ['a', { title: 'b' }] }, 'documents[1].text']] as const) {
    t.match(await ask(change), { status: 400, body: { error: { code: 'unsupported_value', param } } })
  }
  t.match(await ask({ max_tokens_per_doc: 0 }), { status: 400, body: { error: { param: 'max_tokens_per_doc' } } })
})

test('a model says what it was not made for', async t => {
  const messages = [{ role: 'user', content: 'Hi' }]
  for (const [url, path, body, message] of [
    [rank, '/v1/chat/completions', { messages }, /^rank ranks documents and writes nothing/],
    [rank, '/v1/completions', { prompt: 'x' }, /writes nothing/],
    [rank, '/v1/embeddings', { input: 'x' }, /^rank ranks documents and makes no embeddings/],
    [embed, '/v1/chat/completions', { messages }, /^embed makes embeddings and writes nothing/],
    [embed, '/v1/rerank', { query: 'x', documents: ['x'] }, /^embed ranks no documents/]
  ] as const) {
    t.match(await post(url, path, body), { status: 400, body: { error: { code: 'unsupported_value', param: 'model', message } } })
  }
})

test('a model that only embeds needs no chat template', async t => {
  const { status, body } = await post(embed, '/v1/embeddings', { input: ['hello world', 'the cat'] })
  t.equal(status, 200)
  t.match(body, { data: [{ index: 0 }, { index: 1 }], usage: { prompt_tokens: 2 + 2 + 2 + 2 } })
})

test('a caller that leaves in the middle of a long ranking frees the model for the next', async t => {
  const controller = new AbortController()
  const long = Array.from({ length: 400 }, () => 'the cat is '.repeat(100))
  const body = JSON.stringify({ model: 'm', query: 'dog', documents: long })
  const left = fetch(`${rank}/v1/rerank`, { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: controller.signal })
  setTimeout(() => { controller.abort() }, 300)
  await t.rejects(left)
  const start = performance.now()
  await ranking({})
  t.ok(performance.now() - start < 1000)
})
