/**
 * npm run bench: the gateway with everything on (keys, limits, policy, metrics, usage rows, access log) against the floor of
 * Node, in one run, in turn, on the same cores. Only the ratios mean anything; absolute figures are of this machine.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { measure, measureOpen, type Measured } from './load.ts'
import { newKey, portInLog } from './started.ts'
import { openUpstream } from './upstream.ts'

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5)
const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 3)
/** A gateway runs for weeks; what it costs before its code is compiled is another figure. */
const WARM_UP_SECONDS = 6

const canPin = availableParallelism() > 1 && spawnSync('taskset', ['-c', '0', 'true']).status === 0

const CASES = [
  { name: 'JSON, 1 connection', stream: false, connections: 1 },
  { name: 'JSON, 32 connections', stream: false, connections: 32 },
  { name: 'streams, 1 connection', stream: true, connections: 1 },
  { name: 'streams, 32 connections', stream: true, connections: 32 }
] as const

/** Shares of what each contender can do at most. */
const OPEN_SHARES = [0.1, 0.5, 0.8]
const OPEN_CONNECTIONS = 128

interface Contender { readonly pid: number, readonly port: number, readonly headers: string }
interface Run extends Measured { readonly cpuUs: number }

const folder = mkdtempSync(join(tmpdir(), 'torchgate-bench-'))
const children: ChildProcess[] = []
const most = new Map<string, { contender: Contender, body: string, perS: number }>()
const upstream = await openUpstream()
try {
  pinSelf()
  keepAwake()
  const floor = await startFloor()
  const gateway = await startGateway()
  console.log(`${ROUNDS} rounds of ${SECONDS} s, contenders in turn; request 1 KB, answer 0.9 KB, stream 102 events in 23 KB. Medians.`)
  console.log('                          answers per second                        CPU per answer, µs        p50/p99 ms')
  console.log('                            floor   gateway   ratio (min..max)      floor gateway ratio       floor        gateway')
  for (const { name, stream, connections } of CASES) {
    const body = requestBody(stream)
    const run = async (contender: Contender): Promise<Run> => {
      const beforeMs = cpuMs(contender.pid)
      const measured = await measure({ ...contender, body, connections, seconds: SECONDS })
      return { ...measured, cpuUs: (cpuMs(contender.pid) - beforeMs) * 1000 / measured.answers }
    }
    await measure({ ...floor, body, connections, seconds: WARM_UP_SECONDS })
    await measure({ ...gateway, body, connections, seconds: WARM_UP_SECONDS })
    const rounds: { floor: Run, gateway: Run }[] = []
    for (let round = 0; round < ROUNDS; round++) rounds.push({ floor: await run(floor), gateway: await run(gateway) })
    print(name, rounds)
    if (connections > 1) for (const [who, contender] of [['floor', floor], ['gateway', gateway]] as const) most.set(`${name}, ${who}`, { contender, body, perS: median(rounds.map(round => round[who].perS)) })
  }
  console.log('\nwhen requests come by themselves, at a share of what each can do at most        p50/p99 ms')
  for (const [name, { contender, body, perS }] of most) {
    const seen: string[] = []
    for (const share of OPEN_SHARES) seen.push(timesOf(share, await measureOpen({ ...contender, body, connections: OPEN_CONNECTIONS, seconds: SECONDS, perS: share * perS })))
    console.log(`${name.padEnd(34)}${seen.join('   ')}`)
  }
  console.log(`gateway resident memory ${residentMiB()} MiB`)
} finally {
  for (const child of children) child.kill('SIGKILL')
  upstream.close()
  rmSync(folder, { recursive: true, force: true })
}

function print (name: string, rounds: readonly { floor: Run, gateway: Run }[]): void {
  const of = (pick: (round: { floor: Run, gateway: Run }) => number) => median(rounds.map(pick))
  const ratios = rounds.map(round => round.gateway.perS / round.floor.perS)
  const failures = rounds.reduce((sum, round) => sum + round.floor.failures + round.gateway.failures, 0)
  const cpu = (who: 'floor' | 'gateway') => of(round => round[who].cpuUs)
  const times = (who: 'floor' | 'gateway') => `${of(round => round[who].p50Ms).toFixed(2)}/${of(round => round[who].p99Ms).toFixed(2)}`
  console.log([
    name.padEnd(24),
    of(round => round.floor.perS).toFixed(0).padStart(9),
    of(round => round.gateway.perS).toFixed(0).padStart(10),
    `   ${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}..${Math.max(...ratios).toFixed(2)})`.padEnd(22),
    cpu('floor').toFixed(0).padStart(6),
    cpu('gateway').toFixed(0).padStart(8),
    `  ${median(rounds.map(round => round.floor.cpuUs / round.gateway.cpuUs)).toFixed(2)}`.padEnd(12),
    times('floor').padEnd(13),
    times('gateway'),
    failures === 0 ? '' : `  ${failures} FAILED`
  ].join(''))
}

