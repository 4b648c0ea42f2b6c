import { getEventListeners } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { energyAfter, readingsIn, watchDevices, type Devices } from '../../../src/backends/pool/devices.ts'
import { isAlive, until } from './parts.ts'

/** As nvidia-smi 570 prints them for this query; the third cannot tell its power and is in MIG mode. */
const PRINTED = `0, GPU-7f1c2d3e-0000-1111-2222-333344445555, 570.124.06, 1024, 143771, 37, 121.53, 41, NVIDIA H200
1, GPU-8a1c2d3e-0000-1111-2222-333344445555, 570.124.06, 0, 24576, 0, 18.20, 29, NVIDIA GeForce RTX 3090
2, GPU-9b1c2d3e-0000-1111-2222-333344445555, 570.124.06, 512, 81920, [N/A], [Not Supported], N/A, NVIDIA A100, 80GB
`

interface Fake { readonly folder: string, readonly env: NodeJS.ProcessEnv, print (script: string): void }

/** A program called nvidia-smi in a folder of its own, before the PATH of this host. */
function fake (t: Test, script: string): Fake {
  const folder = mkdtempSync(join(tmpdir(), 'smi-'))
  // What a killed script had begun may still be written.
  t.teardown(() => { rmSync(folder, { recursive: true, maxRetries: 5 }) })
  const print = (body: string): void => {
    writeFileSync(join(folder, 'nvidia-smi'), `#!/bin/sh\n${body}\n`)
    chmodSync(join(folder, 'nvidia-smi'), 0o755)
  }
  print(script)
  return { folder, env: { PATH: `${folder}:${process.env['PATH']}`, OPENAI_API_KEY: 'sk-canary' }, print }
}

const printing = (text: string): string => `cat <<'END'\n${text}END`

interface Watching { readonly devices: Devices, readonly lines: { readonly level: string, readonly problem?: string }[] }

function watch (t: Test, env: NodeJS.ProcessEnv, { pollMs = 20, timeoutMs = 5000 } = {}): Watching {
  const lines: Watching['lines'] = []
  const devices = watchDevices({ pollMs, timeoutMs, env, log: line => { lines.push(line) } })
  t.teardown(() => devices.close())
  return { devices, lines }
}

test('what nvidia-smi prints is told in base units, and what a GPU does not tell is left out', async t => {
  const { env, folder } = fake(t, `echo "$@" >> "$(dirname "$0")/asked"; env > "$(dirname "$0")/environment"\n${printing(PRINTED)}`)
  const { devices, lines } = watch(t, env)
  t.same(devices.status(), { gpus: [], problem: null }, 'nobody waits for it')
  await until(() => devices.status().gpus.length === 3, 'it has answered')
  t.match(devices.status(), {
    problem: null,
    gpus: [
      { gpu: 0, name: 'NVIDIA H200', driver: '570.124.06', uuid: /^GPU-7f1c/, memoryUsedBytes: 1024 * 1_048_576, memoryTotalBytes: 143_771 * 1_048_576, utilization: 0.37, powerWatts: 121.53, temperatureCelsius: 41 },
      { gpu: 1, utilization: 0 },
      { gpu: 2, name: 'NVIDIA A100, 80GB', memoryUsedBytes: 512 * 1_048_576, utilization: null, powerWatts: null, temperatureCelsius: null }
    ]
  })
  await until(() => devices.status().gpus[0]!.energyJoules > 0, 'energy adds up')
  t.equal(devices.status().gpus[2]!.energyJoules, 0)
  t.match(readFileSync(join(folder, 'asked'), 'utf8').split('\n')[0], /^--query-gpu=index,uuid,\S+ --format=csv,noheader,nounits$/)
  t.notMatch(readFileSync(join(folder, 'environment'), 'utf8'), 'canary')
  t.same(lines, [], 'there is nothing to say while all is well')
})

test('where there is no nvidia-smi nothing is told and nothing is wrong', async t => {
  const { devices, lines } = watch(t, { PATH: t.testdir() })
  await sleep(300)
  t.same(devices.status(), { gpus: [], problem: null })
  t.same(lines, [])
})

