/**
 * npm run bench:local: a local model under this gateway and under llama-server, in one run, in turn, with the same file, threads, slots and context.
 *
 *   LLAMA_SERVER=/path/to/llama-server BENCH_MODEL=file.gguf BENCH_THREADS=4 npm run bench:local
 *
 * OTHER_URL (up to `/v1`), OTHER_KEY and OTHER_MODEL name a server that runs already instead. Without either only this side is measured.
 * BENCH_GPU=1 computes on the GPU; BENCH_AT_ONCE (`1,4,8`), BENCH_ROUNDS, BENCH_TOKENS and BENCH_CONTEXT change the size.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { Agent } from 'undici'
import { BUILTIN_MODEL } from '../../src/models/builtin.ts'
import { startOther, startOurs, type Setup, type Side } from './contenders.ts'
import { cell, type Cell, type Chat, type Server } from './timed.ts'

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 3)
const TOKENS = Number(process.env['BENCH_TOKENS'] ?? 64)
const AT_ONCE = (process.env['BENCH_AT_ONCE'] ?? '1,4,8').split(',').map(Number)
/** Of each caller in a round. */
const CHATS = 3
/** Columns of the table. */
const [NAME, WIDTH, RATIO] = [26, 20, 8] as const

const setup: Setup = {
  model: process.env['BENCH_MODEL'] ?? BUILTIN_MODEL.path,
  slots: Math.max(...AT_ONCE),
  contextTokens: Number(process.env['BENCH_CONTEXT'] ?? 1024),
  threads: Number(process.env['BENCH_THREADS'] ?? 1),
  gpu: process.env['BENCH_GPU'] === '1'
}

const folder = mkdtempSync(join(tmpdir(), 'torchgate-bench-'))
const dispatcher = new Agent({ headersTimeout: 0, bodyTimeout: 0 })
const sides: Side[] = []
try {
  const ours = await startOurs(setup, folder)
  sides.push(ours)
  const other = await startOther(process.env, setup, folder)
  if (typeof other === 'string') console.log(`The other side was not run: ${other}.`)
  else sides.push(other)
  const { model, slots, contextTokens, threads, gpu } = setup
  console.log(`${basename(model)}, ${slots} slots of ${contextTokens} tokens, ${threads} threads, ${gpu ? 'GPU' : 'CPU'}; prompts of about 400 tokens, answers of at most ${TOKENS}. Medians of ${ROUNDS} rounds, sides in turn; in brackets the most.`)
  console.log(heading(sides.map(({ server }) => server.name)))
  const servers = sides.map(({ server }) => server)
  for (const kind of ['cold', 'shared prefix'] as const) {
    for (const atOnce of AT_ONCE) console.log(line(`${kind}, ${atOnce} at once`, await rounds(servers, kind, atOnce)))
  }
} finally {
  await Promise.all(sides.map(side => side.close()))
  await dispatcher.close()
  rmSync(folder, { recursive: true, force: true })
}

/** For each side, its cells. One round more goes before, for what is done once: shapes compiled, the shared prefix read. */
async function rounds (servers: readonly Server[], kind: 'cold' | 'shared prefix', atOnce: number): Promise<Cell[][]> {
  const found = servers.map((): Cell[] => [])
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [at, server] of servers.entries()) {
      const chats = Array.from({ length: round === 0 ? atOnce : atOnce * CHATS }, (_, number) => chatOf(kind, `${atOnce}.${round}.${number}`))
      const measured = await cell(server, chats, atOnce, dispatcher)
      if (round > 0) found[at]!.push(measured)
    }
  }
  return found
}

/** Cold prompts differ from their first word, the others in their last line. */
function chatOf (kind: 'cold' | 'shared prefix', name: string): Chat {
  const book = 'The river is wide and the boat is small. '.repeat(36)
  const content = kind === 'cold' ? `Note ${name}. ${book}` : book
  return { messages: [{ role: 'system', content }, { role: 'user', content: `Question ${name}: count from 1 to 40` }], tokens: TOKENS }
}

function heading (names: readonly string[]): string {
  const columns = names.map(name => name.padStart(WIDTH)).join('')
  const ratio = names.length > 1 ? 'ratio'.padStart(RATIO) : ''
  const over = (what: string) => what.padStart(WIDTH * names.length)
  return `${''.padEnd(NAME)}${over('tokens/s')}${''.padEnd(ratio.length)}${over('first token, ms')}\n${''.padEnd(NAME)}${columns}${ratio}${columns}`
}

function line (name: string, found: readonly (readonly Cell[])[]): string {
  const rates = found.map(cells => median(cells.map(({ tokensPerS }) => tokensPerS)))
  const firsts = found.map(cells => cells.flatMap(({ firstMs }) => firstMs))
  const [ours, theirs] = rates
  return [
    name.padEnd(NAME),
    ...rates.map(rate => rate.toFixed(1).padStart(WIDTH)),
    theirs === undefined ? '' : (ours! / theirs).toFixed(2).padStart(RATIO),
    ...firsts.map(times => `${median(times).toFixed(0)} (${Math.max(...times).toFixed(0)})`.padStart(WIDTH))
  ].join('')
}

function median (values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
