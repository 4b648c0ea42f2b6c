/**
 * A batch outlives its gateway. The long run:
 * BATCH_LINES=10000 BATCH_KILLS=3 npx tap test/gateway/batch-survival.test.ts --timeout=600
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import OpenAI, { toFile } from 'openai'
import { test } from 'tap'
import { openFolder, start } from '../cli/command.ts'
import { startEcho } from './echo.ts'
import { eventually } from './harness.ts'

const LINES = Number(process.env['BATCH_LINES'] ?? 400)
const KILLS = Number(process.env['BATCH_KILLS'] ?? 1)
const PARALLEL = 16
const PATIENCE_MS = LINES * 50 + 20_000

const config = (url: string) => `
log: { level: silent }
backends:
  - { name: near, kind: openai, baseUrl: ${url}, locality: local }
models:
  - { name: pilot, targets: [{ backend: near, model: m }] }
  - { name: other, targets: [{ backend: near, model: o }] }
tenants:
  - { name: keeps, storeFiles: true }
batches: { parallel: ${PARALLEL}, leaseMs: 2000 }
`

test(`${LINES} requests of a batch are answered once each, though the gateway is killed ${KILLS} times`, { timeout: PATIENCE_MS * 2 }, async t => {
  const folder = openFolder(t)
  const echo = await startEcho(t)
  echo.delayMs = 5
  const file = join(folder, 'torchgate.yaml')
  writeFileSync(file, config(echo.url))
  const begin = () => start(t, folder, ['--config', file])
  let gateway = await begin()
  const apiKey = gateway.key
  const client = () => new OpenAI({ apiKey, baseURL: `${gateway.url}/v1`, maxRetries: 0 })

  const lines = Array.from({ length: LINES }, (_, at) => JSON.stringify({
    custom_id: `line-${at}`,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model: at % 2 === 0 ? 'pilot' : 'other', messages: [{ role: 'user', content: `question ${at}` }] }
  }))
  const input = await client().files.create({ file: await toFile(Buffer.from(lines.join('\n')), 'in.jsonl'), purpose: 'batch' })
  const { id } = await client().batches.create({ input_file_id: input.id, endpoint: '/v1/chat/completions', completion_window: '24h' })

  const startMs = performance.now()
  for (let kill = 1; kill <= KILLS; kill++) {
    t.ok(await eventually(() => echo.asked.length >= LINES * kill / (KILLS + 1), PATIENCE_MS), 'it is in the middle of the batch')
    gateway.command.kill('SIGKILL')
    t.match(await gateway.command.exit, { signal: 'SIGKILL' })
    gateway = await begin()
    t.match(await client().batches.retrieve(id), { status: 'in_progress', request_counts: { total: LINES } })
  }
  t.ok(await eventually(async () => (await client().batches.retrieve(id)).status === 'completed', PATIENCE_MS))
  const batch = await client().batches.retrieve(id)
  t.comment(`${Math.round(LINES / (performance.now() - startMs) * 1000)} lines/s, ${echo.asked.length - LINES} asked twice`)
  t.match(batch, { status: 'completed', error_file_id: null, request_counts: { total: LINES, completed: LINES, failed: 0 } })
  t.match(batch.usage, { total_tokens: LINES * 5 }, 'no answer counts twice')

  const output = (await (await client().files.content(batch.output_file_id!)).text()).trimEnd().split('\n').map(line => JSON.parse(line))
  t.strictSame(output.map(({ custom_id: customId }) => customId), lines.map((_, at) => `line-${at}`), 'each line once')
  t.ok(output.every(({ response }, at) => response.body.choices[0].message.content === `echo question ${at}`), 'with its own answer')
  const twice = echo.asked.length - new Set(echo.asked).size
  t.equal(new Set(echo.asked).size, LINES)
  t.ok(twice <= KILLS * PARALLEL, `only what was under way was asked again (${twice})`)
  gateway.command.kill('SIGTERM')
  t.match(await gateway.command.exit, { code: 0 })
})
