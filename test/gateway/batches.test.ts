import { DatabaseSync } from 'node:sqlite'
import { join } from 'node:path'
import { test } from 'tap'
import { toFile, type OpenAI } from 'openai'
import { startEcho, type Echo } from './echo.ts'
import { eventually, startGateway, type Running } from './harness.ts'

const yaml = (url: string, more = '') => `
backends:
  - { name: near, kind: openai, baseUrl: ${url}, locality: local }
models:
  - { name: pilot, targets: [{ backend: near, model: m }] }
  - { name: other, targets: [{ backend: near, model: o }] }
tenants:
  - { name: keeps, storeFiles: true, models: [pilot, other] }
  - { name: also, storeFiles: true }
  - { name: slow, storeFiles: true, limits: { requestsPerMinute: 600, concurrency: 1 } }
  - { name: busy, storeFiles: true, limits: { requestsPerMinute: 40 } }
  - { name: never }
batches: { parallel: 4, maxLines: 50, perTenant: 3, leaseMs: 1000, tries: 2 }
${more}`

type Line = { id: string, custom_id: string, response: { status_code: number, request_id: string, body: Record<string, unknown> } | null, error: { code: string } | null }

const chatLine = (id: string, content = id, model = 'pilot', more = {}) =>
  ({ custom_id: id, method: 'POST', url: '/v1/chat/completions', body: { model, messages: [{ role: 'user', content }] }, ...more })
const jsonl = (lines: readonly (object | string)[]) => lines.map(line => typeof line === 'string' ? line : JSON.stringify(line)).join('\n')

async function submit (client: OpenAI, lines: readonly (object | string)[], endpoint: OpenAI.BatchCreateParams['endpoint'] = '/v1/chat/completions', more = {}): Promise<OpenAI.Batch> {
  const file = await client.files.create({ file: await toFile(Buffer.from(jsonl(lines)), 'in.jsonl'), purpose: 'batch' })
  return await client.batches.create({ input_file_id: file.id, endpoint, completion_window: '24h', ...more })
}

