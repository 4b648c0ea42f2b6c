/** The prefix cache of networks that cannot go back: one with sliding windows, one with a state. */
import { join } from 'node:path'
import tap, { test } from 'tap'
import { workerOnPort } from './spawned.ts'
import { WINDOW, writeGemma, writeMamba } from './tiny.ts'

interface Logprobs { readonly tokens: readonly string[], readonly token_logprobs: readonly number[] }
interface Answer { readonly choices: readonly { readonly text: string, readonly logprobs: Logprobs }[], readonly usage: { readonly prompt_tokens_details: { readonly cached_tokens: number } } }

const folder = tap.testdir()
const NETWORKS = [['a sliding window', 'gemma.gguf', writeGemma], ['a recurrent state', 'mamba.gguf', writeMamba]] as const
for (const [, file, write] of NETWORKS) write(join(folder, file))
const open = async (file: string) => (await workerOnPort(tap, '--model', join(folder, file), '--name', 'm', '--slots', '2', '--context-tokens', '2048', '--batch-tokens', '128')).url

/** Of no repetition that would make a prefix longer than it is meant. */
const tokens = (seed: number, length: number): number[] => Array.from({ length }, (_, at) => 3 + (seed * 7919 + at * 104_729 + at * at * 31) % 256)

async function ask (url: string, prompt: readonly number[], isolation = 'a'): Promise<{ said: string, scores: readonly number[], cached: number }> {
  const body = JSON.stringify({ model: 'm', prompt, max_tokens: 12, temperature: 0, logprobs: 1 })
  const response = await fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json', 'x-torchgate-isolation': isolation }, body })
  if (response.status !== 200) throw new Error(await response.text())
  const { choices: [choice], usage } = await response.json() as Answer
  return { said: choice!.text, scores: choice!.logprobs.token_logprobs, cached: usage.prompt_tokens_details.cached_tokens }
}

/** A prompt in other pieces is rounded otherwise: by 0.001 at most. A window with holes is off by ten times as much. */
const ROUNDING = 0.003

for (const [what, file] of NETWORKS) {
  test(`with ${what}, prompts that begin alike share what was computed, and the answers are the same`, async t => {
    const url = await open(file)
    const system = tokens(1, 5 * WINDOW)
    const turn = (seed: number) => [...system, ...tokens(seed, 300)]
    const isCold = async (prompt: readonly number[], warm: Awaited<ReturnType<typeof ask>>) => {
      const cold = await ask(url, prompt, `alone-${prompt.length}`)
      t.equal(cold.cached, 0, 'another domain shares nothing')
      t.equal(warm.said, cold.said)
      const off = Math.max(...warm.scores.map((score, at) => Math.abs(score - cold.scores[at]!)))
      t.ok(off < ROUNDING, `off by ${off}`)
    }
    t.equal((await ask(url, turn(2))).cached, 0)
    t.equal((await ask(url, turn(3))).cached, 0, 'here it is seen what they share')
    const third = await ask(url, turn(4))
    t.equal(third.cached, system.length)
    const longer = await ask(url, [...turn(4), ...tokens(9, 100)])
    t.ok([619, 620].includes(longer.cached), `${longer.cached} of the turn before`)
    const back = await ask(url, [...turn(4).slice(0, 500), 7])
    t.equal(back.cached, system.length, 'to where it was marked')
    await isCold(turn(4), third)
    await isCold([...turn(4), ...tokens(9, 100)], longer)
    await isCold([...turn(4).slice(0, 500), 7], back)
  })
}
