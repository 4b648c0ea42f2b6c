/**
 * npm run conformance -- --base-url URL --key KEY [--model NAME]: what an OpenAI-compatible server keeps of the contract, line by line.
 * The exit code is 0 where nothing fails, 1 where something does, and 2 where the server could not be asked.
 */
import { parseArgs } from 'node:util'
import { CHECKS } from './checks/all.ts'
import { prove, type Verdict } from './check.ts'
import { Server } from './server.ts'

const USAGE = `npm run conformance -- --base-url http://127.0.0.1:8080/v1 --key KEY

  --base-url URL          as an SDK is given it
  --key KEY               empty where the server asks for none
  --model NAME            otherwise the first of the server's list
  --embedding-model NAME  otherwise the same
  --only PREFIX           lines that begin so, as chat. or stream.
  --timeout SECONDS       for one request; 120
`

const { values } = parseArgs({
  options: {
    'base-url': { type: 'string' },
    key: { type: 'string', default: '' },
    model: { type: 'string' },
    'embedding-model': { type: 'string' },
    only: { type: 'string', default: '' },
    timeout: { type: 'string', default: '120' }
  }
})
process.exitCode = await main()

async function main (): Promise<number> {
  const timeoutMs = Number(values.timeout) * 1000
  const baseUrl = values['base-url']
  const checks = CHECKS.filter(({ name }) => name.startsWith(values.only))
  if (baseUrl === undefined || !URL.canParse(baseUrl) || !(timeoutMs > 0) || checks.length === 0) {
    console.error(USAGE)
    return 2
  }
  const key = values.key
  const model = values.model ?? await firstModel(baseUrl, key, timeoutMs)
  if (model === undefined) return 2
  const server = new Server({ baseUrl, key, model, embeddingModel: values['embedding-model'] ?? model, timeoutMs })
  const counts: Record<Verdict, number> = { pass: 0, fail: 0, 'not served': 0 }
  for await (const { name, level, says, verdict, found } of prove(checks, server)) {
    counts[verdict]++
    console.log(`${verdict.padEnd(10)}  ${level}  ${name.padEnd(26)}  ${verdict === 'pass' ? says : `${says}\n${' '.repeat(15)}found: ${found}`}`)
  }
  console.log(`\n${model} at ${baseUrl}: ${counts.pass} pass, ${counts.fail} fail, ${counts['not served']} not served`)
  return counts.fail === 0 ? 0 : 1
}

async function firstModel (baseUrl: string, key: string, timeoutMs: number): Promise<string | undefined> {
  const asked = new Server({ baseUrl, key, model: '', embeddingModel: '', timeoutMs })
  try {
    const reply = await asked.get('/models')
    const id: unknown = reply.json().data?.[0]?.id
    if (typeof id === 'string') return id
    console.error(`${baseUrl}/models names no model (${reply.status}). Name one with --model.`)
  } catch (error) {
    console.error(`${baseUrl} cannot be asked: ${error instanceof Error ? `${error.message} ${error.cause instanceof Error ? error.cause.message : ''}` : String(error)}`)
  }
  return undefined
}