function timesOf (share: number, { p50Ms, p99Ms, failures }: Measured): string {
  return `${share * 100} %: ${p50Ms.toFixed(2)}/${p99Ms.toFixed(2)}${failures === 0 ? '' : ` ${failures} FAILED`}`.padEnd(20)
}

function median (values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

function requestBody (stream: boolean): string {
  const content = 'Please say something about the weather today. '.repeat(20)
  return JSON.stringify({ model: 'bench', messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content }], temperature: 0.7, ...(stream && { stream }) })
}

async function startFloor (): Promise<Contender> {
  const child = start(['test/bench/floor.ts', String(upstream.port)])
  return { pid: child.pid!, port: Number(new URL(await firstLine(child)).port), headers: '' }
}

async function startGateway (): Promise<Contender> {
  const config = join(folder, 'torchgate.yaml')
  writeFileSync(config, `
server: { port: 0 }
admin: { port: 0 }
dataDir: ${folder}
backends:
  - { name: upstream, kind: openai, baseUrl: 'http://127.0.0.1:${upstream.port}/v1', locality: cloud }
models:
  - { name: bench, targets: [{ backend: upstream, model: bench }] }
tenants:
  - { name: bench, limits: { requestsPerMinute: 100000000, tokensPerMinute: 1000000000000, concurrency: 100000 } }
`)
  const key = newKey(config, 'bench')
  const child = start(['src/main.ts', 'start', '--config', config], join(folder, 'gateway.log'))
  return { pid: child.pid!, port: await portInLog(join(folder, 'gateway.log'), child), headers: `authorization: Bearer ${key}\r\n` }
}

/** The contender has core 0 for itself where there are two and taskset is installed. */
function start (args: string[], log?: string): ChildProcess {
  const output = log === undefined ? 'pipe' : openSync(log, 'w')
  const [command, ...rest] = canPin ? ['taskset', '-c', '0', process.execPath, ...args] : [process.execPath, ...args]
  const child = spawn(command!, rest, { stdio: ['ignore', output, 'inherit'] })
  children.push(child)
  return child
}

/** The load and the provider keep off the contender's core. */
function pinSelf (): void {
  if (canPin) spawnSync('taskset', ['-a', '-p', '-c', '1', String(process.pid)])
  else console.log('Not pinned: one core, or no taskset. The ratios are noisier.')
}

/**
 * Waking a core that sleeps costs the one who wakes it, more the less the load has to do: the slower contender would pay for
 * being slower. So the load's core is kept awake, by what runs only while nothing else wants to.
 */
function keepAwake (): void {
  if (!canPin || spawnSync('chrt', ['-i', '0', 'true']).status !== 0) {
    console.log('The core of the load sleeps between answers: no chrt. The slower contender looks slower than it is.')
    return
  }
  const untilAlone = 'const parent = process.ppid; for (;;) { const until = Date.now() + 100; while (Date.now() < until); if (process.ppid !== parent) break }'
  children.unshift(spawn('taskset', ['-c', '1', 'chrt', '-i', '0', process.execPath, '-e', untilAlone], { stdio: 'ignore' }))
}

async function firstLine (child: ChildProcess): Promise<string> {
  const [line] = await once(createInterface(child.stdout!), 'line')
  return line as string
}

/** User and system time of a process so far; NaN where there is no /proc. It does not suffer from what else the machine does. */
function cpuMs (pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    return (Number(fields[11]) + Number(fields[12])) * 10
  } catch {
    return Number.NaN
  }
}

function residentMiB (): string {
  const gateway = children.at(-1)!
  return (Number(spawnSync('ps', ['-o', 'rss=', '-p', String(gateway.pid)], { encoding: 'utf8' }).stdout) / 1024).toFixed(0)
}
