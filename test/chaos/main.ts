/**
 * npm run chaos: workers are killed, aborted and stopped 100 times under load, and 1,000 callers leave at every phase of their calls.
 * Prints how all of it ended; exit code 1 where something was lost, fell or was wrong. CHAOS_ROUNDS, CHAOS_CANCELS and CHAOS_SEED change it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Surroundings } from '../gateway/harness.ts'
import { seeded } from '../seeded.ts'
import { cancel, freeing, PHASES, startCancels, type CancelTally } from './cancels.ts'
import { kill, startKills, startSwaps, type KillTally, type Signal } from './kills.ts'

const ROUNDS = Number(process.env['CHAOS_ROUNDS'] ?? 100)
const CANCELS = Number(process.env['CHAOS_CANCELS'] ?? 1000)
const SEED = Number(process.env['CHAOS_SEED'] ?? 20261122)

console.log(`seed ${SEED}`)
for (const [title, start] of [['one model, two workers of three slots', startKills], ['two models that take turns in a memory for one', startSwaps]] as const) {
  await within(async surroundings => {
    const tally = await kill(await start(surroundings), ROUNDS, seeded(SEED))
    printKills(title, tally)
    if (Object.values(tally.endings).some(({ stopped, wrong }) => stopped + wrong > 0)) process.exitCode = 1
    if (tally.hung !== tally.signals.SIGSTOP) process.exitCode = 1
    judge(tally)
  })
}
await within(async surroundings => {
  const running = await startCancels(surroundings)
  const tally = await cancel(running, CANCELS, seeded(SEED))
  printCancels(tally)
  if (tally.wrong > 0) process.exitCode = 1
  judge(tally)
  const found = await freeing(running, 20)
  for (const phase of PHASES) {
    const sorted = found[phase].toSorted((a, b) => a - b)
    console.log(`freed after leaving in the ${phase.padEnd(7)} median ${sorted[10]!.toFixed(1)} ms, most ${sorted.at(-1)!.toFixed(1)} ms`)
  }
})

/** Runs with a folder and closes whatever was opened in it. */
async function within (run: (surroundings: Surroundings) => Promise<void>): Promise<void> {
  const closing: (() => unknown)[] = []
  const folder = mkdtempSync(join(tmpdir(), 'torchgate-chaos-'))
  try {
    await run({ testdir: () => folder, teardown: (close: () => unknown) => { closing.push(close) } } as Surroundings)
  } finally {
    for (const close of closing.toReversed()) await close()
    rmSync(folder, { recursive: true })
  }
}

function printKills (title: string, { endings, signals, told, crashes, hung, continued, counters }: KillTally): void {
  console.log(`\n${ROUNDS} rounds of six calls by six kinds of callers, ${title}`)
  console.log('meanwhile    signals   calls   whole   error event   false stop   wrong')
  for (const [signal, { whole, broken, stopped, wrong }] of Object.entries(endings)) {
    console.log([
      signal.padEnd(12), String(signals[signal as Signal]).padStart(8), String(whole + broken + stopped + wrong).padStart(8), String(whole).padStart(8),
      String(broken).padStart(14), String(stopped).padStart(13), String(wrong).padStart(8)
    ].join(''))
  }
  console.log(`told of an error: ${[...told].map(([name, times]) => `${name} ${times}`).join('; ')}`)
  console.log(`streams that went on at another worker ${continued}; workers that ended ${crashes}, that were found hung ${hung}; counters watched ${counters}`)
}

function printCancels ({ left, whole, wrong, unloads }: CancelTally): void {
  console.log(`\n${CANCELS} calls of twelve tenants left by their callers, two models in a memory for one, which was emptied ${unloads} times`)
  for (const phase of PHASES) console.log(`left in the ${phase.padEnd(8)}${String(left[phase]).padStart(6)}`)
  console.log(`over before they were left ${whole} whole, ${wrong} wrong`)
}

function judge ({ lost, fallen }: Pick<KillTally, 'lost' | 'fallen'>): void {
  console.log(`lost: ${lost.length === 0 ? 'nothing' : lost.join('; ')}. Counters that fell: ${fallen.length === 0 ? 'none' : fallen.join('; ')}.`)
  if (lost.length + fallen.length > 0) process.exitCode = 1
}