async function ended (client: OpenAI, { id }: OpenAI.Batch): Promise<OpenAI.Batch> {
  let batch = await client.batches.retrieve(id)
  await eventually(async () => {
    batch = await client.batches.retrieve(id)
    return ['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)
  }, 8000)
  return batch
}

async function linesOf (client: OpenAI, id: string | null | undefined): Promise<Line[]> {
  if (id === null || id === undefined) return []
  const text = await (await client.files.content(id)).text()
  return text.trimEnd().split('\n').map(line => JSON.parse(line) as Line)
}

const started = async (t: Parameters<typeof startEcho>[0], more = ''): Promise<{ echo: Echo, running: Running }> => {
  const echo = await startEcho(t)
  return { echo, running: await startGateway(t, yaml(echo.url, more)) }
}

test('a batch is answered line by line, as the official one is', async t => {
  const { echo, running } = await started(t)
  const client = await running.client('keeps')

  await t.test('chat completions', async t => {
    const batch = await submit(client, Array.from({ length: 20 }, (_, at) => chatLine(`line-${at}`)), '/v1/chat/completions', { metadata: { job: 'nightly' } })
    t.match(batch, {
      object: 'batch', status: 'validating', endpoint: '/v1/chat/completions', completion_window: '24h', metadata: { job: 'nightly' },
      output_file_id: null, error_file_id: null, errors: null, request_counts: { total: 0, completed: 0, failed: 0 }
    })
    t.match(batch.id, /^batch_[0-9a-f]{32}$/)
    t.equal(batch.expires_at! - batch.created_at, 86_400)
    const done = await ended(client, batch)
    t.match(done, { status: 'completed', model: 'pilot', error_file_id: null, request_counts: { total: 20, completed: 20, failed: 0 } })
    t.match(done.usage, { input_tokens: 60, input_tokens_details: { cached_tokens: 20 }, output_tokens: 40, total_tokens: 100 })
    for (const moment of ['in_progress_at', 'finalizing_at', 'completed_at'] as const) t.type(done[moment], 'number', moment)
    const lines = await linesOf(client, done.output_file_id)
    t.strictSame(lines.map(({ custom_id: id }) => id), Array.from({ length: 20 }, (_, at) => `line-${at}`))
    t.match(lines[7], { id: /^batch_req_/, error: null, response: { status_code: 200, request_id: /^req_/, body: { object: 'chat.completion', choices: [{ message: { content: 'echo line-7' } }] } } })
    t.match(await client.files.retrieve(done.output_file_id!), { purpose: 'batch_output', filename: `${batch.id}_output.jsonl` })
    const records = await running.records(20)
    t.match(records[0], { tenant: 'keeps', endpoint: 'chat_completions', outcome: 'ok' }, 'each line is a call with its record')
    t.ok(echo.most <= 4, 'no more at once than batches.parallel')
  })

  await t.test('embeddings, completions and responses', async t => {
    const line = (url: string, body: object) => [{ custom_id: 'one', method: 'POST', url, body: { model: 'pilot', ...body } }]
    for (const [url, body, expected] of [
      ['/v1/embeddings', { input: 'four' }, { object: 'list', data: [{ embedding: [0.5, 4] }] }],
      ['/v1/completions', { prompt: 'go' }, { object: 'text_completion', choices: [{ text: 'echo go' }] }],
      ['/v1/responses', { input: 'hey' }, { object: 'response', status: 'completed', store: false, output: [{ type: 'message', content: [{ text: 'echo hey' }] }] }]
    ] as const) {
      const done = await ended(client, await submit(client, line(url, body), url))
      t.match(await linesOf(client, done.output_file_id), [{ custom_id: 'one', response: { status_code: 200, body: expected } }], url)
    }
    const done = await ended(client, await submit(client, line('/v1/responses', { input: 'hey', store: true }), '/v1/responses'))
    t.match(await linesOf(client, done.error_file_id), [{ response: { status_code: 400, body: { error: { code: 'unsupported_value', param: 'store' } } } }])
  })

  await t.test('what a line asks wrongly stands in the error file, and the others are answered', async t => {
    const done = await ended(client, await submit(client, [chatLine('good'), { ...chatLine('bad'), body: { model: 'pilot', messages: [], temperature: 9 } }]))
    t.match(done, { status: 'completed', request_counts: { total: 2, completed: 1, failed: 1 } })
    t.match(await linesOf(client, done.output_file_id), [{ custom_id: 'good' }])
    t.match(await linesOf(client, done.error_file_id), [{ custom_id: 'bad', error: null, response: { status_code: 400, body: { error: { type: 'invalid_request_error', code: 'invalid_value' } } } }])
  })

  await t.test('models and prompts that begin alike come one after another', async t => {
    echo.asked.length = 0
    const one = await startGateway(t, yaml(echo.url).replace('parallel: 4', 'parallel: 1'))
    const alone = await one.client('keeps')
    await ended(alone, await submit(alone, [chatLine('1', 'b two'), chatLine('2', 'a one', 'other'), chatLine('3', 'a one'), chatLine('4', 'b one'), chatLine('5', 'a two')]))
    t.strictSame(echo.asked, ['a one', 'a one', 'a two', 'b one', 'b two'])
  })

  await t.test('they are listed page by page, latest first', async t => {
    const all = await client.batches.list({ limit: 100 })
    const seen: string[] = []
    for await (const { id } of client.batches.list({ limit: 2 })) seen.push(id)
    t.ok(seen.length >= 6)
    t.strictSame(seen, all.data.map(({ id }) => id))
    await t.rejects(Promise.resolve(client.batches.list({ limit: 101 })), { code: 'invalid_value', param: 'limit' })
  })
})

test('a batch whose lines are wrong fails as a whole, and says where', async t => {
  const { echo, running } = await started(t)
  const client = await running.client('keeps')
  const failure = async (...lines: (object | string)[]) => {
    const done = await ended(client, await submit(client, lines))
    t.match(done, { status: 'failed', output_file_id: null, error_file_id: null })
    t.type(done.failed_at, 'number')
    return done.errors!.data!
  }
  t.match(await failure(chatLine('a'), '', '{"custom_id": ', chatLine('a'), chatLine('b', 'x', 'nobody'), chatLine('c', 'x', 'pilot', { url: '/v1/embeddings' }),
    chatLine('d', 'x', 'pilot', { method: 'GET' }), { ...chatLine('e'), body: { messages: [] } }, { ...chatLine('f'), body: { model: 'pilot', stream: true } }, '[1]', { method: 'POST' }), [
    { code: 'invalid_json_line', line: 3 },
    { code: 'duplicate_custom_id', line: 4, param: 'custom_id' },
    { code: 'model_not_found', line: 5, param: 'body.model' },
    { code: 'invalid_url', line: 6, param: 'url' },
    { code: 'invalid_value', line: 7, param: 'method' },
    { code: 'missing_required_parameter', line: 8, param: 'body.model' },
    { code: 'invalid_value', line: 9, param: 'body.stream' },
    { code: 'invalid_json_line', line: 10 },
    { code: 'missing_required_parameter', line: 11, param: 'custom_id' }
  ])
  t.match(await failure(' \r\n'), [{ code: 'empty_file', line: null }])
  t.match(await failure(...Array.from({ length: 51 }, (_, at) => chatLine(`${at}`))), [{ code: 'too_many_tasks' }])
  t.strictSame(echo.asked, [], 'nobody was asked')
})

test('what cannot be a batch is refused by name', async t => {
  const { echo, running } = await started(t)
  const [keeps, also, never] = await Promise.all(['keeps', 'also', 'never'].map(name => running.client(name)))
  const file = await keeps!.files.create({ file: await toFile(Buffer.from(jsonl([chatLine('a')])), 'in.jsonl'), purpose: 'batch' })
  const create = (more: object, client = keeps!) => Promise.resolve(client.batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h', ...more }))
  await t.rejects(create({ endpoint: '/v1/images/edits' }), { status: 400, code: 'invalid_value', param: 'endpoint' })
  await t.rejects(create({ completion_window: '1h' }), { status: 400, code: 'invalid_value', param: 'completion_window' })
  await t.rejects(create({ metadata: { a: 1 } }), { status: 400, code: 'invalid_type', param: 'metadata.a' })
  await t.rejects(create({ colour: 'red' }), { status: 400, code: 'unsupported_parameter', param: 'colour' })
  await t.rejects(create({ input_file_id: 'file-none' }), { status: 404, code: 'file_not_found', param: 'input_file_id' })
  await t.rejects(create({ output_expires_after: { anchor: 'created_at', seconds: 1 } }), { status: 400, code: 'invalid_value', param: 'output_expires_after.seconds' })
  await t.rejects(create({}, also!), { status: 404, code: 'file_not_found' }, 'a file of another tenant')
  await t.rejects(create({}, never!), { status: 403, code: 'files_not_kept' })
  const data = await keeps!.files.create({ file: await toFile(Buffer.from('x'), 'x'), purpose: 'user_data' })
  await t.rejects(create({ input_file_id: data.id }), { status: 400, code: 'invalid_value', param: 'input_file_id' })

  echo.delayMs = 300
  const batches = [await create({}), await create({}), await create({})]
  await t.rejects(create({}), { status: 429, code: 'too_many_batches' })
  await t.rejects(Promise.resolve(keeps!.files.delete(file.id)), { status: 409, code: 'file_in_use', param: 'file_id' })
  for (const method of ['retrieve', 'cancel'] as const) await t.rejects(Promise.resolve(also!.batches[method](batches[0]!.id)), { status: 404, code: 'batch_not_found' })
  t.strictSame((await also!.batches.list()).data, [])
  for (const batch of batches) t.equal((await ended(keeps!, batch)).status, 'completed')
  await t.rejects(Promise.resolve(keeps!.batches.cancel(batches[0]!.id)), { status: 409, code: 'batch_not_cancellable' })
  t.match(await keeps!.files.delete(file.id), { deleted: true })
})

test('a cancelled batch keeps what was answered, and starts nothing more', async t => {
  const { echo, running } = await started(t)
  const client = await running.client('keeps')
  echo.delayMs = 100
  const batch = await submit(client, Array.from({ length: 40 }, (_, at) => chatLine(`line-${at}`)))
  await eventually(() => echo.asked.length >= 6)
  t.match(await client.batches.cancel(batch.id), { status: 'cancelling' })
  const done = await ended(client, batch)
  const asked = echo.asked.length
  t.match(done, { status: 'cancelled', request_counts: { total: 40, completed: asked, failed: 40 - asked } })
  t.type(done.cancelled_at, 'number')
  t.ok(asked < 40)
  const [output, errors] = [await linesOf(client, done.output_file_id), await linesOf(client, done.error_file_id)]
  t.equal(output.length, asked)
  t.match(errors[0], { response: null, error: { code: 'batch_cancelled' } })
  t.equal(new Set([...output, ...errors].map(({ custom_id: id }) => id)).size, 40, 'every line stands in one of them')
})

test('what has no answer when the window ends has expired', async t => {
  const { echo, running } = await started(t)
  const client = await running.client('keeps')
  echo.delayMs = 100
  const batch = await submit(client, Array.from({ length: 40 }, (_, at) => chatLine(`line-${at}`)))
  await eventually(() => echo.asked.length >= 6)
  const db = new DatabaseSync(join(running.folder, 'data', 'torchgate.db'), { timeout: 1000 })
  db.prepare('UPDATE batches SET expires_at = ?').run(Date.now())
  db.close()
  const done = await ended(client, batch)
  t.match(done, { status: 'expired', request_counts: { total: 40 } })
  t.type(done.expired_at, 'number')
  const errors = await linesOf(client, done.error_file_id)
  t.match(errors[0], { response: null, error: { code: 'batch_expired' } })
  t.equal(errors.length + (await linesOf(client, done.output_file_id)).length, 40)
})

test('lines wait for the limits of their tenant, and are tried again when a backend fails', async t => {
  const { echo, running } = await started(t)
  const client = await running.client('slow')
  const done = await ended(client, await submit(client, Array.from({ length: 6 }, (_, at) => chatLine(`line-${at}`))))
  t.match(done, { status: 'completed', request_counts: { completed: 6, failed: 0 } })
  t.equal(echo.most, 1, 'the concurrency of the tenant holds')

  const seen = new Map<string, number>()
  echo.refuse = text => {
    seen.set(text, (seen.get(text) ?? 0) + 1)
    return text === 'never' || (text === 'second' && seen.get(text) === 1) ? 500 : 0
  }
  const keeps = await running.client('keeps')
  const other = await ended(keeps, await submit(keeps, [chatLine('a', 'second'), chatLine('b', 'never'), chatLine('c', 'fine')]))
  t.match(other, { status: 'completed', request_counts: { completed: 2, failed: 1 } })
  t.match(await linesOf(keeps, other.error_file_id), [{ custom_id: 'b', response: { status_code: 502, body: { error: { code: 'backend_failed' } } } }])
  t.same(Object.fromEntries(seen), { second: 2, never: 2, fine: 1 })
})

test('a batch leaves a part of the limits of its tenant to calls that somebody waits for', async t => {
  const { echo, running } = await started(t)
  const client = await running.client('busy')
  const batch = await submit(client, Array.from({ length: 45 }, (_, at) => chatLine(`line-${at}`)))
  await eventually(() => echo.asked.length >= 30)
  await client.chat.completions.create({ model: 'pilot', messages: [{ role: 'user', content: 'me' }] })
  await client.chat.completions.create({ model: 'pilot', messages: [{ role: 'user', content: 'and me' }] })
  t.ok(echo.asked.length <= 40, `${echo.asked.length} of forty a minute`)
  t.match(await client.batches.retrieve(batch.id), { status: 'in_progress', request_counts: { failed: 0 } })
})

test('a gateway that is closed gives back what it was at', async t => {
  const { echo, running } = await started(t)
  const client = await running.client('keeps')
  echo.delayMs = 3000
  await submit(client, Array.from({ length: 20 }, (_, at) => chatLine(`line-${at}`)))
  t.ok(await eventually(() => echo.asked.length === 4))
  await running.gateway.close(AbortSignal.abort())
  const db = new DatabaseSync(join(running.folder, 'data', 'torchgate.db'))
  t.teardown(() => { db.close() })
  t.strictSame({ ...db.prepare('SELECT state, sum(tries) AS tries, count(*) AS count FROM batch_lines GROUP BY state').get() }, { state: 'pending', tries: 0, count: 20 })
  t.match(db.prepare('SELECT status FROM batches').get(), { status: 'in_progress' })
})

test('what was said of a file, or of a batch, holds for every line', async t => {
  const echo = await startEcho(t)
  const running = await startGateway(t, yaml(echo.url).replace('locality: local', 'locality: domain'))
  const client = await running.client('keeps')
  const secret = { headers: { 'x-torchgate-class': 'restricted' } }
  for (const [ofFile, ofBatch] of [[secret, {}], [{}, secret]]) {
    const file = await client.files.create({ file: await toFile(Buffer.from(jsonl([chatLine('a')])), 'in.jsonl'), purpose: 'batch' }, ofFile)
    const batch = await client.batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' }, ofBatch)
    const done = await ended(client, batch)
    t.match(await linesOf(client, done.error_file_id), [{ response: { body: { error: { code: 'no_eligible_target' } } } }])
  }
  t.strictSame(echo.asked, [], 'nothing left')
  t.match(await ended(client, await submit(client, [chatLine('a')])), { request_counts: { completed: 1 } })
})

test('the lines of a key that was revoked are refused', async t => {
  const { echo, running } = await started(t)
  const client = await running.client('keeps')
  echo.delayMs = 50
  const batch = await submit(client, Array.from({ length: 20 }, (_, at) => chatLine(`line-${at}`)))
  await eventually(() => echo.asked.length >= 4)
  const db = new DatabaseSync(join(running.folder, 'data', 'torchgate.db'), { timeout: 1000 })
  db.prepare('UPDATE keys SET revoked_at = ? WHERE id = (SELECT key_id FROM batches)').run(Date.now())
  db.close()
  const other = await running.client('keeps')
  const done = await ended(other, batch)
  t.equal(done.status, 'completed')
  t.ok(echo.asked.length < 20)
  t.match((await linesOf(other, done.error_file_id))[0], { response: { status_code: 401, body: { error: { code: 'invalid_api_key' } } } })
})
