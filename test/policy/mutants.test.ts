/** The tests of the policy can fail: each small wrong turn in it makes them do so. */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { test } from 'tap'

const run = promisify(execFile)

const MUTANTS: ReadonlyArray<readonly [file: string, from: string, to: string]> = [
  ['boundary.ts', 'DISTANCE[place] <= DISTANCE[boundary]', 'DISTANCE[place] < DISTANCE[boundary]'],
  ['boundary.ts', 'DISTANCE[place] <= DISTANCE[boundary]', 'true'],
  ['boundary.ts', 'domain: 1, cloud: 2', 'domain: 2, cloud: 1'],
  ['boundary.ts', 'DISTANCE[a] <= DISTANCE[b] ? a : b', 'DISTANCE[a] <= DISTANCE[b] ? b : a'],
  ['boundary.ts', 'nearer(tenant, boundaries[dataClass])', 'tenant'],
  ['boundary.ts', 'nearer(tenant, boundaries[dataClass])', 'boundaries[dataClass]'],
  ['classify.ts', 'rank > RANK.get(floor)! ?', 'rank < RANK.get(floor)! ?'],
  ['classify.ts', 'rank > RANK.get(floor)! ?', 'rank >= 0 ?'],
  ['classify.ts', 'if (rank === undefined) {', 'if (rank === undefined) return floor\n  if (rank === undefined) {'],
  ['decide.ts', "if (!isWithin(boundary, candidate.locality)) return 'data_class'", ''],
  ['decide.ts', "if (candidate.state === 'down') return candidate.whyDown ?? 'unhealthy'", ''],
  ['decide.ts', "if (candidate.state === 'saturated') return 'no_capacity'", ''],
  ['decide.ts', 'readyFirst(a, b) || ordered', 'ordered'],
  ['order.ts', 'complexity.score > complexity.threshold', 'complexity.score < complexity.threshold'],
  ['order.ts', 'complexity.score > complexity.threshold', 'complexity.score >= complexity.threshold'],
  ['order.ts', '? farthest : nearest', '? nearest : farthest'],
  ['order.ts', '/ weight', '* weight'],
  ['order.ts', 'weight === 0 ? Infinity', 'weight === 0 ? 0'],
  ['order.ts', 'even(`${draw} ${target}`)', 'even(draw)'],
  ['order.ts', 'even(draw) < 1 / LOOKS_ROUND ? -1 : Infinity', 'Infinity'],
  ['order.ts', 'queued - freeSlots', 'queued'],
  ['order.ts', 'queued - freeSlots', '-freeSlots'],
  ['decide.ts', "score > threshold ? '>' : '<='", "'>'"],
  ['decide.ts', 'LATER[a.state] - LATER[b.state]', 'LATER[b.state] - LATER[a.state]'],
  ['decide.ts', 'weak: 1', 'weak: 0'],
  ['decide.ts', 'loading: 2', 'loading: 1'],
  ['order.ts', '(a, b) => byDistance(a.locality, b.locality)', '(a, b) => byDistance(b.locality, a.locality)'],
  ['decide.ts', 'else rejected.push({ candidate, reason })', ''],
  ['decide.ts', 'if (line.length + part.length > WHY_LIMIT)', 'if (false)']
]

/** Which tests must notice, by file. */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  'boundary.ts': ['boundary'], 'classify.ts': ['boundary'], 'decide.ts': ['decide'], 'order.ts': ['order', 'decide']
}

test('every mutant of the policy is caught', { timeout: 120_000 }, async t => {
  const root = t.testdir()
  const survivors: string[] = []
  const queue = MUTANTS.map((mutant, index) => ({ mutant, folder: join(root, String(index)) }))
  const drain = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      if (!await caught(next.folder, next.mutant)) survivors.push(next.mutant.join(' | '))
    }
  }
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, drain))
  t.same(survivors, [])
})

test('the unchanged policy passes the same way, so a mutant is not caught by accident', { timeout: 60_000 }, async t => {
  t.notOk(await caught(t.testdir(), ['decide.ts', 'export', 'export']))
})

async function caught (folder: string, [file, from, to]: (typeof MUTANTS)[number]): Promise<boolean> {
  for (const part of ['src/policy', 'src/config', 'src/errors.ts', 'test/policy/boundary.test.ts', 'test/policy/decide.test.ts', 'test/policy/order.test.ts', 'package.json']) {
    mkdirSync(join(folder, part, '..'), { recursive: true })
    cpSync(part, join(folder, part), { recursive: true })
  }
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'))
  const path = join(folder, 'src/policy', file)
  const text = readFileSync(path, 'utf8')
  if (!text.includes(from)) throw new Error(`${file} no longer contains: ${from}`)
  writeFileSync(path, text.replace(from, to))
  try {
    for (const name of TESTS[file]!) await run(process.execPath, [`test/policy/${name}.test.ts`], { cwd: folder, timeout: 60_000 })
    return false
  } catch (error) {
    // A run that was cut off, or did not start, has found nothing.
    if ((error as { code?: unknown }).code !== 1) throw error
    return true
  }
}
