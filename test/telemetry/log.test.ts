import { execFileSync } from 'node:child_process'
import { constants, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { createLog, type Log } from '../../src/telemetry/log.ts'
import type { CallRecord } from '../../src/usage/record.ts'
import { attemptOf, recordOf } from './record.ts'

const MARKER = 'MARKER-7f3a'

/** What `write` logs to a file, as it stands there after close. */
async function written (t: Test, write: (log: Log) => void, level: 'debug' | 'info' | 'silent' = 'debug'): Promise<string> {
  const destination = join(t.testdir(), 'log')
  const log = createLog({ level, destination })
  write(log)
  await log.close()
  return readFileSync(destination, 'utf8')
}

function linesOf (text: string): Record<string, unknown>[] {
  return text.trimEnd().split('\n').map(line => JSON.parse(line) as Record<string, unknown>)
}

test('a call is one JSON line with these members and no other', async t => {
  const failed = attemptOf({ target: 'gpu/qwen', error: 'worker_crashed' })
  const text = await written(t, log => log.access(recordOf({ attempts: [failed, attemptOf({ target: 'openai/gpt-4o', key: 'east' })], durationMs: 1045.678 })))
  const [line, ...more] = linesOf(text)
  t.equal(more.length, 0)
  t.match(line?.['time'], /^\d{4}-\d\d-\d\dT.*Z$/)
  t.strictSame({ ...line, time: '' }, {
    level: 'info',
    time: '',
    id: 'req_1',
    tenant: 'acme',
    key: 'key_1',
    model: 'chat',
    target: 'openai/gpt-4o',
    class: 'internal',
    outcome: 'ok',
    status: 200,
    error: null,
    attempts: 2,
    tried: ['gpu/qwen:worker_crashed', 'openai/gpt-4o#east:ok'],
    input_tokens: 100,
    output_tokens: 51,
    first_token_ms: 45,
    duration_ms: 1045.7,
    msg: 'call'
  })
})

test('the level says whose fault it was', async t => {
  const outcomes = ['ok', 'client_error', 'rate_limited', 'cancelled', 'upstream_error', 'timeout', 'overloaded', 'internal_error'] as const
  const text = await written(t, log => { for (const outcome of outcomes) log.access(recordOf({ outcome })) })
  t.same(linesOf(text).map(({ level }) => level), ['info', 'info', 'info', 'info', 'warn', 'warn', 'warn', 'error'])
  t.equal(await written(t, log => log.access(recordOf()), 'silent'), '')
})

test('a prompt reaches no line, whatever is done with it', async t => {
  const parseError = () => { try { return JSON.parse(`{"a": ${MARKER}`) as Error } catch (error) { return error as Error } }
  t.match(parseError().message, MARKER, 'V8 quotes the body')
  const failure = new GatewayError('internal_error', 'The gateway failed.', { cause: parseError() })
  const refusal = new GatewayError('rejected_by_backend', `Your prompt ${MARKER} is bad.`, { upstream: { status: 400, code: null } })
  const text = await written(t, ({ logger, access }) => {
    access({ ...recordOf(), messages: [MARKER], prompt: MARKER } as CallRecord)
    for (const level of ['debug', 'info', 'warn', 'error', 'fatal'] as const) {
      logger[level]({ prompt: MARKER, body: { messages: [{ content: MARKER }] }, id: { content: MARKER }, tried: [{ content: MARKER }] }, 'x')
    }
    logger.error({ err: parseError() })
    logger.error({ err: parseError() }, 'with a message')
    logger.error(parseError())
    logger.error(parseError(), 'with a message')
    logger.error({ err: failure }, 'failed')
    logger.error({ err: refusal }, 'refused')
    logger.error({ err: Object.assign(new Error(`${MARKER}\n    at ${MARKER} (file.js:1:1)`), { body: MARKER }) }, 'frames in the message')
    logger.error({ err: MARKER }, 'no error at all')
    logger.info('interpolated %s', MARKER)
    logger.info({ id: 'x' }, 'interpolated %s', MARKER)
  })
  t.equal(linesOf(text).length, 16)
  t.notMatch(text, MARKER)
  t.match(text, '"fields_left_out":4', 'what is left out is counted')
})

test('an error is told by its kind, code, places and causes; our own with their message', async t => {
  const cause = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })
  const text = await written(t, ({ logger }) => logger.error({ err: new GatewayError('internal_error', 'The ledger cannot be written.', { cause }), id: 'req_9' }, 'internal error'))
  const [line] = linesOf(text)
  t.equal(line?.['id'], 'req_9')
  t.match(line?.['err'], { type: 'GatewayError', code: 'internal_error', message: 'The ledger cannot be written.', cause: { type: 'Error', code: 'ECONNREFUSED' } })
  t.match(line?.['err'], { at: [/^at .*log\.test\.ts:\d+:\d+/] })
  const cycle: Error & { cause?: unknown } = new Error('a')
  cycle.cause = cycle
  t.equal(linesOf(await written(t, ({ logger }) => logger.error({ err: cycle }, 'cyclic'))).length, 1)
})

