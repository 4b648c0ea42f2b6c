/** The GPUs of this host, as nvidia-smi tells of them, asked in the background. Where there is no nvidia-smi there is nothing to tell. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

export interface Device extends Reading {
  /** Used since the gateway started: power over time. */
  readonly energyJoules: number
}

/** What nvidia-smi says of one GPU. Null where the GPU does not tell. */
export interface Reading {
  /** Number, as nvidia-smi counts. */
  readonly gpu: number
  readonly uuid: string
  readonly driver: string
  readonly memoryUsedBytes: number | null
  readonly memoryTotalBytes: number | null
  /** Share of the time in which it computed, 0 to 1. */
  readonly utilization: number | null
  readonly powerWatts: number | null
  readonly temperatureCelsius: number | null
  readonly name: string
}

export interface DeviceStatus {
  /** As last told; empty where nvidia-smi is absent or did not answer. */
  readonly gpus: readonly Device[]
  /** Why nothing is known though there is an nvidia-smi; null when all is well. */
  readonly problem: string | null
}

export interface Devices {
  status (): DeviceStatus
  close (): Promise<void>
}

export interface DeviceOptions {
  readonly pollMs: number
  /** An nvidia-smi that takes longer is killed. */
  readonly timeoutMs: number
  readonly log: (line: { level: 'info' | 'warn', msg: string, problem?: string }) => void
  /** Where nvidia-smi is looked for, and what it may see. */
  readonly env: NodeJS.ProcessEnv
}

/** The name comes last: it alone may hold a comma. */
const FIELDS = ['index', 'uuid', 'driver_version', 'memory.used', 'memory.total', 'utilization.gpu', 'power.draw', 'temperature.gpu', 'name']
const QUERY = [`--query-gpu=${FIELDS.join(',')}`, '--format=csv,noheader,nounits']
const INHERITED = ['PATH', 'LD_LIBRARY_PATH', 'NVIDIA_VISIBLE_DEVICES', 'LANG', 'LC_ALL']
/** More than any host has; each is a series of every metric. */
const MOST_DEVICES = 16
const MOST_BYTES = 65_536
const MIB = 1_048_576

/** Asks at once and then every `pollMs`, one question at a time. Waits for nothing. */
export function watchDevices (options: DeviceOptions): Devices {
  return new Polls(options)
}

class Polls implements Devices {
  readonly #options: DeviceOptions
  readonly #env: NodeJS.ProcessEnv
  readonly #energies = new Map<number, Energy>()
  readonly #closing = new AbortController()
  readonly #ended: Promise<void>
  #status: DeviceStatus = { gpus: [], problem: null }

  constructor (options: DeviceOptions) {
    this.#options = options
    this.#env = Object.fromEntries(INHERITED.flatMap(name => options.env[name] === undefined ? [] : [[name, options.env[name]]]))
    this.#ended = this.#run()
  }

  status (): DeviceStatus { return this.#status }

  /** Resolves when no process is left but one that even SIGKILL does not end. */
  async close (): Promise<void> {
    this.#closing.abort()
    await this.#ended
  }

  async #run (): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      const { answer, gone } = ask(this.#env, this.#options.timeoutMs, signal)
      const said = await answer
      if (said === null || signal.aborted) return
      this.#take(said)
      // Never two at once: one that hangs in its driver may outlive its own SIGKILL for long.
      await gone
      await pause(this.#options.pollMs, signal)
    }
  }

  #take (said: readonly Reading[] | string): void {
    const problem = typeof said === 'string' ? said : null
    if (problem !== this.#status.problem) this.#tell(problem)
    this.#status = { problem, gpus: typeof said === 'string' ? [] : this.#counted(said, performance.now()) }
  }

  #counted (readings: readonly Reading[], now: number): Device[] {
    const { pollMs, timeoutMs } = this.#options
    // One answer may be missing in between.
    const longestMs = 2 * (pollMs + timeoutMs)
    return readings.map(reading => {
      const energy = energyAfter(this.#energies.get(reading.gpu), { watts: reading.powerWatts, now, longestMs })
      this.#energies.set(reading.gpu, energy)
      return { ...reading, energyJoules: energy.joules }
    })
  }

