import { test } from 'tap'
import { toFile } from 'openai'
import { ask, eventually, pilotPool, startGateway } from './harness.ts'

const yaml = `
backends:${pilotPool(1)}
models:
  - { name: pilot, targets: [{ backend: pool, model: pilot }] }
tenants:
  - { name: keeps, storeFiles: true }
batches: { parallel: 4 }
`

test('a local model answers who waits before it goes on with a batch', async t => {
  const running = await startGateway(t, yaml)
  const client = await running.client('keeps')
  const lines = Array.from({ length: 12 }, (_, at) => JSON.stringify({
    custom_id: `${at}`, method: 'POST', url: '/v1/chat/completions', body: { ...ask('Count from 1 to 20'), max_completion_tokens: 30 }
  }))
  const file = await client.files.create({ file: await toFile(Buffer.from(lines.join('\n')), 'in.jsonl'), purpose: 'batch' })
  const { id } = await client.batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' })
  const batch = () => client.batches.retrieve(id)
  await eventually(async () => (await batch()).request_counts!.completed >= 1)
  const answered = (await batch()).request_counts!.completed
  for (let call = 0; call < 3; call++) await client.chat.completions.create({ ...ask('Hello'), max_completion_tokens: 5 })
  const meanwhile = (await batch()).request_counts!.completed - answered
  t.ok(meanwhile <= 6, `${meanwhile} lines were answered meanwhile: no more than were under way, one for each call`)
  t.ok(await eventually(async () => (await batch()).status === 'completed', 30_000))
  t.match(await batch(), { request_counts: { total: 12, completed: 12, failed: 0 } })
})