test('names from outside cannot forge a line, move the cursor or fill the disk', async t => {
  const hostile = `x\n{"level":"info","msg":"call","tenant":"forged"}\u001b[2J\u009b2J\u202egnp\u2028${'A'.repeat(1_000_000)}`
  const text = await written(t, ({ access, logger }) => {
    access(recordOf({ model: hostile, attempts: Array.from({ length: 1000 }, () => attemptOf({ target: hostile })) }))
    logger.info({ url: hostile }, hostile)
    logger.info(hostile)
  })
  t.equal(linesOf(text).length, 3)
  t.notMatch(text.replaceAll('\n', ''), /[\p{Cc}\p{Zl}\u202e]/u)
  t.ok(text.length < 20_000, `${text.length} bytes`)
})

test('close writes everything that was logged before, and later lines are dropped quietly', async t => {
  let kept: Log | undefined
  const text = await written(t, log => {
    kept = log
    for (let n = 0; n < 5000; n++) log.access(recordOf({ id: `req_${n}` }))
  })
  t.equal(linesOf(text).at(-1)?.['id'], 'req_4999')
  t.equal(linesOf(text).length, 5000)
  t.doesNotThrow(() => kept?.access(recordOf()))
  await kept?.close()
})

test('a log that nobody reads costs bounded memory, holds up nobody, and says how much was lost', async t => {
  const path = join(t.testdir(), 'pipe')
  execFileSync('mkfifo', [path])
  // Open at both ends and not blocking: a full pipe then answers EAGAIN as a slow reader's does.
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  const log = createLog({ level: 'info', destination: fd, maxWaitingBytes: 200_000 })
  const line = recordOf({ attempts: Array.from({ length: 30 }, () => attemptOf({ target: 'x'.repeat(200) })) })
  for (let n = 0; n < 500; n++) log.access(line)

  const buffer = Buffer.alloc(65_536)
  let text = ''
  for (const until = performance.now() + 8000; performance.now() < until && !text.includes('"dropped":');) {
    try { text += buffer.toString('utf8', 0, readSync(fd, buffer)) } catch { await delay(5) }
  }
  await log.close()
  const lines = linesOf(text)
  const report = lines.find(({ dropped }) => dropped !== undefined)
  t.ok(Number(report?.['dropped']) > 400)
  t.equal(report?.['level'], 'warn')
})

test('a log that cannot be written says so once on standard error and stops nobody', async t => {
  const said = t.capture(process.stderr, 'write')
  const log = createLog({ level: 'info', destination: '/dev/full' })
  for (let n = 0; n < 3; n++) {
    log.access(recordOf())
    await delay(20)
  }
  await log.close()
  t.same(said().map(({ args }) => String(args[0])), ['torchgate: the log cannot be written: ENOSPC\n'])
})