test('one that hangs is killed, never asked twice at once, told of once, and delays no end', async t => {
  const { env, folder, print } = fake(t, 'echo $$ >> "$(dirname "$0")/asked"; exec sleep 60')
  const pids = () => readFileSync(join(folder, 'asked'), 'utf8').trim().split('\n').map(Number)
  const { devices, lines } = watch(t, env, { timeoutMs: 200 })
  await until(() => devices.status().problem !== null, 'it is given up')
  t.same(devices.status(), { gpus: [], problem: 'it gave no answer in time' })
  await until(() => pids().length >= 3, 'it is asked again')
  t.ok(pids().filter(isAlive).length <= 1)
  t.strictSame(lines.map(({ level, problem }) => [level, problem]), [['warn', 'it gave no answer in time']])

  print(printing(PRINTED))
  await until(() => devices.status().gpus.length === 3, 'it answers again')
  t.strictSame([devices.status().problem, lines.at(-1)?.level], [null, 'info'])

  print('echo $$ >> "$(dirname "$0")/asked"; exec sleep 60')
  const asked = pids().length
  await until(() => pids().length > asked, 'it hangs again')
  const start = performance.now()
  await devices.close()
  t.ok(performance.now() - start < 150, 'closing waits for nobody')
  await until(() => pids().every(pid => !isAlive(pid)), 'none is left')
})

test('old numbers are not shown as if they were new', async t => {
  const { env, print } = fake(t, printing(PRINTED))
  const { devices } = watch(t, env)
  await until(() => devices.status().gpus.length === 3, 'it has answered')
  print('echo "NVIDIA-SMI has failed because it couldn\'t communicate with the NVIDIA driver."; exit 9')
  await until(() => devices.status().problem !== null, 'it has failed')
  t.same(devices.status(), { gpus: [], problem: 'it ended with exit 9' })
})

for (const [what, script, problem] of [
  ['rubbish', 'echo "lorem ipsum"', 'line 1 of what it printed is no GPU'],
  ['rubbish below a GPU', `${printing(PRINTED)}\necho "0, x"`, 'line 4 of what it printed is no GPU'],
  ['without an end', 'while true; do echo 0123456789012345678901234567890123456789; done', 'it printed more than 65536 characters'],
  ['more GPUs than there are', 'for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do echo "$i, GPU-$i, 1, 1, 1, 1, 1, 1, x"; done', 'it told of more than 16 GPUs']
] as const) {
  test(`one that prints ${what} is not believed`, async t => {
    const { env } = fake(t, script)
    const { devices, lines } = watch(t, env)
    await until(() => devices.status().problem !== null, 'it is seen through')
    t.same(devices.status(), { gpus: [], problem })
    t.equal(lines.length, 1)
  })
}

test('a file that is no program is a problem, not a crash', async t => {
  const { env, folder } = fake(t, '')
  chmodSync(join(folder, 'nvidia-smi'), 0o644)
  const { devices } = watch(t, { ...env, PATH: folder })
  await until(() => devices.status().problem !== null, 'it is told')
  t.match(devices.status().problem, /EACCES/)
})

test('lines are read to the letter', async t => {
  const line = (at: number, value: string) => PRINTED.split('\n')[0]!.split(', ').with(at, value).join(', ')
  for (const [at, value] of [[0, 'x'], [0, '-1'], [0, '16'], [0, '1e1'], [1, ''], [3, 'many'], [4, '1e9'], [5, '0x10'], [6, ''], [7, 'Infinity'], [8, '']] as const) {
    t.equal(readingsIn(line(at, value)), 'line 1 of what it printed is no GPU', `${at} ${value}`)
  }
  t.same(readingsIn(''), [])
  t.match(readingsIn(line(7, '[Unknown Error]')), [{ temperatureCelsius: null }])
})

test('energy is power over time, and nothing over a time of which nothing is known', async t => {
  const at = (watts: number | null, now: number) => ({ watts, now, longestMs: 30_000 })
  const first = energyAfter(undefined, at(100, 1000))
  t.equal(first.joules, 0)
  const second = energyAfter(first, at(200, 11_000))
  t.equal(second.joules, 1500)
  t.equal(energyAfter(second, at(null, 12_000)).joules, 1500)
  t.equal(energyAfter(second, at(200, 42_000)).joules, 1500, 'the gap is too long')
  t.equal(energyAfter(energyAfter(second, at(null, 12_000)), at(200, 13_000)).joules, 1500)
})

test('a question that is over leaves nothing behind, however many were asked', async t => {
  const { env, folder } = fake(t, `echo >> "$(dirname "$0")/asked"\n${printing(PRINTED)}`)
  const signals: AbortSignal[] = []
  const Controller = globalThis.AbortController
  globalThis.AbortController = class extends Controller {
    constructor () {
      super()
      signals.push(this.signal)
    }
  }
  const { devices } = watch(t, env, { pollMs: 1 })
  globalThis.AbortController = Controller
  await until(() => devices.status().gpus.length === 3 && readFileSync(join(folder, 'asked')).length >= 12, 'it was asked a dozen times')
  t.equal(signals.length, 1)
  t.ok(getEventListeners(signals[0]!, 'abort').length < 4)
})
