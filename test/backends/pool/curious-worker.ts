/** A worker that tries what no worker should do, before and after it has sealed itself, and tells on standard error what came of it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { seal } from '../../../src/worker/seal.ts'

/** `ok`, or the code of the error. */
export interface Findings { readonly [deed: string]: string }
export interface Report {
  readonly pid: number
  readonly environment: readonly string[]
  readonly loading: Findings
  readonly sealed: Findings
}

const { values: flags } = parseArgs({ strict: false, options: { model: { type: 'string' }, socket: { type: 'string' } } })
const { CURIOUS_PORT: port = '0', CURIOUS_FILE: file = '', CURIOUS_FOLDER: folder = '' } = process.env
const model = String(flags['model'])

async function tryAll (): Promise<Findings> {
  const deeds: Record<string, () => unknown> = {
    'read its model': () => readFileSync(model),
    'write its model': () => { writeFileSync(model, 'x', { flag: 'r+' }) },
    'read another file': () => readFileSync(file),
    'read the environment of the gateway': () => readFileSync(`/proc/${process.ppid}/environ`),
    'list a folder': () => readdirSync(folder),
    'write a file': () => { writeFileSync(`${folder}/written-by-a-worker`, 'x') },
    'start a process': async () => { await once(spawn(process.execPath, ['--version'], { stdio: 'ignore' }), 'exit') },
    'start a thread': async () => { await new Worker('0', { eval: true }).terminate() },
    'connect to the host': async () => {
      const socket = connect(Number(port), '127.0.0.1')
      try { await once(socket, 'connect') } finally { socket.destroy() }
    }
  }
  const findings: Record<string, string> = {}
  for (const [deed, act] of Object.entries(deeds)) findings[deed] = await outcome(act)
  return findings
}

async function outcome (act: () => unknown): Promise<string> {
  try {
    await act()
    return 'ok'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

process.on('SIGTERM', () => process.exit(0))
process.on('disconnect', () => process.exit(0))
const loading = await tryAll()
const server = createServer((_request, response) => { response.end() })
server.listen(String(flags['socket']), async () => {
  seal(process)
  const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value}`)
  const report: Report = { pid: process.pid, environment, loading, sealed: await tryAll() }
  // A line at a time: the pool keeps no more than the beginning of a long one.
  for (const line of JSON.stringify(report).match(/.{1,500}/g) ?? []) console.error(`report ${line}`)
  console.error('reported')
  process.send?.({ kind: 'ready', contextTokens: 512, slots: 4, memoryBytes: 1000 })
})