  #tell (problem: string | null): void {
    const { log } = this.#options
    if (problem === null) log({ level: 'info', msg: 'nvidia-smi answers' })
    else log({ level: 'warn', msg: 'nvidia-smi gives no account of the GPUs', problem })
  }
}

/** Neither rejects. */
interface Question {
  /** Readings, what went wrong in words, or null where there is no such program. */
  readonly answer: Promise<readonly Reading[] | string | null>
  /** The process has ended, or nobody waits for that any more. */
  readonly gone: Promise<unknown>
}

function ask (env: NodeJS.ProcessEnv, timeoutMs: number, signal: AbortSignal): Question {
  const child = spawn('nvidia-smi', QUERY, { stdio: ['ignore', 'pipe', 'ignore'], env })
  const answer = answerOf(child, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]))
  const gone = child.pid === undefined ? Promise.resolve() : once(child, 'exit', { signal }).catch(() => undefined)
  return { answer, gone }
}

async function answerOf (child: ChildProcess, signal: AbortSignal): Promise<readonly Reading[] | string | null> {
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (more: string) => {
    text += more
    if (text.length > MOST_BYTES) child.kill('SIGKILL')
  })
  try {
    const [code, killed] = await once(child, 'close', { signal }) as [number | null, NodeJS.Signals | null]
    if (text.length > MOST_BYTES) return `it printed more than ${MOST_BYTES} characters`
    if (code !== 0) return `it ended with ${killed ?? `exit ${code}`}`
    return readingsIn(text)
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    return signal.aborted ? 'it gave no answer in time' : message
  } finally {
    child.on('error', () => { /* Told above. */ }).kill('SIGKILL')
    child.stdout?.destroy()
    // Should it not end: it keeps no gateway from ending.
    child.unref()
  }
}

/** @returns what is wrong, in words, when it is not what nvidia-smi prints */
export function readingsIn (text: string): readonly Reading[] | string {
  const lines = text.split('\n').filter(line => line.trim() !== '')
  if (lines.length > MOST_DEVICES) return `it told of more than ${MOST_DEVICES} GPUs`
  const readings = lines.map(readingIn)
  const strange = readings.indexOf(null)
  return strange < 0 ? readings.filter(reading => reading !== null) : `line ${strange + 1} of what it printed is no GPU`
}

function readingIn (line: string): Reading | null {
  const parts = line.split(',').map(part => part.trim())
  const [index = '', uuid = '', driver = '', ...rest] = parts
  const values = rest.slice(0, 5).map(valueOf)
  const [used, total, utilization, power, temperature] = values
  const name = rest.slice(5).join(', ')
  if (!/^\d{1,2}$/.test(index) || Number(index) >= MOST_DEVICES || uuid === '' || name === '' || values.includes(undefined)) return null
  return {
    gpu: Number(index),
    uuid,
    driver,
    memoryUsedBytes: scaled(used, MIB),
    memoryTotalBytes: scaled(total, MIB),
    utilization: scaled(utilization, 0.01),
    powerWatts: scaled(power, 1),
    temperatureCelsius: scaled(temperature, 1),
    name
  }
}

/** Null for `[N/A]`, `[Not Supported]` and their like; undefined for what is no value at all. */
function valueOf (text: string): number | null | undefined {
  if (/^(\[.*\]|N\/A)$/.test(text)) return null
  return /^-?\d{1,12}(\.\d+)?$/.test(text) ? Number(text) : undefined
}

function scaled (value: number | null | undefined, factor: number): number | null {
  return value === null || value === undefined ? null : value * factor
}

export interface Energy { readonly joules: number, readonly watts: number | null, readonly at: number }

/** Power is taken to run straight from one reading to the next; over a longer gap than `longestMs` nothing is assumed. */
export function energyAfter (before: Energy | undefined, { watts, now, longestMs }: { watts: number | null, now: number, longestMs: number }): Energy {
  const { joules = 0, watts: earlier = null, at = now } = before ?? {}
  const isKnown = earlier !== null && watts !== null && now - at <= longestMs
  return { joules: isKnown ? joules + (earlier + watts) / 2 * (now - at) / 1000 : joules, watts, at: now }
}

function pause (ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    const timer = setTimeout(end, ms).unref()
    function end (): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    signal.addEventListener('abort', end)
  })
}
