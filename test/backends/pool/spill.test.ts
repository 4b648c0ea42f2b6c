/** What workers have computed of prompts outlives them, where that is configured, and isolated workers, too. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { createPool, type Pool } from '../../../src/backends/pool/pool.ts'
import type { PoolConfig } from '../../../src/config/schema.ts'
import { BUILTIN_MODEL } from '../../../src/models/builtin.ts'
import type { BodyAnswer } from '../../../src/wire/answer.ts'
import { configOf, NOBODY } from './parts.ts'

function open (t: Test, folder: string, isolation: PoolConfig['isolation']): Pool {
  const models = [{ path: BUILTIN_MODEL.path, slots: 1, contextTokens: 1024, spill: { folder, bytes: 100_000_000 } }]
  const pool = createPool({ ...configOf({ models, queue: { timeoutMs: 60_000 }, timeouts: { loadMs: 60_000 } }), isolation }, { observer: NOBODY })
  t.teardown(() => pool.close(AbortSignal.abort()))
  return pool
}

const prompt = (seed: number): number[] => Array.from({ length: 500 }, (_, at) => 3 + (seed * 7919 + at * 104_729 + at * at * 31) % 2000)

async function ask (pool: Pool, seed: number, isolation = 'acme'): Promise<number> {
  const options = { signal: AbortSignal.timeout(60_000), boundary: 'local' as const, callId: 'call-1', isolation }
  const { value } = await pool.complete!({ model: 'm', prompt: prompt(seed), max_tokens: 2, temperature: 0 }, options) as BodyAnswer
  return (value as { usage: { prompt_tokens_details: { cached_tokens: number } } }).usage.prompt_tokens_details.cached_tokens
}

test('a prompt that was read before its worker ended is not read again, whatever workers may not do', { timeout: 120_000 }, async t => {
  const folder = join(t.testdir(), 'made', 'here')
  const first = open(t, folder, 'auto')
  t.strictSame([await ask(first, 1), await ask(first, 2), await ask(first, 1)], [0, 0, 499])
  await first.close()
  t.ok(readdirSync(folder).length > 0)
  const second = open(t, folder, 'auto')
  t.strictSame([await ask(second, 2), await ask(second, 1), await ask(second, 1, 'other')], [499, 499, 0])
})
