/** The conformance run itself: it finds what the page says of this gateway, and finds fault with a server that has any. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { CHECKS } from './checks/all.ts'
import { prove, proveAll, type Check } from './check.ts'
import { local, upstream } from './rigs.ts'
import { Server } from './server.ts'

const PAGE = readFileSync(join(import.meta.dirname, '../../docs/conformance.md'), 'utf8')
const ROWS = new Map(PAGE.split('\n').map(line => line.split(' | ')).filter(cells => cells.length === 5).map(([name, level, says, ours, theirs]) => [name!.slice(2), { level, says, local: ours!, upstream: theirs!.replace(/ \|$/, '') }]))

/** Of each part a little: the whole of it takes a model half a minute. */
const SHORT = /^(?:chat\.(?:nulls|stop|n|logprobs)|stream\.(?:order|same|stop)|tools\.(?:named|stream)|structured\.cut|errors\.(?!schema)|embeddings\.base64|responses\.(?:shape|events)|messages\.(?:stream|stop))/

async function agrees (t: Test, server: Server, column: 'local' | 'upstream', checks: readonly Check[]): Promise<void> {
  for await (const { name, verdict, found } of prove(checks, server)) t.equal(verdict, ROWS.get(name)?.[column], `${name} ${found}`)
}

test('the page has every line', async t => {
  t.strictSame(CHECKS.map(({ name, level, says }) => ({ name, level, says })), CHECKS.map(({ name }) => ({ name, level: ROWS.get(name)?.level, says: ROWS.get(name)?.says?.replaceAll('\\|', '|') })))
  t.equal(new Set(CHECKS.map(({ name }) => name)).size, CHECKS.length)
})

test('in front of a provider the gateway keeps what the page says', { timeout: 60_000 }, async t => { await agrees(t, await upstream(t), 'upstream', CHECKS) })

test('with its own model too, as far as a short run tells', { timeout: 60_000 }, async t => { await agrees(t, await local(t), 'local', CHECKS.filter(({ name }) => SHORT.test(name))) })

/** A server that always says the same. */
async function constant (t: Test, status: number, body: string): Promise<Server> {
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(status, { 'content-type': 'application/json' }).end(body)
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => { server.close(); server.closeAllConnections() })
  return new Server({ baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/`, key: 'k', model: 'm', embeddingModel: 'm', timeoutMs: 5000 })
}

const namesOf = async (server: Server, wanted: string) => (await proveAll(CHECKS, server)).filter(({ verdict }) => verdict === wanted).map(({ name }) => name)

test('a server that says yes to everything keeps next to nothing', async t => {
  t.strictSame(await namesOf(await constant(t, 200, '{}'), 'pass'), ['errors.hostile'])
})

test('a server of one answer keeps only what that answer does', async t => {
  const answer = { id: 'x', object: 'chat.completion', created: Math.floor(Date.now() / 1000), model: 'm', choices: [{ index: 0, message: { role: 'assistant', content: 'Hello there.' }, finish_reason: 'stop' }], usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } }
  t.strictSame(await namesOf(await constant(t, 200, JSON.stringify(answer)), 'pass'), [
    'chat.shape', 'chat.usage', 'chat.max-clamped', 'chat.repeats', 'chat.seed', 'chat.roles', 'chat.nulls', 'chat.unknown-members', 'tools.none', 'errors.hostile', 'wire.query'
  ])
})

test('what a server says it does not serve is no fault of it', async t => {
  const refusal = { error: { message: 'Not here.', type: 'invalid_request_error', param: 'n', code: 'unsupported_parameter' } }
  const refusing = await constant(t, 400, JSON.stringify(refusal))
  const notServed = await namesOf(refusing, 'not served')
  for (const name of ['chat.n', 'stream.n', 'embeddings.shape', 'responses.text', 'messages.text']) t.ok(notServed.includes(name), name)
})

test('the exit code tells', { timeout: 60_000 }, async t => {
  const { target } = await constant(t, 200, '{"object":"list","data":[{"id":"m","object":"model","created":1,"owned_by":"o"}]}')
  const run = (...args: string[]) => new Promise<{ code: unknown, said: string }>(resolve => {
    execFile(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], (error, stdout, stderr) => { resolve({ code: error?.code ?? 0, said: stdout + stderr }) })
  })
  const [kept, broken, unsaid, silent] = await Promise.all([
    run('--base-url', target.baseUrl, '--only', 'models.list'),
    run('--base-url', target.baseUrl, '--only', 'models.'),
    run('--only', 'models.'),
    run('--base-url', 'http://127.0.0.1:1/v1')
  ])
  t.match(kept, { code: 0, said: `m at ${target.baseUrl}: 1 pass, 0 fail, 0 not served` })
  t.match(broken, { code: 1, said: 'models.unknown' })
  t.match(unsaid, { code: 2, said: '--base-url' })
  t.match(silent, { code: 2, said: 'cannot be asked' })
})
