/** The bench of local models measures whatever speaks the OpenAI API, and says why where there is nothing to measure. */
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { test } from 'tap'
import { Agent } from 'undici'
import { startProvider } from '../gateway/provider.ts'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { startOther, type Setup } from './contenders.ts'
import { cell } from './timed.ts'

const SETUP: Setup = { model: BUILTIN_MODEL.path, slots: 2, contextTokens: 512, threads: 1, gpu: false }

/** Takes what llama-server takes, notes it, is not ready at once, and answers with two words. */
const LLAMA_SERVER = `#!${process.execPath}
const { createServer } = require('node:http')
const { writeFileSync } = require('node:fs')
const given = process.argv.slice(2)
writeFileSync(__filename + '.json', JSON.stringify({ pid: process.pid, given }))
const readyMs = Date.now() + 300
createServer((request, response) => {
  if (request.url === '/health') return response.writeHead(Date.now() < readyMs ? 503 : 200).end()
  const event = data => 'data: ' + JSON.stringify(data) + '\\n\\n'
  const word = content => event({ choices: [{ index: 0, delta: { content } }] })
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.end(word('') + word('one ') + word('two') + event({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 2 } }) + 'data: [DONE]\\n\\n')
}).listen(Number(given[given.indexOf('--port') + 1]), '127.0.0.1')
`

test('both sides stand in one table, and llama-server is given the same file, threads, slots and context', { timeout: 90_000 }, async t => {
  const program = join(t.testdir(), 'llama-server.cjs')
  writeFileSync(program, LLAMA_SERVER, { mode: 0o755 })
  const { stdout } = await promisify(execFile)(process.execPath, ['test/bench/local.ts'], {
    env: { ...process.env, LLAMA_SERVER: program, OTHER_URL: undefined, BENCH_AT_ONCE: '2', BENCH_ROUNDS: '1', BENCH_TOKENS: '4', BENCH_CONTEXT: '600' }
  })
  t.match(stdout, /^ +torchgate +llama-server +ratio +torchgate +llama-server$/m)
  for (const cellName of ['cold, 2 at once', 'shared prefix, 2 at once']) {
    t.match(stdout, new RegExp(`^${cellName} +[\\d.]+ +[\\d.]+ +[\\d.]+ +\\d+ \\(\\d+\\) +\\d+ \\(\\d+\\)$`, 'm'))
  }
  const { pid, given } = JSON.parse(readFileSync(`${program}.json`, 'utf8')) as { pid: number, given: string[] }
  const told = (name: string) => given[given.indexOf(name) + 1]
  t.match({ slots: told('--parallel'), context: told('--ctx-size'), threads: told('--threads'), gpu: told('--n-gpu-layers') }, { slots: '2', context: '1200', threads: '1', gpu: '0' })
  t.ok(told('--model')!.endsWith(BUILTIN_MODEL.path))
  t.throws(() => process.kill(pid, 0), { code: 'ESRCH' }, 'it is ended')
})

test('a server that runs already can stand on the other side', async t => {
  const provider = await startProvider(t)
  provider.behave = { do: 'answer', words: ['one ', 'two ', 'three'], gapMs: 10 }
  const other = await startOther({ OTHER_URL: `${provider.url}/`, OTHER_KEY: 'sk-1', OTHER_MODEL: 'm' }, SETUP, t.testdir())
  if (typeof other === 'string') throw new Error(other)
  const dispatcher = new Agent()
  t.teardown(() => dispatcher.close())
  const chat = { messages: [{ role: 'user', content: 'Hello' }], tokens: 9 }
  const { tokensPerS, firstMs } = await cell(other.server, [chat, chat, chat, chat], 2, dispatcher)
  t.ok(tokensPerS > 10 && tokensPerS < 600, `${tokensPerS.toFixed(0)} tokens/s: twelve in two turns of 30 ms or more`)
  t.equal(firstMs.length, 4)
  t.match(provider.seen.requests[0], { headers: { authorization: 'Bearer sk-1' }, body: { model: 'm', max_tokens: 9, temperature: 0, stream: true, stream_options: { include_usage: true } } })
  provider.behave = { do: 'break', after: 1 }
  await t.rejects(cell(other.server, [chat], 1, dispatcher), 'an answer that breaks off is no figure')
  provider.behave = { do: 'status', status: 503 }
  await t.rejects(cell(other.server, [chat], 1, dispatcher), { message: /answered 503/ })
})

test('without another side the reason is told', async t => {
  t.equal(await startOther({}, SETUP, t.testdir()), 'LLAMA_SERVER names no llama-server, and OTHER_URL no other server')
  t.match(await startOther({ LLAMA_SERVER: '/nowhere/llama-server' }, SETUP, t.testdir()), /^\/nowhere\/llama-server did not start: spawn .*ENOENT/)
  t.match(await startOther({ LLAMA_SERVER: '/bin/false' }, SETUP, t.testdir()), /^\/bin\/false did not start: /)
})
