/** What every client is driven against: one gateway with the built-in model (`pilot`) and a scripted backend (`m`). */
import type { ServerResponse } from 'node:http'
import type { Test } from 'tap'
import { pilotPool, startGateway, type Running } from '../gateway/harness.ts'
import { complete, startScript, type Members, type Script } from '../gateway/script.ts'

export interface Served extends Running {
  readonly script: Script
  readonly apiKey: string
  /** Messages of the last chat that reached the scripted backend. */
  sent (): Members[]
}

type Answer = (body: Members, response: ServerResponse) => void

export async function serve (t: Test, answer: Answer = weatherman): Promise<Served> {
  const script = await startScript(t, answer)
  const running = await startGateway(t, `
backends:${pilotPool(2)}
  - { name: far, kind: openai, baseUrl: ${script.url}, locality: domain }
models:
  - { name: pilot, targets: [{ backend: pool, model: pilot }] }
  - { name: m, targets: [{ backend: far, model: m }] }
tenants: [{ name: acme, storeResponses: true }]
`)
  return { ...running, script, apiKey: await running.key('acme'), sent: () => script.asked.at(-1)!.body['messages'] as Members[] }
}

/** Asks for the weather once, where it has a tool, and then tells it. Who asks for an error gets one. */
function weatherman (body: Members, response: ServerResponse): void {
  const last = body['messages'].at(-1) as Members
  if (JSON.stringify(last).includes('Fail.')) {
    response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":{"message":"Too warm.","type":"invalid_request_error","param":"temperature","code":"invalid_value"}}')
  } else if (body['tools'] !== undefined && last['role'] !== 'tool') {
    complete(body, response, { tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"town":"Oslo"}' } }] }, 'tool_calls')
  } else {
    complete(body, response, { content: last['role'] === 'tool' ? 'It rains in Oslo.' : 'Hello to you.' })
  }
}

export const QUESTION = 'What is the capital of France?'
export const ANSWER = 'The capital of France is Paris.'
