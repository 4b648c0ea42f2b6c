import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import tap, { test } from 'tap'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { chat, events, MAIN, PILOT, spawnedWorker, user, workerOnPort } from './spawned.ts'

const folder = mkdtempSync(join(tmpdir(), 'tg-'))
tap.teardown(() => { rmSync(folder, { recursive: true }) })
const small = (socket: string): string[] => [...PILOT, '--slots', '1', '--context-tokens', '512', '--socket', socket]

function isAlive (pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function until (isTrue: () => boolean, ms = 5000): Promise<boolean> {
  for (let waited = 0; waited < ms && !isTrue(); waited += 20) await sleep(20)
  return isTrue()
}

async function get (socketPath: string, path: string): Promise<{ status: number | undefined, body: string }> {
  const call = request({ socketPath, path }).end()
  const [response] = await once(call, 'response')
  return { status: response.statusCode, body: await text(response) }
}

test('a spawned worker tells its progress and that it is ready, and listens where nobody else may', async t => {
  const socket = join(folder, 'a.sock')
  const { child, messages } = await spawnedWorker(t, [...small(socket), '--sha256', BUILTIN_MODEL.sha256])
  t.match(messages.at(-1), { kind: 'ready', contextTokens: 512, slots: 1 })
  const { memoryBytes } = messages.at(-1) as { memoryBytes: number }
  t.ok(memoryBytes > 50e6 && memoryBytes < 500e6, `${memoryBytes} bytes`)
  const fractions = messages.slice(0, -1).map(message => message.kind === 'loading' ? message.fraction : NaN)
  t.ok(fractions.length > 1 && fractions.every((fraction, i) => fraction >= 0 && fraction <= 1 && fraction > (fractions[i - 1] ?? -1)))
  t.equal(statSync(socket).mode & 0o777, 0o600)
  t.match(await get(socket, '/health'), { status: 200, body: '{"status":"ok"}' })

  child.kill('SIGINT')
  await sleep(200)
  t.equal((await get(socket, '/health')).status, 200, 'Ctrl-C is the pool\'s to decide about')

  child.kill('SIGTERM')
  const [code] = await once(child, 'exit')
  t.equal(code, 0)
  t.notOk(existsSync(socket), 'the socket is removed')
})

test('a file that is no whole model, or another model, is refused before it is loaded', async t => {
  const damaged = join(folder, 'damaged.gguf')
  writeFileSync(damaged, readFileSync(BUILTIN_MODEL.path).subarray(0, 4_000_000))
  const garbage = join(folder, 'garbage.gguf')
  writeFileSync(garbage, 'not a model, not a model, not a model')
  const cases: [string[], RegExp][] = [
    [['--model', damaged], /damaged\.gguf: cut short/],
    [['--model', garbage], /garbage\.gguf: not a GGUF file/],
    [['--model', join(folder, 'nobody.gguf')], /ENOENT.*nobody\.gguf/],
    [['--model', BUILTIN_MODEL.path, '--sha256', '0'.repeat(64)], new RegExp(`expected sha256 0{64}, but the file has ${BUILTIN_MODEL.sha256}`)]
  ]
  await Promise.all(cases.map(async ([args, expected]) => {
    const { messages, child } = await spawnedWorker(t, [...args, '--socket', join(folder, 'never.sock')])
    t.match(messages.at(-1), { kind: 'failed', message: expected })
    await until(() => child.exitCode !== null)
    t.equal(child.exitCode, 70)
  }))
})

test('a GPU that is not there is said to be not there, not replaced by the CPU', { skip: existsSync('/dev/nvidiactl') && 'there is one' }, async t => {
  const { messages } = await spawnedWorker(t, [...small(join(folder, 'gpu.sock')), '--gpu', 'cuda'])
  t.match(messages.at(-1), { kind: 'failed' })
})

test('wrong arguments are named, with what would be right', async t => {
  const cases: [string[], RegExp][] = [
    [['--port', '0'], /--model is missing/],
    [[...PILOT], /either --socket or --port/],
    [[...PILOT, '--port', '0', '--slots', 'many'], /--slots many: expected a whole number from 1 to 256/],
    [[...PILOT, '--port', '0', '--gpu', 'abacus'], /--gpu abacus: expected one of auto, cuda/]
  ]
  await Promise.all(cases.map(async ([args, expected]) => {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
    const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
    t.match(said, expected)
    t.equal(code, 64)
  }))
})

test('a worker ends when its parent is killed, whatever it is doing', async t => {
  const socket = join(folder, 'orphan.sock')
  const parent = spawn(process.execPath, ['--input-type=module', '-e', `
    import { spawn } from 'node:child_process'
    const child = spawn(process.execPath, ${JSON.stringify([MAIN, ...small(socket)])}, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
    child.on('message', message => { if (message.kind === 'ready') console.log(child.pid) })
  `], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(createInterface({ input: parent.stdout }), 'line') as [string]
  const pid = Number(line)
  t.teardown(() => { if (isAlive(pid)) process.kill(pid, 'SIGKILL') })
  t.ok(isAlive(pid))
  parent.kill('SIGKILL')
  t.ok(await until(() => !isAlive(pid)), 'the worker is gone')
  t.notOk(existsSync(socket))
})

test('SIGTERM lets an answer under way finish and takes no new one', async t => {
  const { url, child } = await workerOnPort(t, '--slots', '1')
  const exit = once(child, 'exit')
  const answer = await chat(url, { messages: user('Tell me a story about a fox'), stream: true, logit_bias: { 2043: -100, 2041: -100 }, max_tokens: 200 })
  child.kill('SIGTERM')
  await sleep(20)
  await t.rejects(chat(url, { messages: user('Hi') }), 'the port is closed')
  t.equal((await events(answer)).at(-1), '[DONE]')
  const start = performance.now()
  t.strictSame(await exit, [0, null])
  t.ok(performance.now() - start < 3000, 'the connection that the client keeps alive delays nothing')
})

test('a worker that replaces a killed one takes over its socket, but never that of a living one', async t => {
  const socket = join(folder, 'again.sock')
  const first = await spawnedWorker(t, small(socket))
  const second = await spawnedWorker(t, small(socket))
  t.match(second.messages.at(-1), { kind: 'failed', message: /another process listens on it/ })
  t.equal((await get(socket, '/health')).status, 200)
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')
  const third = await spawnedWorker(t, small(socket))
  t.match(third.messages.at(-1), { kind: 'ready' })
})

test('a path that is too long for a socket is refused in words', async t => {
  const { messages } = await spawnedWorker(t, small(join(folder, `${'x'.repeat(120)}.sock`)))
  t.match(messages.at(-1), { kind: 'failed', message: /bytes are too many for the path of a socket; at most \d+/ })
})
