/** What a call is billed does not depend on how its answer was asked for. */
import { test } from 'tap'
import { ask, pilotPool, readAll, startGateway } from './harness.ts'

test('a local answer costs the same streamed and whole: counted by the worker, not guessed, cached tokens too', { timeout: 60_000 }, async t => {
  const running = await startGateway(t, `
backends:${pilotPool(1)}
models: [{ name: pilot, targets: [{ backend: pool, model: pilot }] }]
tenants: [{ name: default }]
`)
  const client = await running.client('default')
  const question = ask('Count from 1 to 10')
  // The first one warms the prompt cache for the two that are compared.
  await client.chat.completions.create(question)
  const { usage } = await client.chat.completions.create(question)
  await readAll(await client.chat.completions.create({ ...question, stream: true }))

  const [, whole, streamed] = await running.records(3)
  t.match(whole, { outcome: 'ok', stream: false, usage_estimated: false })
  t.match(streamed, { outcome: 'ok', stream: true, usage_estimated: false })
  t.same(streamed!['usage'], whole!['usage'])
  t.match(whole!['usage'], { input_tokens: usage!.prompt_tokens, output_tokens: usage!.completion_tokens })
  t.ok((whole!['usage'] as { cached_input_tokens: number }).cached_input_tokens > 0, 'the prompt was cached')
})
